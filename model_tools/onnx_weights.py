"""Stores an ONNX graph's weights as float16 while its computation stays float32."""

import numpy as np
import onnx
from onnx import numpy_helper

# Smaller tensors (biases, norms' scales, constants of the graph) are left as they are: nothing to save.
LEAST_ELEMENTS = 1024


def halve_weights(model: onnx.ModelProto) -> None:
    """Replaces each large float32 initialiser by a float16 one and a Cast back to float32, in place.

    Engines fold such a Cast when they load the graph, so it costs nothing at run time.
    """
    graph = model.graph
    casts: list[onnx.NodeProto] = []
    for tensor in graph.initializer:
        if tensor.data_type != onnx.TensorProto.FLOAT or int(np.prod(tensor.dims)) < LEAST_ELEMENTS:
            continue
        name = tensor.name
        half = numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), f"{name}.fp16")
        tensor.CopyFrom(half)
        casts.append(onnx.helper.make_node("Cast", [half.name], [name], f"{name}.cast", to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
