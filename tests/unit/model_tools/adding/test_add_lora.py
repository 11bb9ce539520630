"""`python -m model_tools add-lora`: a LoRA in the graphs of a family, row by row; or nothing has changed."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from engines.network import Network, find_graph, read_digest
from model_tools.adding import add_lora
from model_tools.export import folders, graphs
from model_tools.goldens import tiny
from orchestrator.models.families import Families

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

TABLES = """\
# A user's own file.
[networks.small]
text_encoder = "small_text_encoder"
unet = "small_unet"
vae_decoder = "small_vae_decoder"
tokenizer = "t.json"
text_length = 77
pad_id = 0
scaling_factor = 0.2
buckets = [[64, 64]]

[networks.small.schedule]
prediction_type = "epsilon"

[families.small]  # mine
networks = "small"
license = "mit"
default_sampler = "ddim"
default_steps = 4
default_guidance_scale = 1.0
"""
Q = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
LAYERS = (Q, "conv_in", "down_blocks.0.attentions.0.proj_in")


@pytest.fixture(scope="module")
def unet() -> Any:
    torch.manual_seed(0)
    return tiny.unet()


@pytest.fixture(scope="module")
def exported(unet: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported")
    torch.manual_seed(1)
    models = folder / "models"
    options: Any = {"text_length": 77, "text_width": tiny.HIDDEN, "fp16_weights": False}
    graphs.export_unet(unet, folders.graph_path(models, "small_unet"), **options)
    folders.finish_folder(models, "small_unet", precision="f32", sides=(8, 8))
    path = folders.graph_path(models, "small_text_encoder")
    graphs.export_text_encoder(tiny.text_encoder(600), path, length=77, fp16_weights=False)
    folders.finish_folder(models, "small_text_encoder", precision="f32")
    (folder / "families.toml").write_text(TABLES, "utf-8")
    return folder


@pytest.fixture
def family(exported: Path, tmp_path: Path) -> Path:
    return shutil.copytree(exported, tmp_path / "family")


def lora(unet: Any, path: Path, rank: int = 2, seed: int = 0, layers: tuple[str, ...] = LAYERS) -> dict[str, Tensor]:
    """A LoRA file of peft's names; of each layer, what it adds to the weights."""
    torch.manual_seed(seed)
    state: dict[str, Tensor] = {}
    added: dict[str, Tensor] = {}
    for name in layers:
        weight = unet.get_submodule(name).weight
        down = torch.randn(rank, *weight.shape[1:])
        up = torch.randn(weight.shape[0], rank, *(1,) * (weight.dim() - 2)) * 0.1
        state |= {f"unet.{name}.lora_A.weight": down, f"unet.{name}.lora_B.weight": up}
        added[name] = (up.flatten(1) @ down.flatten(1)).reshape(weight.shape)
    save_file(state, path)
    return added


def run(family: Path, *words: str) -> int:
    places = ("--repository", str(family / "models"), "--families", str(family / "families.toml"))
    return add_lora.main([*words, *places])


def answers(family: Path, **scales: list[list[float]]) -> Any:
    random = np.random.default_rng(0)
    inputs = {
        "sample": random.normal(size=(3, 4, 8, 8)).astype(np.float32),
        "timestep": np.array([[500], [20], [999]], np.float32),
        "encoder_hidden_states": random.normal(size=(3, 77, tiny.HIDDEN)).astype(np.float32),
    }
    inputs |= {name: np.array(scale, np.float32) for name, scale in scales.items()}
    graph = find_graph(family / "models/small_unet/1")
    return Network(graph, "f32").run(inputs)["out_sample"].copy()


def expected(unet: Any, added: list[dict[str, Tensor]], scales: list[float]) -> Any:
    """Torch, its weights changed for this row."""
    kept = {name: tensor.clone() for name, tensor in unet.state_dict().items()}
    try:
        with torch.no_grad():
            for each, scale in zip(added, scales, strict=True):
                for name, change in each.items():
                    unet.get_submodule(name).weight.add_(scale * change)
        random = np.random.default_rng(0)
        sample = torch.from_numpy(random.normal(size=(3, 4, 8, 8)).astype(np.float32))
        hidden = torch.from_numpy(random.normal(size=(3, 77, tiny.HIDDEN)).astype(np.float32))
        with torch.no_grad():
            return unet(sample, torch.tensor([500.0, 20.0, 999.0]), hidden, return_dict=False)[0].numpy()
    finally:
        unet.load_state_dict(kept)


def contents(family: Path) -> dict[str, bytes]:
    return {str(path.relative_to(family)): path.read_bytes() for path in family.rglob("*") if path.is_file()}


def test_each_row_has_its_own_loras(family: Path, unet: Any, tmp_path: Path) -> None:
    plain = answers(family)
    ink, oil = (lora(unet, tmp_path / f"{name}.safetensors", rank, rank) for name, rank in (("ink", 2), ("oil", 3)))
    assert run(family, "small", "ink", str(tmp_path / "ink.safetensors"), "--license", "mit") == 0
    assert run(family, "small", "oil", str(tmp_path / "oil.safetensors"), "--license", "mit", "--weight", "0.5") == 0
    scales = [[0.0, 0.0], [0.7, -1.0], [0.0, 1.5]]
    found = answers(family, lora_scale=scales)
    np.testing.assert_array_equal(found[0], plain[0])
    for row, scale in enumerate(scales):
        wanted = expected(unet, [ink, oil], scale)[row]
        assert np.abs(found[row] - wanted).max() < 1e-4 * np.abs(wanted).max(), row
        np.testing.assert_array_equal(answers(family, lora_scale=[scale] * 3)[row], found[row])
    assert np.abs(found[1] - plain[1]).max() > 0.01


def test_what_is_written(family: Path, unet: Any, tmp_path: Path) -> None:
    before = contents(family)
    lora(unet, tmp_path / "ink.safetensors")
    assert run(family, "small", "ink", str(tmp_path / "ink.safetensors"), "--license", "mit") == 0
    after = contents(family)
    changed = {name for name in after if after[name] != before.get(name)}
    unet_files = {"models/small_unet/config.pbtxt", "models/small_unet/1/loras.npz"}
    assert changed == {"families.toml", *unet_files}  # the file has no layer of the text encoder
    table = Families.load(family / "families.toml").get("small").networks
    assert [each.model_dump() for each in table.loras] == [
        {"name": "ink", "license": "mit", "commercial": True, "weight": 1.0}
    ]
    text = after["families.toml"].decode()
    assert text.startswith("# A user's own file.\n")
    assert "[families.small]  # mine\n" in text
    config = after["models/small_unet/config.pbtxt"].decode()
    assert config.count('"lora_scale"') == 2
    assert read_digest(find_graph(family / "models/small_unet/1")) in config


def test_removing_and_replacing(family: Path, unet: Any, tmp_path: Path) -> None:
    before = contents(family)
    ink, oil = (lora(unet, tmp_path / f"{name}.safetensors", 2, seed) for seed, name in enumerate(("ink", "oil")))
    for name in ("ink", "oil"):
        assert run(family, "small", name, str(tmp_path / f"{name}.safetensors"), "--license", "mit") == 0
    assert run(family, "small", "ink", "--remove") == 0
    wanted = expected(unet, [oil], [1.0])
    assert np.abs(answers(family, lora_scale=[[1.0]] * 3) - wanted).max() < 1e-4 * np.abs(wanted).max()
    assert run(family, "small", "oil", str(tmp_path / "ink.safetensors"), "--license", "mit", "--replace") == 0
    wanted = expected(unet, [ink], [1.0])
    assert np.abs(answers(family, lora_scale=[[1.0]] * 3) - wanted).max() < 1e-4 * np.abs(wanted).max()
    assert run(family, "small", "oil", "--remove") == 0
    assert contents(family) == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("small", "ink", "{ink}"), "names no licence"),
        (("small", "ink", "{ink}", "--license", "cc-by-nc-4.0"), "does not allow commercial use"),
        (("small", "Ink", "{ink}", "--license", "mit"), "lower-case letters"),
        (("small", "ink", "{missing}", "--license", "mit"), "missing.safetensors"),
        (("small", "ink", "{pickle}", "--license", "mit"), "pickle"),
        (("small", "ink", "{other}", "--license", "mit"), "has no layer nowhere"),
        (("small", "ink", "{shape}", "--license", "mit"), "which do not fit a weight of"),
        (("small", "ink", "{nan}", "--license", "mit"), "nan.safetensors"),
        (("small", "ink", "{text}", "--license", "mit"), "text.safetensors"),
        (("small", "ink", "{ranks}", "--license", "mit"), "more than 512 ranks"),
        (("large", "ink", "{ink}", "--license", "mit"), "has no family large; it has small"),
        (("small", "ink", "--remove"), "small has no LoRA ink; it has none"),
    ],
)
def test_wrong_ones_change_nothing(
    words: tuple[str, ...], said: str, family: Path, unet: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lora(unet, tmp_path / "ink.safetensors")
    lora(unet, tmp_path / "ranks.safetensors", 513, layers=(Q,))
    (tmp_path / "pickle.ckpt").write_bytes(b"\x80\x04N.")
    (tmp_path / "text.safetensors").write_text("no tensors")
    wrong = {
        "other": {"unet.nowhere.lora_A.weight": torch.ones(2, 4), "unet.nowhere.lora_B.weight": torch.ones(4, 2)},
        "shape": {f"unet.{Q}.lora_A.weight": torch.ones(2, 5), f"unet.{Q}.lora_B.weight": torch.ones(4, 2)},
        "nan": {
            f"unet.{Q}.lora_A.weight": torch.full((2, 16), torch.nan),
            f"unet.{Q}.lora_B.weight": torch.ones(16, 2),
        },
    }
    for name, state in wrong.items():
        save_file(state, tmp_path / f"{name}.safetensors")
    before = contents(family)
    files = {name: tmp_path / f"{name}.safetensors" for name in ("ink", "missing", "ranks", "text", *wrong)}
    given = [word.format(**files, pickle=tmp_path / "pickle.ckpt") for word in words]
    assert run(family, *given) == 1
    line = capsys.readouterr().err
    assert said in line
    assert line.count("\n") == 1
    assert line.startswith("add-lora: ")
    assert contents(family) == before


def test_a_write_that_fails_changes_nothing(
    family: Path, unet: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lora(unet, tmp_path / "ink.safetensors")
    before = contents(family)
    families = family / "families.toml"
    replace = type(families).replace

    def full(self: Path, target: Path) -> Any:
        if target == families and self.suffix == ".new":
            raise OSError(28, "No space left on device")
        return replace(self, target)

    monkeypatch.setattr(type(families), "replace", full)
    assert run(family, "small", "ink", str(tmp_path / "ink.safetensors"), "--license", "mit") == 1
    assert contents(family) == before


def test_another_engine_is_refused(family: Path, unet: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lora(unet, tmp_path / "ink.safetensors")
    (family / "models/small_unet/1/model.py").unlink()
    assert run(family, "small", "ink", str(tmp_path / "ink.safetensors"), "--license", "mit") == 1
    assert "need --engine openvino" in capsys.readouterr().err
