"""Reads networks in ncnn's format and writes them as ONNX graphs.

ncnn keeps a network in two files: `.param`, lines of text, a layer each (its type, name, the number of inputs and of
outputs, their names, then numbered parameters), and `.bin`, the weights of all layers in the same order. The format is
documented in ncnn's wiki ("param and model file structure"). Read here are the layers of Real-ESRGAN's networks.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

MAGIC = "7767517"
HALF = 0x01306B47
"""Before weights that are stored as float16."""
OPSET = 20
CUBIC = -0.75
"""The coefficient of ncnn's bicubic kernel."""
ACTIVATION_LEAKY = 2
RESIZE_MODES = {1: "nearest", 3: "cubic"}
LIST = -23300
"""A parameter that is a list has the key LIST - its number, and its length as the first entry."""


@dataclass(frozen=True, slots=True)
class Layer:
    """A line of a `.param` file.

    Attributes:
        kind: of the layer.
        name: of the layer.
        inputs, outputs: names of tensors.
        parameters: by their number; each a number, or a list of them.
    """

    kind: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    parameters: Mapping[int, tuple[float, ...]]

    def number(self, key: int, default: float = 0.0) -> float:
        """A parameter that is one number."""
        return self.parameters.get(key, (default,))[0]


class Weights:
    """A `.bin` file, read from the front."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def floats(self, count: int) -> NDArray[np.float32]:
        """Numbers that are stored as float32."""
        values = np.frombuffer(self._data, "<f4", count, self._at)
        self._at += 4 * count
        return values

    def tagged(self, count: int) -> NDArray[np.float16]:
        """Numbers behind a tag that says float16, padded to whole words. Raises ValueError for another tag."""
        (tag,) = np.frombuffer(self._data, "<u4", 1, self._at)
        if tag != HALF:
            raise ValueError(f"weights with tag {tag:#x}; only float16 ({HALF:#x}) is read")
        values = np.frombuffer(self._data, "<f2", count, self._at + 4)
        self._at += 4 + -(-2 * count // 4) * 4
        return values

    def check_end(self) -> None:
        """Raise ValueError unless all of the file has been read."""
        if self._at != len(self._data):
            raise ValueError(f"{len(self._data) - self._at} bytes of weights belong to no layer")


def read_layers(param: str) -> list[Layer]:
    """The layers of a `.param` file. Raises ValueError if it is not one."""
    magic, _, *lines = param.strip().splitlines()
    if magic.strip() != MAGIC:
        raise ValueError("not a .param file of ncnn")
    return [_layer(line.split()) for line in lines]


def _layer(words: list[str]) -> Layer:
    kind, name, inputs, outputs, *rest = words
    first, last = int(inputs), int(inputs) + int(outputs)
    parameters: dict[int, tuple[float, ...]] = {}
    for word in rest[last:]:
        key, _, value = word.partition("=")
        values = tuple(float(each) for each in value.split(","))
        number = int(key)
        parameters[LIST - number if number <= LIST else number] = values[1:] if number <= LIST else values
    return Layer(kind, name, tuple(rest[:first]), tuple(rest[first:last]), parameters)


class _Builder:
    """Nodes and weights of the graph, a layer at a time."""

    def __init__(self, weights: Weights) -> None:
        self.weights = weights
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.channels: dict[str, int] = {}

    def add(self, operator: str, inputs: list[str], output: str, **attributes: object) -> str:
        """Append a node; returns its output."""
        self.nodes.append(helper.make_node(operator, inputs, [output], name=f"{operator}:{output}", **attributes))
        return output

    def constant(self, name: str, values: NDArray[np.generic]) -> str:
        """Add a tensor; float16 ones are cast to float32, which engines do once, as they load the graph."""
        self.initializers.append(numpy_helper.from_array(values, name))
        return self.add("Cast", [name], f"{name}.f32", to=TensorProto.FLOAT) if values.dtype == np.float16 else name

    def convolution(self, layer: Layer) -> None:
        """Convolution with bias and, where asked for, a leaky ReLU."""
        (source,), (output,) = layer.inputs, layer.outputs
        filters, size, count = int(layer.number(0)), int(layer.number(1)), int(layer.number(6))
        shape = filters, count // (filters * size * size), size, size
        kernel = self.constant(f"{layer.name}.weight", self.weights.tagged(count).reshape(shape))
        inputs = [source, kernel]
        if layer.number(5):
            inputs.append(self.constant(f"{layer.name}.bias", self.weights.floats(filters)))
        is_leaky = layer.number(9) == ACTIVATION_LEAKY
        pads = [int(layer.number(4))] * 4
        made = self.add("Conv", inputs, f"{output}.linear" if is_leaky else output, kernel_shape=[size] * 2, pads=pads)
        if is_leaky:
            self.add("LeakyRelu", [made], output, alpha=layer.parameters[10][0])

    def prelu(self, layer: Layer) -> None:
        """A ReLU with a slope for each channel."""
        count = int(layer.number(0))
        slope = self.constant(f"{layer.name}.slope", self.weights.floats(count).reshape(count, 1, 1))
        self.add("PRelu", [layer.inputs[0], slope], layer.outputs[0])

    def interp(self, layer: Layer) -> None:
        """Resampling by a factor."""
        mode = RESIZE_MODES[int(layer.number(0))]
        factors = np.array([1, 1, layer.number(2, 1), layer.number(1, 1)], np.float32)
        scales = self.constant(f"{layer.name}.scales", factors)
        extra = {"cubic_coeff_a": CUBIC} if mode == "cubic" else {"nearest_mode": "floor"}
        where = "half_pixel" if mode == "cubic" else "asymmetric"
        inputs = [layer.inputs[0], "", scales]
        self.add("Resize", inputs, layer.outputs[0], mode=mode, coordinate_transformation_mode=where, **extra)

    def shuffle(self, layer: Layer) -> None:
        """Pixels out of channels (ESPCN)."""
        self.add("DepthToSpace", list(layer.inputs), layer.outputs[0], blocksize=int(layer.number(0)), mode="CRD")

    def total(self, layer: Layer) -> None:
        """A sum, each input with its factor."""
        if layer.number(0) != (1 if layer.kind == "Eltwise" else 0):
            raise ValueError(f"{layer.name}: only sums are read")
        factors = layer.parameters.get(1, ()) if layer.kind == "Eltwise" else ()
        terms = []
        for index, source in enumerate(layer.inputs):
            if factors and factors[index] != 1:
                factor = self.constant(f"{layer.name}.factor{index}", np.array(factors[index], np.float32))
                terms.append(self.add("Mul", [source, factor], f"{layer.outputs[0]}.term{index}"))
            else:
                terms.append(source)
        self.add("Add", terms, layer.outputs[0])

    def concat(self, layer: Layer) -> None:
        """Channels of several tensors, one after the other."""
        self.add("Concat", list(layer.inputs), layer.outputs[0], axis=1)

    def split(self, layer: Layer) -> None:
        """The same tensor under several names."""
        for output in layer.outputs:
            self.add("Identity", list(layer.inputs), output)


def to_onnx(param: str, weights: bytes) -> onnx.ModelProto:
    """The network as `image` (B, 3, h, w) RGB in [-1, 1] to `upscaled`, the same, h and w times its factor.

    The published networks take and give [0, 1]. Weights stay as they are, float16; computed is in float32.

    Raises:
        ValueError: the files are no network of ncnn, or hold a layer that is not read here.
    """
    layers, file = read_layers(param), Weights(weights)
    builder = _Builder(file)
    one, half = (builder.constant(name, np.array(value, np.float32)) for name, value in (("one", 1), ("half", 0.5)))
    minimum = builder.constant("minimum", np.array(-1, np.float32))
    kinds: Mapping[str, Callable[[Layer], None]] = {
        "Convolution": builder.convolution,
        "PReLU": builder.prelu,
        "Interp": builder.interp,
        "PixelShuffle": builder.shuffle,
        "BinaryOp": builder.total,
        "Eltwise": builder.total,
        "Concat": builder.concat,
        "Split": builder.split,
    }
    for layer in layers:
        if layer.kind == "Input":
            scaled = builder.add("Mul", ["image", half], "image.half")
            builder.add("Add", [scaled, half], layer.outputs[0])
        elif layer.kind in kinds:
            kinds[layer.kind](layer)
        else:
            raise ValueError(f"{layer.name}: a layer of type {layer.kind} is not read")
    file.check_end()
    doubled = builder.add("Add", ["output", "output"], "output.doubled")
    builder.add("Clip", [builder.add("Sub", [doubled, one], "output.signed"), minimum, one], "upscaled")
    sides = ("batch", 3, "rows", "columns"), ("batch", 3, "upscaled_rows", "upscaled_columns")
    image, upscaled = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in zip(("image", "upscaled"), sides, strict=True)
    )
    graph = helper.make_graph(builder.nodes, "network", [image], [upscaled], builder.initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
