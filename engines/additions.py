"""What is put on a graph after it was exported, from files next to it: LoRAs, and vectors of textual inversions.

`loras.npz` (Hu et al. 2021, arXiv:2106.09685): every LoRA of a family is in the graph, as a second path around each
layer that it changes, W x + B (s * (A x)). s is the row's own scale of each LoRA, by the further input `lora_scale`
[rows, LoRAs], so that requests with other LoRAs, or with none, share a run. A scale of 0 adds exactly 0.

    count: (), LoRAs
    LAYER|down: (r, in) or (r, in, kernel height, kernel width), of all LoRAs of that layer, one below the other
    LAYER|up: (out, r)
    LAYER|slots: (r,) int64, of each rank its LoRA, from 0

LAYER is the layer's path in the module that was exported ("module.unet.down_blocks.0…to_q").

`embeddings.npz`, `vectors`: (n, width), further rows of the token embedding (Gal et al. 2022, arXiv:2208.01618): the
ids after the vocabulary.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
from openvino import opset13 as ops

LORAS, EMBEDDINGS = "loras.npz", "embeddings.npz"
FILES = (LORAS, EMBEDDINGS)
SCALE = "lora_scale"
_LAYERS = frozenset({"MatMul", "Convolution"})


class AdditionsError(ValueError):
    """Files that do not fit the graph next to them; the message is for the operator."""


def read_model(core: ov.Core, graph: Path) -> ov.Model:
    """Read a graph with all that is put on it.

    Raises:
        AdditionsError: a file does not fit the graph.
        RuntimeError: OpenVINO cannot read the graph.
    """
    model = core.read_model(str(graph))
    if (path := graph.with_name(EMBEDDINGS)).is_file():
        _add_vectors(model, _read(path)["vectors"])
    if (path := graph.with_name(LORAS)).is_file():
        _add_loras(model, _read(path))
    return model


def find_layers(model: ov.Model) -> dict[str, ov.Node]:
    """Layers with weights, by their path in the module that was exported."""
    found: dict[str, ov.Node] = {}
    for node in model.get_ordered_ops():
        if node.get_type_name() in _LAYERS and node.input_value(1).get_partial_shape().is_static:
            name = node.get_friendly_name().removesuffix("/WithoutBiases").lstrip("/")
            found[".".join(name.split("/")[:-1])] = node
    return found


def layer_shape(node: ov.Node) -> tuple[int, ...]:
    """Shape of a layer's weights as torch has them: (out, in) or (out, in, kernel height, kernel width)."""
    shape = tuple(node.input_value(1).get_shape())
    if node.get_type_name() == "MatMul" and not node.get_attributes()["transpose_b"]:
        return shape[::-1]
    return shape


def vocabulary(model: ov.Model) -> tuple[int, int]:
    """Tokens that the graph's token embedding knows, and their width.

    Raises:
        AdditionsError: the graph has no token embedding.
    """
    rows, width = _embedding(model).input_value(0).get_shape()
    return int(rows), int(width)


def _read(path: Path) -> dict[str, Any]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return dict(file)
    except (OSError, ValueError, EOFError) as error:
        raise AdditionsError(f"{path} cannot be read: {error}") from error


def _add_loras(model: ov.Model, arrays: dict[str, Any]) -> None:
    layers = find_layers(model)
    scale = ops.parameter(ov.PartialShape([-1, int(arrays["count"])]), ov.Type.f32, name=SCALE)
    scale.output(0).set_names({SCALE})
    for layer in sorted(key.removesuffix("|up") for key in arrays if key.endswith("|up")):
        node = layers.get(layer)
        if node is None:
            raise AdditionsError(f"{LORAS} has the layer {layer}, which the graph does not have")
        _add_path(node, scale, *(arrays[f"{layer}|{part}"] for part in ("down", "up", "slots")))
    model.add_parameters([scale])
    model.validate_nodes_and_infer_types()


def _add_path(node: ov.Node, scale: ov.Node, down: Any, up: Any, slots: Any) -> None:  # noqa: ANN401  # of numpy
    """The second path around a layer: it joins behind the bias, which engines compute together with the layer."""
    value = node.input_value(0)
    scales = ops.gather(scale, ops.constant(slots), ops.constant(np.int64(1)))
    if node.get_type_name() == "Convolution":
        settings = node.get_attributes()
        lower = ops.convolution(
            value, _weights(down), settings["strides"], settings["pads_begin"], settings["pads_end"],
            settings["dilations"],
        )  # fmt: skip
        lower = ops.multiply(lower, ops.unsqueeze(scales, ops.constant(np.array([2, 3]))))
        upper = ops.convolution(lower, _weights(up[:, :, None, None]), [1, 1], [0, 0], [0, 0], [1, 1])
    else:
        between = value.get_partial_shape().rank.get_length() - 2
        if between:
            scales = ops.unsqueeze(scales, ops.constant(np.arange(1, between + 1)))
        lower = ops.multiply(ops.matmul(value, _weights(down), transpose_a=False, transpose_b=True), scales)
        upper = ops.matmul(lower, _weights(up), transpose_a=False, transpose_b=True)
    place = _with_bias(node)
    targets = place.output(0).get_target_inputs()
    total = ops.add(place, upper)
    for target in targets:
        target.replace_source_output(total.output(0))


def _with_bias(node: ov.Node) -> ov.Node:
    """The layer's bias, where it has one: an addition of a constant that alone uses the layer's answer."""
    targets = list(node.output(0).get_target_inputs())
    if len(targets) != 1 or targets[0].get_node().get_type_name() != "Add":
        return node
    bias = targets[0].get_node()
    constant = any(_is_constant(bias.input_value(index).get_node()) for index in (0, 1))
    return bias if constant else node


def _is_constant(node: ov.Node) -> bool:
    while node.get_type_name() in {"Convert", "Reshape"}:
        node = node.input_value(0).get_node()
    return bool(node.get_type_name() == "Constant")


def _weights(array: Any) -> ov.Node:  # noqa: ANN401  # of numpy
    return ops.convert(ops.constant(np.ascontiguousarray(array)), "f32")


def _embedding(model: ov.Model) -> ov.Node:
    for node in model.get_ordered_ops():
        if node.get_type_name() == "Gather" and "token_embedding" in node.get_friendly_name():
            return node
    raise AdditionsError("the graph has no token embedding")


def _add_vectors(model: ov.Model, vectors: Any) -> None:  # noqa: ANN401  # of numpy
    """Lengthen the token embedding. All else that looks at ids sees a 0 for new ones.

    CLIP finds the end of a prompt, whose state is the pooled one, as its highest id.
    """
    gather = _embedding(model)
    rows, width = vocabulary(model)
    if vectors.ndim != 2 or vectors.shape[1] != width:
        raise AdditionsError(f"{EMBEDDINGS} has vectors of {list(vectors.shape)}, the graph embeds in {width}")
    table = ops.concat([gather.input_value(0), _weights(vectors)], 0)
    gather.input(0).replace_source_output(table.output(0))
    path = [gather]  # from the embedding back to the ids, which reach it unchanged but for their type and shape
    while path[-1].get_type_name() != "Parameter":
        path.append(path[-1].input_value(1 if path[-1] is gather else 0).get_node())
    names = {node.get_friendly_name() for node in path}
    for node in path[1:]:
        others = [t for t in node.output(0).get_target_inputs() if t.get_node().get_friendly_name() not in names]
        known = _known(node, rows) if others else node
        for target in others:
            target.replace_source_output(known.output(0))
    model.validate_nodes_and_infer_types()


def _known(ids: ov.Node, rows: int) -> ov.Node:
    """The ids, 0 in place of those from `rows` on."""
    kind = ids.get_output_element_type(0)
    limit, nothing = (ops.convert(ops.constant(np.int64(number)), kind) for number in (rows, 0))
    return ops.select(ops.less(ids, limit), ids, nothing)
