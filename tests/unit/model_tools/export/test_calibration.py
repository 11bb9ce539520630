"""What is recorded to calibrate with: runs of the pipeline over the starter's graphs, and over UNets of other kinds."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the tools' environment: make test-tools")

import onnx
import onnx.parser

from engines.rows import Tensors
from model_tools.export import calibration
from model_tools.export.calibration import PROMPTS, Recorder, drawing
from orchestrator.models.families import Families, Family

ROOT = Path(__file__).parents[4]
MODELS, FAMILIES = ROOT / "model_repository", ROOT / "families"
PLAIN = "float[b, 4, h, w] sample, float[b, 1] timestep, float[b, 48, 384] encoder_hidden_states"


@pytest.fixture
def starter() -> Family:
    return Families.load(FAMILIES / "families.toml").get("realistic")


@pytest.fixture
def family(starter: Family) -> Family:
    """The starter's texts, and latents of four channels."""
    return starter.model_copy(update={"networks": starter.networks.model_copy(update={"latent_channels": 4})})


def record(family: Family, unet: Path) -> list[Tensors]:
    return Recorder(family, FAMILIES, (MODELS / "starter_text_encoder/1/graph.onnx",))(unet)


def unet(path: Path, inputs: str, channels: int = 4) -> Path:
    """A graph that predicts the latents themselves, and takes what is said."""
    text = f"""
    <ir_version: 10, opset_import: ["" : 20]>
    unet ({inputs.replace("4, h, w] sample", f"{channels}, h, w] sample")}) => (float[b, 4, h, w] out_sample)
    {{
      zero = Constant <value_ints = [0]> ()
      four = Constant <value_ints = [4]> ()
      one = Constant <value_ints = [1]> ()
      out_sample = Slice (sample, zero, four, one)
    }}
    """
    onnx.save(onnx.parser.parse_model(text), path)
    return path


def test_real_runs_of_the_starter(starter: Family, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "MOST_STEPS", 2)
    seen = record(starter, MODELS / "starter_unet/1/graph.onnx")
    assert len(seen) == 2 * len(PROMPTS)
    assert [float(each["timestep"][0, 0]) for each in seen[:2]] == [999, 499]
    assert all(len(array) == 2 for each in seen for array in each.values())  # both guidance rows
    channels = starter.networks.latent_channels
    assert {each["sample"].shape for each in seen} == {(2, channels, 16, 16), (2, channels, 16, 20)}
    first, second = seen[0], seen[1]
    assert not np.array_equal(first["encoder_hidden_states"][0], first["encoder_hidden_states"][1])
    assert not np.array_equal(first["sample"], second["sample"])
    assert np.array_equal(first["sample"][0], first["sample"][1])
    assert first["control_image"].max() == first["control_scale"].max() == 1
    assert not first["image_embeds"][0].any()  # without a picture
    assert first["image_embeds"][1].std() == pytest.approx(1, abs=0.1)
    assert len({each["encoder_hidden_states"].tobytes() for each in seen}) == len(PROMPTS)


def test_the_same_is_recorded_each_time(family: Family, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "MOST_STEPS", 1)
    graph = unet(tmp_path / "graph.onnx", PLAIN)
    for once, again in zip(record(family, graph), record(family, graph), strict=True):
        assert once.keys() == {"sample", "timestep", "encoder_hidden_states"}
        assert all(np.array_equal(once[name], again[name]) for name in once)


def test_a_unet_that_inpaints_is_given_masks(family: Family, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "MOST_STEPS", 1)
    seen = record(family, unet(tmp_path / "graph.onnx", PLAIN, channels=9))
    masks = [each["sample"][:, 4:5] for each in seen]
    assert {each["sample"].shape[1] for each in seen} == {9}
    assert {float(mask.mean()) for mask in masks} == {0.5, 1.0}
    assert all(0.3 < each["sample"][:, 5:].std() < 2 for each in seen)  # as latents that are scaled


def test_several_control_kinds_are_used_in_turn(
    family: Family, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibration, "MOST_STEPS", 1)
    networks = family.networks.model_copy(update={"control_kinds": ("canny", "depth")})
    graph = unet(tmp_path / "graph.onnx", f"{PLAIN}, float[b, 6, H, W] control_image, float[b, 2] control_scale")
    seen = record(family.model_copy(update={"networks": networks}), graph)
    assert [each["control_scale"][0].tolist() for each in seen] == [[1, 0], [0, 1], [1, 0], [0, 1]]
    assert all(each["control_image"].shape[1] == 6 for each in seen)
    assert "image_embeds" not in seen[0]


def test_drawings_are_white_lines_on_black() -> None:
    picture = drawing((160, 96), 3)
    assert picture.shape == (3, 96, 160)
    assert set(np.unique(picture)) == {0, 1}
    assert 0.01 < picture.mean() < 0.5
