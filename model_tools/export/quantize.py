"""Quantises an ONNX graph to int8 or fp8: Q/DQ pairs around convolutions and products with weights.

Weights have a scale for each output channel, activations one static scale for each tensor, so that no row depends on
who shares its batch. All are symmetric (zero point 0), as TensorRT demands; OpenVINO runs the same graph in int8 as
fast as with zero points, and the starter's pictures lose 0.7 dB by it. What stays float: the first and the last layer
on the way from picture to picture, norms, softmax, products of two activations (attention), and all that does not
depend on the picture (timestep embedding, the prompt's keys and values), which is small, and where values run far out.

The pairs are not made by onnxruntime.quantization: its fp8 scales come of a standard deviation, so that outliers are
clipped, and it holds several copies of a graph in memory, which are gigabytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import ml_dtypes
import numpy as np
import onnx
import openvino as ov
from numpy.typing import NDArray
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper
from openvino import opset13 as ops

Kind = Literal["int8", "fp8"]
Floats = NDArray[np.float32]
Inputs = dict[str, NDArray[np.generic]]

LAYERS = ("Conv", "MatMul", "Gemm")
PICTURE_RANK = 4
SINGLE_FILE = 2**31 - 2**20
"""Bytes that one protobuf message can have, with some room; larger graphs keep their weights next to them."""
SMALLEST_SCALE = float(np.finfo(np.float16).smallest_subnormal)


class QuantizeError(ValueError):
    """A graph that cannot be quantised; the message says why."""


@dataclass(frozen=True, slots=True)
class Format:
    """A number format.

    Attributes:
        dtype: numpy's.
        onnx_type: of TensorProto.
        largest: value; a scale is the largest magnitude divided by it.
        clipped: whether the scale of an activation comes of the mean of the largest magnitudes of all calibration
            inputs, not of their maximum. With as many steps for small values as for large ones, what is gained for
            most outweighs what a few lose: 46.5 dB instead of 41.0, for the starter in int8.
    """

    dtype: np.dtype[np.generic]
    onnx_type: int
    largest: float
    clipped: bool

    def scales(self, magnitudes: Floats) -> Floats:
        """Scales for largest magnitudes, float32, rounded up to what float16 can say: a graph may become float16."""
        scales = np.maximum(magnitudes / self.largest, SMALLEST_SCALE)
        halves = scales.astype(np.float16)
        return np.where(halves < scales, np.nextafter(halves, np.float16(np.inf)), halves).astype(np.float32)

    def round(self, values: Floats) -> NDArray[np.generic]:
        """Values, divided by their scale, in this format."""
        if np.issubdtype(self.dtype, np.integer):
            values = np.rint(values)
        return np.clip(values, -self.largest, self.largest).astype(self.dtype)


FORMATS: dict[Kind, Format] = {
    "int8": Format(np.dtype(np.int8), TensorProto.INT8, 127, clipped=True),
    "fp8": Format(np.dtype(ml_dtypes.float8_e4m3fn), TensorProto.FLOAT8E4M3FN, 448, clipped=False),
}


def quantize(graph: Path, out: Path, calibration: Iterable[Inputs], kind: Kind) -> None:
    """Write the quantised graph to `out`; above 2 GB its weights are next to it, in NAME.data.

    Args:
        graph: computing in float32, its weights inside or next to it, in float32 or (by onnx_weights) float16.
        out: another file.
        calibration: the graph's inputs as they are in use, by name, one call each; at least one.
        kind: int8, or fp8 (E4M3, for TensorRT on GPUs of compute capability 8.9 or more).

    Raises:
        QuantizeError: there is no layer to quantise, no input, or a value that is not finite.
    """
    form = FORMATS[kind]
    names = sorted({layer.input[0] for layer in pick_layers(_load(graph).graph)})
    if not names:
        raise QuantizeError(f"{graph}: there is no layer to quantise")
    largest = measure(graph, names, calibration, clipped=form.clipped)
    model = _load(graph)  # again: OpenVINO's copy need not share the memory with gigabytes
    # What was zero throughout would be cut to zero forever.
    layers = [layer for layer in pick_layers(model.graph) if largest[layer.input[0]] > 0]
    insert_pairs(model.graph, layers, largest, form)
    out.parent.mkdir(parents=True, exist_ok=True)
    large = model.ByteSize() > SINGLE_FILE
    onnx.save(model, out, save_as_external_data=large, location=f"{out.name}.data" if large else None)


def _load(graph: Path) -> onnx.ModelProto:
    model = onnx.load(graph)
    widen_weights(model.graph)
    return model


def widen_weights(graph: GraphProto) -> None:
    """Undo onnx_weights.halve_weights: weights are float32 again, with the values of float16, and have no Cast."""
    weights = {tensor.name: tensor for tensor in graph.initializer if tensor.data_type == TensorProto.FLOAT16}
    kept = []
    for node in graph.node:
        if node.op_type == "Cast" and node.input[0] in weights and node.attribute[0].i == TensorProto.FLOAT:
            values = numpy_helper.to_array(weights[node.input[0]]).astype(np.float32)
            weights[node.input[0]].CopyFrom(numpy_helper.from_array(values, node.output[0]))
        else:
            kept.append(node)
    del graph.node[:]
    graph.node.extend(kept)


def pick_layers(graph: GraphProto) -> list[NodeProto]:
    """The layers to quantise, in the graph's order; of a graph that takes no picture, all that depend on its inputs."""
    weights = {tensor.name for tensor in graph.initializer if tensor.data_type == TensorProto.FLOAT}
    pictures = [each.name for each in graph.input if len(each.type.tensor_type.shape.dim) == PICTURE_RANK]
    nodes = [node for node in graph.node if node.op_type != "Shape"]  # a shape hands no values on
    reached = _reach(nodes, pictures or [each.name for each in graph.input])
    layers = [
        node for node in nodes if node.op_type in LAYERS and node.input[1] in weights and node.input[0] in reached
    ]
    if not pictures:
        return layers
    outputs = {layer.output[0] for layer in layers}
    between = [node for node in nodes if node.output[0] not in outputs]
    first = _reach(between, pictures)
    last = {each.name for each in graph.output}
    for node in reversed(between):
        if any(name in last for name in node.output):
            last.update(node.input)
    return [layer for layer in layers if layer.input[0] not in first and layer.output[0] not in last]


def _reach(nodes: Iterable[NodeProto], names: Iterable[str]) -> set[str]:
    """The tensors named, and those whose values depend on them by these nodes."""
    reached = set(names)
    for node in nodes:
        if any(name in reached for name in node.input):
            reached.update(node.output)
    return reached


def measure(graph: Path, names: Sequence[str], calibration: Iterable[Inputs], *, clipped: bool) -> dict[str, float]:
    """The largest magnitude of each tensor, by OpenVINO in float32: of each input's the mean (clipped) or the maximum.

    Raises:
        QuantizeError: as quantize says.
    """
    model = ov.Core().read_model(str(graph))
    ports = {name: port for node in model.get_ordered_ops() for port in node.outputs() for name in port.get_names()}
    magnitudes = []
    for name in names:
        axes = np.arange(ports[name].get_partial_shape().rank.get_length())
        magnitudes.append(ops.result(ops.reduce_max(ops.abs(ports[name]), axes)))
    probe = ov.Model(magnitudes, model.get_parameters(), "magnitudes")
    compiled = ov.Core().compile_model(probe, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    seen = np.array([[float(value) for value in compiled(_finite(inputs)).values()] for inputs in calibration])
    if not len(seen):
        raise QuantizeError("there are no inputs to calibrate with")
    if not np.isfinite(seen).all():
        raise QuantizeError(f"{graph}: {names[int(np.argmin(np.isfinite(seen).all(axis=0)))]} is not finite")
    largest = seen.mean(axis=0) if clipped else seen.max(axis=0)
    return dict(zip(names, largest.tolist(), strict=True))


def _finite(inputs: Inputs) -> Inputs:
    if wrong := [name for name, array in inputs.items() if not np.isfinite(array).all()]:  # the largest of NaN is none
        raise QuantizeError(f"an input is not finite: {wrong[0]}")
    return inputs


def insert_pairs(graph: GraphProto, layers: list[NodeProto], largest: dict[str, float], form: Format) -> None:
    """Give the layers quantised weights, and inputs that are rounded to the format; in place."""
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    picked = {layer.output[0] for layer in layers}
    used = {name for node in graph.node if node.output[0] not in picked for name in node.input}
    nodes: list[NodeProto] = []
    for name, layer in {layer.input[1]: layer for layer in layers}.items():
        nodes.append(_quantized_weight(graph, tensors[name], _output_axis(layer), form, keep=name in used))
    paired: set[str] = set()
    for node in graph.node:
        if node.output[0] in picked:
            name, weight = node.input[:2]
            if name not in paired:
                nodes += _pair(graph, name, form.scales(np.array(largest[name], np.float32)), form)
                paired.add(name)
            node.input[0], node.input[1] = f"{name}.rounded", f"{weight}.rounded"
        nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)


def _output_axis(layer: NodeProto) -> int:
    """The axis of a layer's weights along which its output channels lie; a Gemm's may be transposed."""
    if layer.op_type == "Conv":
        return 0
    return 0 if any(each.name == "transB" and each.i for each in layer.attribute) else -1


def _quantized_weight(graph: GraphProto, tensor: TensorProto, axis: int, form: Format, *, keep: bool) -> NodeProto:
    """Put a weight, quantised, in place of itself (next to it, to keep it); the node that gives it back in float32."""
    values, name = numpy_helper.to_array(tensor), tensor.name
    axis %= values.ndim
    others = tuple(each for each in range(values.ndim) if each != axis)
    scales = form.scales(np.abs(values).max(axis=others))
    rounded = form.round(values / np.expand_dims(scales, others))
    place = graph.initializer.add() if keep else tensor
    place.CopyFrom(helper.make_tensor(f"{name}.quantized", form.onnx_type, values.shape, rounded.tobytes(), raw=True))
    parameters = _parameters(graph, name, scales, form)
    return helper.make_node(
        "DequantizeLinear", [place.name, *parameters], [f"{name}.rounded"], f"{name}.dequantize", axis=axis
    )


def _pair(graph: GraphProto, name: str, scale: Floats, form: Format) -> tuple[NodeProto, NodeProto]:
    """The nodes that round an activation: NAME.rounded."""
    parameters, quantized = _parameters(graph, name, scale, form), f"{name}.quantized"
    return (
        helper.make_node("QuantizeLinear", [name, *parameters], [quantized], f"{name}.quantize"),
        helper.make_node("DequantizeLinear", [quantized, *parameters], [f"{name}.rounded"], f"{name}.dequantize"),
    )


def _parameters(graph: GraphProto, name: str, scales: Floats, form: Format) -> tuple[str, str]:
    """Names of the scale and the zero point, which are added to the graph."""
    zeros = bytes(form.dtype.itemsize * scales.size)
    graph.initializer.add().CopyFrom(numpy_helper.from_array(scales, f"{name}.scale"))
    zero = helper.make_tensor(f"{name}.zero", form.onnx_type, scales.shape, zeros, raw=True)
    graph.initializer.add().CopyFrom(zero)
    return f"{name}.scale", f"{name}.zero"
