"""Checkpoints in diffusers' layout: their networks are diffusers' own, and what is wrong is said by file and tensor."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import diffusers
import pytest
import torch
from safetensors.torch import load_file, save_file

from model_tools.checkpoints.adapters import ControlSource
from model_tools.checkpoints.checkpoint import Checkpoint
from model_tools.checkpoints.errors import CheckpointError
from model_tools.checkpoints.inputs import Inputs
from model_tools.checkpoints.weights import find_weights

Copy = Callable[[str], Path]
PIPELINES = {"sd": diffusers.StableDiffusionPipeline, "sdxl": diffusers.StableDiffusionXLPipeline}
UNET, VAE = "unet/diffusion_pytorch_model.safetensors", "vae/diffusion_pytorch_model.safetensors"
TEXT = "text_encoder/model.safetensors"

pytestmark = [pytest.mark.tools, pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")]


def same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    weights, others = one.state_dict(), other.state_dict()
    return weights.keys() == others.keys() and all(torch.equal(weights[name], others[name]) for name in weights)


def edit(path: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    state = load_file(path)
    change(state)
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, path)


def set_config(path: Path, **values: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize("name", ["sd", "sdxl"])
def test_networks_are_those_of_diffusers(made: Path, name: str) -> None:
    theirs = PIPELINES[name].from_pretrained(made / name)
    ours = Checkpoint(Inputs(made / name))
    assert ours.architecture == name
    parts = ["text_encoder", "unet", "vae", *(["text_encoder_2"] if name == "sdxl" else [])]
    for part in parts:
        assert same(getattr(ours, part)(), getattr(theirs, part)), part
    ids = torch.randint(0, 500, (2, 77))
    with torch.inference_mode():
        expected, given = (network(ids).last_hidden_state for network in (theirs.text_encoder, ours.text_encoder()))
    assert torch.equal(expected, given)  # positions are not stored: they were counted
    assert ours.license == "cc0-1.0"
    assert (ours.native, ours.factor, ours.multiple) == (128, 8, 4)


def test_roles_follow_from_what_is_there(made: Path) -> None:
    inpaints = Checkpoint(Inputs(made / "sd_inpainting"))
    assert not inpaints.has("unet")
    assert inpaints.unet() is None
    network = inpaints.inpaint_unet()
    assert network is not None
    assert network.config.in_channels == 9
    plain = Checkpoint(Inputs(made / "sd"))
    assert not any(plain.has(role) for role in ("inpaint_unet", "controlled_unet", "image_encoder", "text_encoder_2"))


def test_adapters_are_read_and_loaded(made: Path) -> None:
    inputs = Inputs(
        made / "sd",
        controlnets=(
            ControlSource("canny", made / "sd_controlnet"),
            ControlSource("scribble", made / "sd_controlnet_scribble"),
        ),
        ip_adapter=made / "sd_ip_adapter_plus" / "ip_adapter.safetensors",
        inpaint=made / "sd_inpainting",
    )
    checkpoint = Checkpoint(inputs)
    assert checkpoint.control_kinds == ("canny", "scribble")
    theirs = diffusers.ControlNetModel.from_pretrained(made / "sd_controlnet_scribble")
    assert same(checkpoint.controlnets()["scribble"], theirs)
    prompted = checkpoint.prompted_unet()
    assert prompted is not None
    written = load_file(made / "sd_ip_adapter_plus" / "ip_adapter.safetensors")
    layers = [
        processor.to_k_ip[0].weight for processor in prompted.attn_processors.values() if hasattr(processor, "to_k_ip")
    ]
    assert torch.equal(layers[0], written["ip_adapter.1.to_k_ip.weight"])
    for load in checkpoint.loads().values():
        load()


def test_shards_variants_and_half_precision_are_found(copy: Copy) -> None:
    folder = copy("sd")
    expected = Checkpoint(Inputs(folder)).unet()
    assert expected is not None
    theirs = diffusers.UNet2DConditionModel.from_pretrained(folder, subfolder="unet")
    shutil.rmtree(folder / "unet")
    theirs.save_pretrained(folder / "unet", max_shard_size="300KB")
    assert not (folder / UNET).exists()
    sharded = Checkpoint(Inputs(folder)).unet()
    assert sharded is not None
    assert same(sharded, expected)
    shutil.rmtree(folder / "unet")
    theirs.half().save_pretrained(folder / "unet", variant="fp16")
    halved = Checkpoint(Inputs(folder)).unet()
    assert halved is not None
    assert all(weight.dtype == torch.float32 for weight in halved.parameters())
    assert torch.equal(halved.conv_in.weight, expected.conv_in.weight.half().float())


def test_old_names_are_read(copy: Copy) -> None:
    folder = copy("sd")
    expected = Checkpoint(Inputs(folder)).vae()
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}

    def rename(state: dict[str, torch.Tensor]) -> None:
        for name in [name for name in state if ".attentions.0.to_" in name]:
            stem, _, kind = name.rpartition(".")
            block, _, layer = stem.partition(".attentions.0.")
            state[f"{block}.attentions.0.{old[layer]}.{kind}"] = state.pop(name)

    edit(folder / VAE, rename)
    edit(
        folder / TEXT,
        lambda state: state.update(
            {f"text_model.{name}": state.pop(name) for name in list(state)}
            | {"text_model.embeddings.position_ids": torch.arange(77)[None]}
        ),
    )
    checkpoint = Checkpoint(Inputs(folder))
    assert same(checkpoint.vae(), expected)
    checkpoint.text_encoder()


def test_a_vae_of_another_checkpoint_takes_the_place(made: Path, copy: Copy) -> None:
    other = copy("sdxl") / "vae"
    checkpoint = Checkpoint(Inputs(made / "sd", vae=other))
    assert checkpoint.vae_config["scaling_factor"] == 0.13025
    assert same(checkpoint.vae(), diffusers.AutoencoderKL.from_pretrained(other))


def test_full_weights_come_before_a_variant_and_never_the_averaged(tmp_path: Path) -> None:
    for name in ("model.non_ema.safetensors", "model.fp16.safetensors", "model.safetensors", "model.bin"):
        (tmp_path / name).touch()
    assert [path.name for path in find_weights(tmp_path, "model")] == ["model.safetensors"]
    (tmp_path / "model.safetensors").unlink()
    assert [path.name for path in find_weights(tmp_path, "model")] == ["model.fp16.safetensors"]
    (tmp_path / "model.fp16.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"model\.bin is a pickle"):
        find_weights(tmp_path, "model")


def test_a_pickle_that_is_allowed_gives_tensors_alone(copy: Copy) -> None:
    folder = copy("sd")
    expected = Checkpoint(Inputs(folder)).text_encoder()
    torch.save(load_file(folder / TEXT), folder / "text_encoder/pytorch_model.bin")
    (folder / TEXT).unlink()
    assert same(Checkpoint(Inputs(folder, allow_pickle=True)).text_encoder(), expected)
    torch.save({"weight": Path("a program")}, folder / "text_encoder/pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"pytorch_model\.bin cannot be read"):
        Checkpoint(Inputs(folder, allow_pickle=True)).text_encoder()


Fault = tuple[Callable[[Path], object], str]
FAULTS: dict[str, Fault] = {
    "refiner": (
        lambda f: set_config(f / "model_index.json", text_encoder=[None, None], text_encoder_2=["t", "C"]),
        "refiner has the second alone",
    ),
    "no pipeline": (
        lambda f: set_config(f / "model_index.json", _class_name="FluxFillPipeline"),
        r"a checkpoint of FLUX of another kind \(FluxFillPipeline\), which is not known here",
    ),
    "other text encoder": (
        lambda f: set_config(f / "text_encoder/config.json", architectures=["T5EncoderModel"]),
        "is a T5EncoderModel, not a CLIPTextModel",
    ),
    "other text width": (
        lambda f: set_config(f / "unet/config.json", cross_attention_dim=1024),
        "takes a text 1024 wide, the text encoders give 32",
    ),
    "distilled guidance": (
        lambda f: set_config(f / "unet/config.json", time_cond_proj_dim=2),
        "time_cond_proj_dim is 2, not a width of 4 or more",
    ),
    "edits": (lambda f: set_config(f / "unet/config.json", in_channels=8), "8 channels, not 4 or 9.*InstructPix2Pix"),
    "other latents": (lambda f: set_config(f / "vae/config.json", latent_channels=16), "latent_channels is 16, not 4"),
    "other vae": (
        lambda f: set_config(f / "vae/config.json", _class_name="AutoencoderTiny"),
        "is a AutoencoderTiny, not a AutoencoderKL",
    ),
    "no JSON": (lambda f: (f / "vae/config.json").write_text("{"), r"vae/config\.json: "),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_another_architecture_is_named(copy: Copy, fault: str) -> None:
    spoil, message = FAULTS[fault]
    folder = copy("sd")
    spoil(folder)
    with pytest.raises(CheckpointError, match=message):
        Checkpoint(Inputs(folder))


def test_a_refiner_of_sdxl_is_recognised_by_its_sizes(copy: Copy) -> None:
    folder = copy("sdxl")
    set_config(folder / "unet/config.json", projection_class_embeddings_input_dim=40 + 5 * 8)
    with pytest.raises(CheckpointError, match=r"5 sizes with the text, not 6 \(SDXL's refiner has 5\)"):
        Checkpoint(Inputs(folder))


BROKEN: dict[str, tuple[Callable[[dict[str, torch.Tensor]], object], str]] = {
    "missing": (lambda s: s.pop("conv_in.weight"), r"lacks conv_in\.weight$"),
    "more": (lambda s: s.update(strange=torch.zeros(3)), "has strange, which its configuration has no place for"),
    "shape": (
        lambda s: s.update({"conv_in.weight": torch.zeros(16, 5, 3, 3)}),
        r"conv_in\.weight has the shape \[16, 5, 3, 3\], expected is \[16, 4, 3, 3\]",
    ),
    "nan": (lambda s: s["conv_out.bias"].fill_(float("nan")), r"conv_out\.bias holds NaN weights"),
    "infinite": (lambda s: s["conv_out.bias"].fill_(float("inf")), r"conv_out\.bias holds infinite weights"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_tensor_is_named(copy: Copy, fault: str) -> None:
    spoil, message = BROKEN[fault]
    folder = copy("sd")
    edit(folder / UNET, spoil)
    with pytest.raises(CheckpointError, match=message):
        Checkpoint(Inputs(folder)).unet()


def test_a_file_that_is_cut_off_is_named(copy: Copy) -> None:
    folder = copy("sd")
    whole = (folder / UNET).read_bytes()
    (folder / UNET).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match=r"diffusion_pytorch_model\.safetensors cannot be read"):
        Checkpoint(Inputs(folder)).unet()


def test_a_controlnet_of_another_unet_is_refused(made: Path) -> None:
    inputs = Inputs(made / "sd", controlnets=(ControlSource("canny", made / "sdxl_controlnet"),))
    with pytest.raises(CheckpointError, match="for another UNet: cross_attention_dim is 80, the checkpoint's is 32"):
        Checkpoint(inputs)


def test_two_controlnets_of_one_kind_are_refused(made: Path) -> None:
    twice = (ControlSource.parse(str(made / "sd_controlnet")),) * 2
    with pytest.raises(CheckpointError, match="two ControlNets of one kind"):
        Checkpoint(Inputs(made / "sd", controlnets=twice))


def test_an_ip_adapter_that_does_not_fit_is_refused(made: Path, copy: Copy) -> None:
    file = copy("sd_ip_adapter") / "ip_adapter.safetensors"
    with pytest.raises(CheckpointError, match=r"ip_adapter\.\d+\.to_k_ip\.weight (is missing|has the shape)"):
        Checkpoint(Inputs(made / "sdxl", ip_adapter=file))
    edit(file, lambda state: state.update({"image_proj.proj.weight": state.pop("image_proj.proj.weight")[:, :8]}))
    with pytest.raises(
        CheckpointError, match="another picture tower than the IP-Adapter's: projection_dim is 16, not 8"
    ):
        Checkpoint(Inputs(made / "sd", ip_adapter=file))
    edit(file, lambda state: state.update({"image_proj.proj.0.weight": state.pop("image_proj.proj.weight")}))
    with pytest.raises(CheckpointError, match="neither an IP-Adapter nor an IP-Adapter Plus"):
        Checkpoint(Inputs(made / "sd", ip_adapter=file))


def test_an_inpainting_unet_must_have_nine_channels(made: Path) -> None:
    with pytest.raises(CheckpointError, match="its UNet takes 4 channels, not 9"):
        Checkpoint(Inputs(made / "sd", inpaint=made / "sd"))
