"""LoRA files of both layouts add what the paper says, layer by layer; a layer without a place is an error."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from model_tools.checkpoints.checkpoint import Checkpoint
from model_tools.checkpoints.errors import CheckpointError
from model_tools.checkpoints.inputs import Inputs
from model_tools.checkpoints.lora import Lora

RANK = 2
ATTENTION = "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_q"
OUT = "mid_block.attentions.0.transformer_blocks.0.attn1.to_out.0"
FEED = "up_blocks.1.attentions.1.transformer_blocks.0.ff.net.0.proj"
CONVOLUTION = "down_blocks.0.resnets.0.conv1"
LAYERS = (ATTENTION, OUT, FEED, CONVOLUTION)
TEXT = "encoder.layers.1.self_attn.q_proj"
MLP = "encoder.layers.0.mlp.fc1"

pytestmark = [pytest.mark.tools, pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")]


def halves(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Random A and B of a layer."""
    up_shape = (weight.shape[0], RANK, *(1,) * (weight.ndim - 2))
    return torch.randn(RANK, *weight.shape[1:]), torch.randn(up_shape)


def added(weight: torch.Tensor, down: torch.Tensor, up: torch.Tensor, scale: float) -> torch.Tensor:
    delta = torch.einsum("or,ri->oi", up.reshape(len(up), RANK), down.reshape(RANK, -1))
    return weight + scale * delta.reshape(weight.shape)


@pytest.fixture
def plain(made: Path) -> Checkpoint:
    return Checkpoint(Inputs(made / "sd"))


def drawn(plain: Checkpoint) -> dict[str, dict[str, tuple[torch.Tensor, torch.Tensor, torch.Tensor]]]:
    """Of each part and layer: the weight as it is, A and B."""
    unet, text = plain.unet(), plain.text_encoder()
    assert unet is not None
    layers = {"unet": (unet, LAYERS), "text_encoder": (text, (TEXT, MLP))}
    return {
        part: {
            name: (network.get_submodule(name).weight, *halves(network.get_submodule(name).weight)) for name in names
        }
        for part, (network, names) in layers.items()
    }


def check(made: Path, file: Path, weights: dict[str, dict[str, tuple[torch.Tensor, ...]]], scale: float) -> None:
    fused = Checkpoint(Inputs(made / "sd", loras=(Lora(file, 0.5),)))
    networks = {"unet": fused.unet(), "text_encoder": fused.text_encoder()}
    for part, layers in weights.items():
        network = networks[part]
        assert network is not None
        for name, (weight, down, up) in layers.items():
            expected = added(weight, down, up, 0.5 * scale)
            torch.testing.assert_close(network.get_submodule(name).weight, expected, msg=name)


def test_kohyas_layout_has_an_alpha_for_each_layer(made: Path, plain: Checkpoint, tmp_path: Path) -> None:
    weights = drawn(plain)
    state: dict[str, torch.Tensor] = {}
    for part, prefix in (("unet", "lora_unet_"), ("text_encoder", "lora_te_text_model_")):
        for name, (_, down, up) in weights[part].items():
            key = prefix + name.replace(".", "_")
            state |= {f"{key}.lora_down.weight": down, f"{key}.lora_up.weight": up, f"{key}.alpha": torch.tensor(1.0)}
    save_file(state, tmp_path / "kohya.safetensors")
    check(made, tmp_path / "kohya.safetensors", weights, 1.0 / RANK)


def test_pefts_layout_notes_its_alpha(made: Path, plain: Checkpoint, tmp_path: Path) -> None:
    weights = drawn(plain)
    state: dict[str, torch.Tensor] = {}
    for part, layers in weights.items():
        for name, (_, down, up) in layers.items():
            key = f"{part}.{name}" if part == "unet" else f"{part}.text_model.{name}"
            state |= {f"{key}.lora_A.weight": down, f"{key}.lora_B.weight": up}
    notes = {"unet.lora_alpha": 6, "unet.r": RANK, "text_encoder.lora_alpha": 6, "text_encoder.alpha_pattern": {}}
    save_file(state, tmp_path / "peft.safetensors", {"lora_adapter_metadata": json.dumps(notes)})
    check(made, tmp_path / "peft.safetensors", weights, 6.0 / RANK)
    save_file(state, tmp_path / "bare.safetensors")  # without a note, alpha is r
    check(made, tmp_path / "bare.safetensors", weights, 1.0)


def test_diffusers_older_layout(made: Path, plain: Checkpoint, tmp_path: Path) -> None:
    weights = drawn(plain)
    state: dict[str, torch.Tensor] = {}
    for name, (_, down, up) in weights["unet"].items():
        state |= {f"unet.{name}.lora.down.weight": down, f"unet.{name}.lora.up.weight": up}
    for name, (_, down, up) in weights["text_encoder"].items():
        key = f"text_encoder.text_model.{name}.lora_linear_layer"
        state |= {f"{key}.down.weight": down, f"{key}.up.weight": up}
    save_file(state, tmp_path / "old.safetensors")
    check(made, tmp_path / "old.safetensors", weights, 1.0)


def test_kohyas_names_of_sdxl(made: Path, tmp_path: Path) -> None:
    plain = Checkpoint(Inputs(made / "sdxl")).unet()
    assert plain is not None
    name = "down_blocks.2.attentions.0.transformer_blocks.1.attn1.to_v"
    key = "lora_unet_input_blocks_5_1_transformer_blocks_1_attn1_to_v"
    weight = plain.get_submodule(name).weight
    down, up = halves(weight)
    save_file({f"{key}.lora_down.weight": down, f"{key}.lora_up.weight": up}, tmp_path / "xl.safetensors")
    fused = Checkpoint(Inputs(made / "sdxl", loras=(Lora(tmp_path / "xl.safetensors"),))).unet()
    assert fused is not None
    torch.testing.assert_close(fused.get_submodule(name).weight, added(weight, down, up, 1.0))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("lora_unet_nowhere.lora_down.weight", "lora_unet_nowhere.lora_up.weight"), "has no layer nowhere"),
        (("unet.conv_in.lora_A.weight", "unet.conv_in.lora_B.weight"), "do not fit a weight of"),
        (("unet.conv_in.lora_A.weight",), "has one matrix of two"),
        (("lora_unet_conv_in.hada_w1_a", "lora_unet_conv_in.hada_w1_b"), "not a plain LoRA, it has .*hada_w1_a"),
        (("unet.conv_in.lora_A.weight", "unet.conv_in.lora_magnitude_vector"), "not a plain LoRA"),
        (("text_encoder_2.x.lora_A.weight", "text_encoder_2.x.lora_B.weight"), "is for a text_encoder_2, which"),
        (("anything",), "not a LoRA that is known here, it has unet.anything"),
    ],
)
def test_what_does_not_fit_is_an_error(made: Path, tmp_path: Path, names: tuple[str, ...], message: str) -> None:
    file = tmp_path / "lora.safetensors"
    save_file({name: torch.zeros(RANK, RANK) for name in names}, file)
    with pytest.raises(CheckpointError, match=message):
        Checkpoint(Inputs(made / "sd", loras=(Lora(file),))).unet()


def test_a_weight_behind_a_colon() -> None:
    assert Lora.parse("folder/file.safetensors:0.7") == Lora(Path("folder/file.safetensors"), 0.7)
    assert Lora.parse("file.safetensors") == Lora(Path("file.safetensors"), 1.0)
    assert Lora.parse("odd:name.safetensors") == Lora(Path("odd:name.safetensors"), 1.0)
