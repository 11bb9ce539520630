"""Quantised graphs: which layers, how near, in which type they run, and that a row depends on no other."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the tools' environment: make test-tools")

import onnx
import onnx.parser
import onnxruntime
import openvino as ov
from onnx import numpy_helper

from engines.network import Network
from engines.rows import Tensors
from model_tools.export import quantize
from model_tools.export.quantize import FORMATS, QuantizeError, pick_layers

# A UNet in small: timestep and prompt come in next to the picture; "skip" goes around a layer, "hidden" has two
# readers.
GRAPH = """
<ir_version: 10, opset_import: ["" : 20]>
unet (float[b, 4, h, w] sample, float[b, 1] timestep, float[b, 3, 8] encoder_hidden_states)
  => (float[b, 4, h, w] out_sample)
{
  shape = Shape (sample)
  rows = Slice (shape, zero, one)
  grown = Gemm <transB = 1> (timestep, time_weight)
  first = Conv <pads = [1, 1, 1, 1]> (sample, first_weight)
  axes = Constant <value_ints = [2, 3]> ()
  spread = Unsqueeze (grown, axes)
  hidden = Add (first, spread)
  signal = Sigmoid (hidden)
  silu = Mul (hidden, signal)
  inner = Conv <pads = [1, 1, 1, 1]> (silu, inner_weight)
  flat_shape = Constant <value_ints = [0, 16, -1]> ()
  flat = Reshape (inner, flat_shape)
  tokens = Transpose <perm = [0, 2, 1]> (flat)
  query = MatMul (tokens, query_weight)
  keys = MatMul (encoder_hidden_states, key_weight)
  turned = Transpose <perm = [0, 2, 1]> (keys)
  scores = MatMul (query, turned)
  share = Softmax (scores)
  mixed = MatMul (share, keys)
  back = Transpose <perm = [0, 2, 1]> (mixed)
  full = Shape (inner)
  again = Reshape (back, full)
  skip = Conv (hidden, skip_weight)
  joined = Add (again, skip)
  out_sample = Conv <pads = [1, 1, 1, 1]> (joined, last_weight)
}
"""
WEIGHTS = {
    "time_weight": (16, 1),
    "first_weight": (16, 4, 3, 3),
    "inner_weight": (16, 16, 3, 3),
    "query_weight": (16, 16),
    "key_weight": (8, 16),
    "skip_weight": (16, 16, 1, 1),
    "last_weight": (4, 16, 3, 3),
}


def build(path: Path, **replaced: np.ndarray) -> Path:
    model = onnx.parser.parse_model(GRAPH)
    random = np.random.default_rng(0)
    arrays: dict[str, np.ndarray] = {"zero": np.array([0]), "one": np.array([1])}
    for name, shape in WEIGHTS.items():
        arrays[name] = random.standard_normal(shape, np.float32) / np.sqrt(np.prod(shape[1:]), dtype=np.float32)
    for name, array in (arrays | replaced).items():
        model.graph.initializer.append(numpy_helper.from_array(array, name))
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
    return path


def inputs(count: int, rows: int = 2) -> Iterator[Tensors]:
    random = np.random.default_rng(1)
    for _ in range(count):
        yield {
            "sample": random.standard_normal((rows, 4, 8, 12), np.float32),
            "timestep": random.random((rows, 1), np.float32),
            "encoder_hidden_states": random.standard_normal((rows, 3, 8), np.float32),
        }


def run(path: Path, given: Tensors) -> np.ndarray:
    answer: np.ndarray = Network(path, "f32").run(given)["out_sample"].copy()
    return answer


def error(path: Path, reference: Path) -> float:
    given = next(inputs(1, rows=8))
    wanted = run(reference, given)
    return float(np.abs(run(path, given) - wanted).mean() / np.abs(wanted).mean())


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    return build(tmp_path / "graph.onnx")


def test_the_layers_between_pictures_are_quantised(graph: Path, tmp_path: Path) -> None:
    assert [layer.input[1] for layer in pick_layers(onnx.load(graph).graph)] == [
        *("inner_weight", "query_weight", "skip_weight"),
    ]
    quantize.quantize(graph, tmp_path / "q" / "graph.onnx", inputs(4), "int8")
    model = onnx.load(tmp_path / "q" / "graph.onnx")
    onnx.checker.check_model(model, full_check=True)
    types = {each.name: each.data_type for each in model.graph.initializer}
    assert types["inner_weight.quantized"] == onnx.TensorProto.INT8
    assert types["first_weight"] == onnx.TensorProto.FLOAT
    assert "inner_weight" not in types
    assert [node.op_type for node in model.graph.node].count("QuantizeLinear") == 3


def test_int8_is_near_and_runs_in_int8(graph: Path, tmp_path: Path) -> None:
    quantize.quantize(graph, tmp_path / "q.onnx", inputs(4), "int8")
    assert 1e-4 < error(tmp_path / "q.onnx", graph) < 0.05
    compiled = ov.Core().compile_model(str(tmp_path / "q.onnx"), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    types = [
        operation.get_rt_info()["runtimePrecision"].astype(str)
        for operation in compiled.get_runtime_model().get_ops()
        if operation.get_rt_info()["layerType"].astype(str) in ("Convolution", "FullyConnected", "MatMul")
    ]
    assert len([each for each in types if each in ("i8", "u8")]) == 3, types


def test_a_row_depends_on_no_other(graph: Path, tmp_path: Path) -> None:
    quantize.quantize(graph, tmp_path / "q.onnx", inputs(4), "int8")
    network = Network(tmp_path / "q.onnx", "f32")
    given = next(inputs(1, rows=8))
    together = network.run(given)["out_sample"].copy()
    for rows in (1, 2, 3):
        part = {name: np.ascontiguousarray(array[5 : 5 + rows]) for name, array in given.items()}
        assert np.array_equal(network.run(part)["out_sample"], together[5 : 5 + rows])


def test_fp8_is_what_tensorrt_reads(graph: Path, tmp_path: Path) -> None:
    quantize.quantize(graph, tmp_path / "q.onnx", inputs(4), "fp8")
    model = onnx.load(tmp_path / "q.onnx")
    onnx.checker.check_model(model, full_check=True)
    tensors = {each.name: each for each in model.graph.initializer}
    assert tensors["inner_weight.quantized"].data_type == onnx.TensorProto.FLOAT8E4M3FN
    assert tensors["silu.zero"].data_type == onnx.TensorProto.FLOAT8E4M3FN
    assert not any(bytes(each.raw_data).strip(b"\0") for name, each in tensors.items() if name.endswith(".zero"))
    given = next(inputs(1))
    (answer,) = onnxruntime.InferenceSession(str(tmp_path / "q.onnx")).run(None, given)
    wanted = run(graph, given)
    assert 1e-4 < np.abs(answer - wanted).mean() / np.abs(wanted).mean() < 0.06


@pytest.mark.parametrize("kind", ["int8", "fp8"])
def test_a_graph_may_become_float16_and_keep_its_scales(graph: Path, tmp_path: Path, kind: quantize.Kind) -> None:
    """As TensorRT wants it: quantised weights stand for the same numbers, whichever type their scales have."""
    form = FORMATS[kind]
    magnitudes = np.array([0, 1e-9, 1e-3, 0.7, 31.4159, 2e4], np.float32)
    scales = form.scales(magnitudes)
    assert np.array_equal(scales, scales.astype(np.float16).astype(np.float32))
    assert (magnitudes / scales <= form.largest * (1 + 1e-6)).all()
    quantize.quantize(graph, tmp_path / "q.onnx", inputs(2), kind)
    for each in onnx.load(tmp_path / "q.onnx").graph.initializer:
        if each.name.endswith(".scale"):
            values = numpy_helper.to_array(each)
            assert np.array_equal(values, values.astype(np.float16).astype(np.float32)), each.name


def test_rare_outliers_are_clipped_in_int8_and_kept_in_fp8(graph: Path) -> None:
    given = list(inputs(8))
    usual = quantize.measure(graph, ["first"], given, clipped=False)["first"]
    given[0]["sample"] = np.full((2, 4, 8, 12), 100, np.float32)
    assert quantize.measure(graph, ["first"], given, clipped=False)["first"] > 20 * usual
    assert quantize.measure(graph, ["first"], given, clipped=True)["first"] < 20 * usual
    assert FORMATS["int8"].clipped
    assert not FORMATS["fp8"].clipped


def test_what_was_zero_in_calibration_stays_float(tmp_path: Path) -> None:
    """The layer behind a path that no calibration input used would give zeros from then on."""
    dead = build(tmp_path / "dead.onnx", inner_weight=np.zeros(WEIGHTS["inner_weight"], np.float32))
    quantize.quantize(dead, tmp_path / "q.onnx", inputs(2), "int8")
    names = {each.name for each in onnx.load(tmp_path / "q.onnx").graph.initializer}
    assert "query_weight" in names
    assert "skip_weight.quantized" in names


def test_large_graphs_keep_their_weights_next_to_them(
    graph: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside = tmp_path / "outside" / "graph.onnx"
    outside.parent.mkdir()
    onnx.save(onnx.load(graph), outside, save_as_external_data=True, location="graph.onnx.data", size_threshold=0)
    quantize.quantize(graph, tmp_path / "whole.onnx", inputs(2), "int8")
    monkeypatch.setattr(quantize, "SINGLE_FILE", 100)
    quantize.quantize(outside, tmp_path / "q.onnx", inputs(2), "int8")
    assert (tmp_path / "q.onnx.data").stat().st_size > 1000
    given = next(inputs(1))
    assert np.array_equal(run(tmp_path / "q.onnx", given), run(tmp_path / "whole.onnx", given))


def test_weights_may_be_stored_in_float16(tmp_path: Path) -> None:
    """As onnx_weights.halve_weights leaves them: float16, and a Cast back."""
    path = build(tmp_path / "graph.onnx")
    model = onnx.load(path)
    weight = next(each for each in model.graph.initializer if each.name == "inner_weight")
    half = numpy_helper.to_array(weight).astype(np.float16)
    weight.CopyFrom(numpy_helper.from_array(half, "inner_weight.fp16"))
    cast = onnx.helper.make_node("Cast", ["inner_weight.fp16"], ["inner_weight"], to=onnx.TensorProto.FLOAT)
    model.graph.node.insert(0, cast)
    onnx.save(model, path)
    quantize.quantize(path, tmp_path / "q.onnx", inputs(2), "int8")
    names = {each.name for each in onnx.load(tmp_path / "q.onnx").graph.initializer}
    assert "inner_weight.quantized" in names
    assert "inner_weight.fp16" not in names


def test_what_cannot_be_quantised_is_said(graph: Path, tmp_path: Path) -> None:
    with pytest.raises(QuantizeError, match="no inputs to calibrate"):
        quantize.quantize(graph, tmp_path / "q.onnx", [], "int8")
    for number, named in ((np.nan, "an input is not finite: sample"), (3e38, "hidden is not finite")):
        wrong = list(inputs(2))
        wrong[1]["sample"] = np.full((2, 4, 8, 12), number, np.float32)
        with pytest.raises(QuantizeError, match=named):
            quantize.quantize(graph, tmp_path / "q.onnx", wrong, "int8")
    model = onnx.load(graph)
    del model.graph.node[:]
    model.graph.node.append(onnx.helper.make_node("Identity", ["sample"], ["out_sample"]))
    onnx.save(model, tmp_path / "empty.onnx")
    with pytest.raises(QuantizeError, match="no layer to quantise"):
        quantize.quantize(tmp_path / "empty.onnx", tmp_path / "q.onnx", inputs(1), "int8")
    assert not (tmp_path / "q.onnx").exists()
