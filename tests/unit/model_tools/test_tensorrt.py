"""What TensorRT is told of the committed models, and that the builder of engines reads it so."""

import importlib.util
import json
import shutil
from pathlib import Path
from types import ModuleType

import pytest

pytest.importorskip("onnx")  # lives in .tools

from model_tools.tensorrt import Profile, TensorrtError, describe, main  # needs onnx

ROOT = Path(__file__).parents[3]
MODELS = ROOT / "model_repository"


@pytest.fixture(scope="module")
def builder() -> ModuleType:
    """The script of the chart."""
    spec = importlib.util.spec_from_file_location("engines_script", ROOT / "helm/imagegen/files/engines.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def copy(name: str, folder: Path) -> Path:
    return Path(shutil.copytree(MODELS / name, folder / name))


def test_a_unet_takes_latents_and_pixels(tmp_path: Path, builder: ModuleType) -> None:
    folder = copy("starter_unet", tmp_path)
    describe(folder, Profile((128, 256, 512), (1, 2, 4)), "fp16")
    words = builder.command(folder, tmp_path / "plan", tmp_path / "cache")
    assert words[:4] == [
        *("trtexec", f"--onnx={folder}/1/graph.onnx", f"--saveEngine={tmp_path}/plan", "--fp16"),
    ]
    shapes = dict(part.split(":") for part in words[5].removeprefix("--optShapes=").split(","))
    assert shapes == {
        "sample": "2x4x32x32",
        "timestep": "2x1",
        "encoder_hidden_states": "2x48x384",
        "control_image": "2x3x256x256",
        "control_scale": "2x1",
        "image_embeds": "2x16x384",
        "image_scale": "2x1",
    }
    assert "sample:1x4x16x16" in words[4]
    assert "sample:4x4x64x64" in words[6]
    config = (folder / "config.tensorrt.pbtxt").read_text("utf-8")
    assert 'backend: "tensorrt"' in config
    assert "max_batch_size: 4" in config
    assert '{ name: "control_image" data_type: TYPE_FP32 dims: [ 3, -1, -1 ] }' in config
    assert 'key: "control_image" value { data_type: TYPE_FP32 dims: [ 3, 256, 256 ]' in config
    assert "optional" not in config
    assert "absent" not in config


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("starter_vae_encoder", {"image": [2, 3, 512, 512]}),
        ("starter_vae_decoder", {"latents": [2, 4, 64, 64]}),
        ("starter_text_encoder", {"input_ids": [2, 48]}),
        ("matting", {"image": [2, 3, 256, 256]}),
    ],
)
def test_every_kind_of_network(tmp_path: Path, name: str, shape: dict[str, list[int]]) -> None:
    folder = copy(name, tmp_path)
    shapes = describe(folder, Profile())
    assert {each: three[1] for each, three in shapes.items()} == shape
    described = json.loads((folder / "engine.json").read_text("utf-8"))
    assert {each: three["opt"] for each, three in described["inputs"].items()} == shape
    warm = ", ".join(map(str, next(iter(shape.values()))[1:]))
    assert f"dims: [ {warm} ] zero_data: true" in (folder / "config.tensorrt.pbtxt").read_text("utf-8")


def test_a_configuration_of_another_graph_is_refused(tmp_path: Path) -> None:
    folder = copy("starter_vae_decoder", tmp_path)
    config = folder / "config.pbtxt"
    config.write_text(config.read_text("utf-8").replace("dims: [ 4, -1, -1 ]", "dims: [ 16, -1, -1 ]"), "utf-8")
    with pytest.raises(TensorrtError, match=r"config.pbtxt does not say TYPE_FP32 \[ 4, -1, -1 \] of latents"):
        describe(folder, Profile())
    assert not (folder / "engine.json").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--sides", "512:256:1024"], "sides are to rise"),
        (["--sides", "500:512:1024"], "multiples of 8"),
        (["--rows", "1:2:16"], "a model takes 8 rows, not 16"),
        (["--rows", "0:1:2"], "rows are to rise from 1 on"),
        ([], "no 1/graph.onnx"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str) -> None:
    assert main([*words, str(tmp_path)]) == 1
    assert said in capsys.readouterr().err
