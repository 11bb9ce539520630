"""Checkpoints in a single file: no hub, no configuration in the file, and yet the same networks."""

from collections.abc import Callable
from pathlib import Path

import diffusers
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from model_tools.adding.schedule import schedule_table
from model_tools.checkpoints import published
from model_tools.checkpoints.adapters import ControlSource
from model_tools.checkpoints.checkpoint import Checkpoint
from model_tools.checkpoints.errors import CheckpointError
from model_tools.checkpoints.inputs import Inputs
from model_tools.checkpoints.single_file import SingleFile
from tests.unit.model_tools.checkpoints import ldm_names

Copy = Callable[[str], Path]

pytestmark = [pytest.mark.tools, pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")]


def same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    weights, others = one.state_dict(), other.state_dict()
    return weights.keys() == others.keys() and all(torch.equal(weights[name], others[name]) for name in weights)


@pytest.fixture
def sd(made: Path, tmp_path: Path) -> Path:
    theirs = diffusers.StableDiffusionPipeline.from_pretrained(made / "sd")
    state = ldm_names.unet(theirs.unet) | ldm_names.vae(theirs.vae)
    state |= ldm_names.clip(theirs.text_encoder, "cond_stage_model.transformer.")
    save_file(state | {"alphas_cumprod": torch.ones(3)}, tmp_path / "sd.safetensors", {"modelspec.license": "mit"})
    return tmp_path / "sd.safetensors"


@pytest.fixture
def sdxl(made: Path, tmp_path: Path) -> Path:
    theirs = diffusers.StableDiffusionXLPipeline.from_pretrained(made / "sdxl")
    state = ldm_names.unet(theirs.unet) | ldm_names.vae(theirs.vae)
    state |= ldm_names.clip(theirs.text_encoder, "conditioner.embedders.0.transformer.")
    save_file(state | ldm_names.open_clip(theirs.text_encoder_2), tmp_path / "sdxl.safetensors")
    return tmp_path / "sdxl.safetensors"


@pytest.mark.parametrize("name", ["sd", "sdxl"])
def test_networks_are_those_of_the_folder(made: Path, name: str, request: pytest.FixtureRequest) -> None:
    file: Path = request.getfixturevalue(name)
    folder = Checkpoint(Inputs(made / name))
    single = Checkpoint(Inputs(file, config=made / name, license="mit"))
    assert single.architecture == name
    for part in ("text_encoder", "unet", "vae", *(["text_encoder_2"] if name == "sdxl" else [])):
        assert same(getattr(single, part)(), getattr(folder, part)()), part
    assert single.tokenizer_folder("text_encoder") == made / name / "tokenizer"
    assert single.pad_id(0) is None


def test_what_the_file_lacks_is_asked_for(sd: Path, made: Path) -> None:
    with pytest.raises(CheckpointError, match=r"a single file holds no tokenizer; .* by --tokenizer"):
        SingleFile(sd).tokenizer("text_encoder")
    assert SingleFile(sd, tokenizer=made).tokenizer("text_encoder") == made


def test_shapes_are_compared_with_the_published(sd: Path) -> None:
    assert SingleFile(sd).config("unet")["cross_attention_dim"] == 768
    with pytest.raises(CheckpointError, match=r"has the shape \[.*\], expected is|lacks "):
        Checkpoint(Inputs(sd)).unet()


def test_the_licence_may_be_noted_in_the_file(sd: Path, made: Path) -> None:
    assert Checkpoint(Inputs(sd, config=made / "sd")).license == "mit"


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"joint_blocks.0.context_block.adaLN_modulation.1.bias": (9216,), "pos_embed": (1, 36864, 64)}, "sd3"),
        ({"double_blocks.0.img_attn.norm.key_norm.scale": (1,)}, "flux"),
        ({"double_blocks.0.img_attn.norm.key_norm.scale": (1,), "guidance_in.in_layer.bias": (1,)}, "img_in"),
        ({"conditioner.embedders.0.model.transformer.resblocks.9.mlp.c_proj.bias": (1,)}, "xl_refiner"),
        ({"lora_unet_down_blocks_0.lora_down.weight": (4, 4)}, "it has no UNet of that layout"),
    ],
)
def test_another_architecture_is_named(tmp_path: Path, tensors: dict[str, tuple[int, ...]], message: str) -> None:
    file = tmp_path / "other.safetensors"
    refiner = "conditioner.embedders.0.model.transformer.resblocks.9.mlp.c_proj.bias"
    given = tensors | ({"conditioner.embedders.0.model.text_projection": (1, 1)} if refiner in tensors else {})
    save_file({name: torch.zeros(shape) for name, shape in given.items()}, file)
    with pytest.raises(CheckpointError, match=message):
        SingleFile(file)


def test_a_pickle_is_refused(tmp_path: Path) -> None:
    torch.save({"state_dict": {}}, tmp_path / "model.ckpt")
    with pytest.raises(CheckpointError, match=r"model\.ckpt is a pickle"):
        Checkpoint(Inputs(tmp_path / "model.ckpt", license="mit"))


SD2 = {
    "model.diffusion_model.input_blocks.0.0.weight": (320, 4, 3, 3),
    "model.diffusion_model.input_blocks.2.1.transformer_blocks.0.attn2.to_k.weight": (320, 1024),
    "cond_stage_model.model.ln_final.weight": (1024,),
    "first_stage_model.quant_conv.bias": (8,),
}


def test_stable_diffusion_2_does_not_say_what_it_predicts(tmp_path: Path) -> None:
    file = tmp_path / "sd2.safetensors"
    save_file({name: torch.zeros(shape) for name, shape in SD2.items()}, file)
    with pytest.raises(CheckpointError, match="does not say what it predicts; name it by --prediction-type"):
        Checkpoint(Inputs(file, license="mit"))
    checkpoint = Checkpoint(Inputs(file, license="mit", prediction="v_prediction"))
    assert checkpoint.scheduler_config["prediction_type"] == "v_prediction"
    assert checkpoint.unet_config["cross_attention_dim"] == checkpoint.text_config["hidden_size"] == 1024
    assert checkpoint.pad_id(0) == 0


def test_a_tensor_marks_what_predicts_velocity(sdxl: Path, tmp_path: Path) -> None:
    assert SingleFile(sdxl).config("scheduler")["prediction_type"] == "epsilon"
    save_file(load_file(sdxl) | {"v_pred": torch.zeros(1)}, tmp_path / "marked.safetensors")
    assert SingleFile(tmp_path / "marked.safetensors").config("scheduler")["prediction_type"] == "v_prediction"


def test_a_vae_may_be_a_file_of_either_layout(made: Path, tmp_path: Path) -> None:
    theirs = diffusers.AutoencoderKL.from_pretrained(made / "sdxl", subfolder="vae")
    bare = {name.removeprefix("first_stage_model."): tensor for name, tensor in ldm_names.vae(theirs).items()}
    for name, state in (("old", bare), ("prefixed", ldm_names.vae(theirs)), ("new", theirs.state_dict())):
        save_file(state, tmp_path / f"{name}.safetensors")
        checkpoint = Checkpoint(Inputs(made / "sd", vae=tmp_path / f"{name}.safetensors"))
        assert same(checkpoint.vae(), theirs), name
        assert checkpoint.vae_config["scaling_factor"] == 0.18215  # a file says none: the checkpoint's


def test_a_controlnet_may_be_a_file_of_either_layout(made: Path, tmp_path: Path) -> None:
    unet = diffusers.UNet2DConditionModel.from_pretrained(made / "sd", subfolder="unet")
    theirs = diffusers.ControlNetModel.from_unet(unet)
    torch.nn.init.normal_(theirs.controlnet_mid_block.weight)
    for name, state in (("old", ldm_names.controlnet(theirs)), ("new", theirs.state_dict())):
        save_file(state, tmp_path / f"{name}.safetensors")
        source = ControlSource.parse(f"depth={tmp_path}/{name}.safetensors")
        loaded = Checkpoint(Inputs(made / "sd", controlnets=(source,))).controlnets()
        assert same(loaded["depth"], theirs), name


PARAMETERS = {
    "sd1": (published.SD1, 859_520_964, 123_060_480),
    "sd2": (published.SD2, 865_910_724, 340_387_840),
    "sdxl": (published.SDXL, 2_567_463_684, 123_060_480),
}
"""Numbers of weights that the models are known for: UNet, text encoder."""


@pytest.mark.parametrize("name", PARAMETERS)
def test_published_configurations_have_the_published_size(name: str) -> None:
    known, unet, text = PARAMETERS[name]
    with torch.device("meta"):
        network = diffusers.UNet2DConditionModel.from_config(known.configs["unet"])
        encoder = CLIPTextModel(CLIPTextConfig(**known.configs["text_encoder"]))
        vae = diffusers.AutoencoderKL.from_config(known.configs["vae"])
    assert sum(weight.numel() for weight in network.parameters()) == unet
    assert sum(weight.numel() for weight in encoder.parameters()) == text
    assert sum(weight.numel() for weight in vae.parameters()) == 83_653_863
    schedule_table(known.configs["scheduler"])


def test_the_second_text_encoder_of_sdxl_has_the_published_size() -> None:
    with torch.device("meta"):
        encoder = CLIPTextModelWithProjection(CLIPTextConfig(**published.SDXL.configs["text_encoder_2"]))
    assert sum(weight.numel() for weight in encoder.parameters()) == 694_659_840
