"""Model folders: what Triton's configuration says of a graph, and what stays out of the committed file."""

import hashlib
from pathlib import Path

import pytest

onnx = pytest.importorskip("onnx")  # lives in .tools

from model_tools.export.folders import finish_folder, graph_path  # noqa: E402  # needs onnx

NOTE = "File /home/somebody/secret/path.py"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository of one exported graph, with the notes that torch's exporter leaves."""
    shape = ["batch", 4, "height", "width"]
    tensors = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name in ("latents", "image")]
    node = onnx.helper.make_node("Identity", ["latents"], ["image"], doc_string=NOTE)
    node.metadata_props.add(key="pkg.torch.onnx.stack_trace", value=NOTE)
    graph = onnx.helper.make_graph([node], "graph", tensors[:1], tensors[1:])
    path = graph_path(tmp_path, "copy")
    path.parent.mkdir(parents=True)
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=10), path)
    finish_folder(tmp_path, "copy", precision="f32", sides=(8, 12))
    return tmp_path


def test_config_says_what_the_graph_is(repository: Path) -> None:
    digest = hashlib.sha256(graph_path(repository, "copy").read_bytes()).hexdigest()
    config = (repository / "copy" / "config.pbtxt").read_text()
    assert 'name: "latents" data_type: TYPE_FP32 dims: [ 4, -1, -1 ]' in config
    assert 'name: "image" data_type: TYPE_FP32 dims: [ 4, -1, -1 ]' in config
    assert f'key: "graph_sha256" value {{ string_value: "{digest}" }}' in config
    assert "dims: [ 4, 8, 12 ] zero_data: true" in config
    assert "backend" not in config
    assert "platform" not in config


def test_the_exporters_notes_are_dropped(repository: Path) -> None:
    assert NOTE.encode() not in graph_path(repository, "copy").read_bytes()


def test_the_python_backend_finds_its_model(repository: Path) -> None:
    assert "TritonPythonModel" in (repository / "copy" / "1" / "model.py").read_text()


def test_an_optional_input_names_its_default(repository: Path) -> None:
    finish_folder(repository, "copy", precision="f32", sides=(8, 12), optional={"latents": "4, 8, 8"})
    config = (repository / "copy" / "config.pbtxt").read_text()
    assert 'name: "latents" data_type: TYPE_FP32 dims: [ 4, -1, -1 ] optional: true allow_ragged_batch: true' in config
    assert 'key: "absent_latents" value { string_value: "4, 8, 8" }' in config
    assert 'name: "image" data_type: TYPE_FP32 dims: [ 4, -1, -1 ] }' in config
