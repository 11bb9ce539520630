"""A row's bits must not depend on who shares its batch; here is where OpenVINO would let them.

Seen with OpenVINO 2026.4 in f32, not in bf16: a fully connected layer whose activation is fused into it sums in another
order for one row than for two and more, where it has more than some 800 inputs (of 768, 512 and 1024 inputs rows came
out equal, of 1000, 1088, 1280 and 2048 not; relative differences of 1e-6). Apart from its activation, the same layer
gives the same bits at any batch. Denoisers have such layers in the embedding of the timestep, followed by SiLU.
"""

from __future__ import annotations

import numpy as np
import openvino as ov


def keep_apart(model: ov.Model) -> int:
    """Keep SiLU activations of rows, [batch, width], out of the layers before them: in place.

    They are computed on a view of [batch, 2, width / 2], across which OpenVINO does not fuse. Returns how many.
    """
    found = 0
    for sigmoid in model.get_ordered_ops():
        if sigmoid.get_type_name() != "Sigmoid" or not _is_halved(sigmoid.input_value(0)):
            continue
        rows = sigmoid.input_value(0)
        for target in sigmoid.output(0).get_target_inputs():
            product = target.get_node()
            if product.get_type_name() == "Multiply" and rows in (product.input_value(0), product.input_value(1)):
                _replace(product, rows)
                found += 1
    return found


def _is_halved(rows: ov.Output) -> bool:
    """Whether it is [batch, width] of a known, even width."""
    shape = rows.get_partial_shape()
    return shape.rank.is_static and len(shape) == 2 and shape[1].is_static and shape[1].get_length() % 2 == 0


def _replace(product: ov.Node, rows: ov.Output) -> None:
    ops = ov.opset13
    halves = ops.reshape(rows, ops.constant(np.array([0, 2, -1])), special_zero=True)
    silu = ops.multiply(halves, ops.sigmoid(halves))
    joined = ops.reshape(silu, ops.constant(np.array([0, -1])), special_zero=True)
    for target in list(product.output(0).get_target_inputs()):
        target.replace_source_output(joined.output(0))
