"""The weights of an exported graph: stored as float16, folded, and written without a second copy in memory.

The graph's initialisers stand for torch's own tensors; what is done to them here is done when they are written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx
import onnx_ir as ir
import torch
from onnx_ir import passes, tensor_adapters
from onnx_ir.passes import common
from onnxscript import optimizer

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

# Smaller tensors (biases, norms' scales, constants of the graph) are left as they are: nothing to save.
LEAST_ELEMENTS = 1024
SINGLE_FILE = 2**31 - 2**22
"""Bytes of weights above which a graph keeps them in a file next to it: a protobuf message has to stay below 2 GiB."""
DATA_SUFFIX = ".data"


def give_weights(model: ir.Model, tensors: Mapping[str, torch.Tensor], kept: Collection[str]) -> None:
    """Make initialisers of a graph's inputs that are not `kept`: torch's tensors of the same names."""
    graph = model.graph
    for value in [value for value in graph.inputs if value.name not in kept]:
        graph.inputs.remove(value)
        value.const_value = tensor_adapters.TorchTensor(tensors[value.name].detach(), value.name)
        graph.register_initializer(value)


def simplify(model: ir.Model) -> None:
    """Compute what is constant, and drop what is there twice or for nothing; weights are transposed, not computed."""
    shorten = passes.Sequential(
        common.RemoveUnusedNodesPass(),
        common.IdentityEliminationPass(),
        common.CommonSubexpressionEliminationPass(),
        common.RemoveUnusedNodesPass(),
    )
    shorten(model)
    optimizer.fold_constants(model, onnx_shape_inference=True)
    shorten(model)
    fold_transposes(model)


def halve_weights(model: ir.Model) -> None:
    """Replace each large float32 initialiser by a float16 one and a Cast back to float32, in place.

    Engines fold such a Cast when they load the graph, so it costs nothing at run time.
    """
    graph = model.graph
    first = next(iter(graph), None)
    for name, value in list(graph.initializers.items()):
        tensor = value.const_value
        if tensor is None or tensor.dtype != ir.DataType.FLOAT or tensor.size < LEAST_ELEMENTS or first is None:
            continue
        half = ir.Value(name=f"{name}.fp16", shape=value.shape, type=ir.TensorType(ir.DataType.FLOAT16))
        half.const_value = ir.LazyTensor(lambda tensor=tensor: _half(tensor), ir.DataType.FLOAT16, tensor.shape)
        cast = ir.node("Cast", [half], {"to": ir.DataType.FLOAT}, name=f"{name}.cast")
        graph.insert_before(first, cast)
        del graph.initializers[name]
        value.replace_all_uses_with(cast.outputs[0])
        cast.outputs[0].name = name
        graph.register_initializer(half)


def fold_transposes(model: ir.Model) -> None:
    """Give products weights that are transposed already, where the graph transposes them: as quantisers want them."""
    graph = model.graph
    for node in list(graph):
        weight = node.inputs[0] if node.op_type == "Transpose" else None
        if weight is None or weight.name not in graph.initializers or not isinstance(weight.const_value, ir.Tensor):
            continue
        raw, order = weight.const_value.raw, node.attributes.get_ints("perm", [])
        if not isinstance(raw, torch.Tensor) or not order:
            continue
        turned = tensor_adapters.TorchTensor(raw.detach().permute(*order))
        made = ir.Value(name=f"{weight.name}.{node.outputs[0].name}", shape=turned.shape, type=weight.type)
        made.const_value = turned
        graph.register_initializer(made)
        node.outputs[0].replace_all_uses_with(made)
        graph.remove(node, safe=True)
        if not weight.uses():
            del graph.initializers[weight.name]


def save_graph(model: ir.Model, path: Path, *, external: bool = False) -> None:
    """Write the graph, its weights inside, or in `path`.data where asked or where they are too large."""
    size = sum(value.const_value.nbytes for value in model.graph.initializers.values() if value.const_value is not None)
    apart = external or size > SINGLE_FILE
    passes.Sequential(common.ClearMetadataAndDocStringPass())(model)
    ir.save(model, path, external_data=path.name + DATA_SUFFIX if apart else None)


def join_weights(path: Path) -> bool:
    """Take the weights next to a graph into it, if they are not too large; returns whether it is one file now."""
    data = path.with_name(path.name + DATA_SUFFIX)
    if data.exists() and data.stat().st_size <= SINGLE_FILE:
        onnx.save(onnx.load(path), path)
        data.unlink()
    return not data.exists()


def _half(tensor: ir.TensorProtocol) -> ir.TensorProtocol:
    raw = getattr(tensor, "raw", None)
    if isinstance(raw, torch.Tensor):
        return tensor_adapters.TorchTensor(raw.detach().half())
    return ir.tensor(tensor.numpy().astype("float16"))
