"""Sines and cosines of timesteps and sizes, computed in float32 where the rest of a network computes in bfloat16.

A diffusion network sees its timestep, and SDXL its sizes, as sines and cosines of products of up to a thousand radians
(Vaswani et al. 2017, section 3.5). bfloat16 has 8 significant bits: 999 becomes 1000, and the wave another. torch and
diffusers compute them in float32 whatever the network's type; OpenVINO in bf16 rounds the product before them, and has
no setting for a part of a graph. So that part is taken out of the graph, and compiled by itself.
"""

from __future__ import annotations

import openvino as ov

WAVES = frozenset({"Sin", "Cos"})
HEAVY = frozenset({"MatMul", "Convolution", "GroupConvolution", "If", "Loop", "TensorIterator"})
"""What computes with weights: nothing behind it belongs to the waves."""


def split_off(model: ov.Model) -> ov.Model | None:
    """Take the waves out of a model, in place: what they come to are further inputs, behind the model's own.

    Returns:
        The model of the waves, whose outputs are those inputs, in their order; None where there are none.
    """
    places = _find(model)
    if not places:
        return None
    waves = _extract(model, places)
    for name, index in places:
        node = _by_name(model)[name]
        output = node.output(index)
        value = ov.opset13.parameter(output.get_partial_shape(), output.get_element_type())
        for target in list(output.get_target_inputs()):
            target.replace_source_output(value.output(0))
        model.add_parameters([value])
    model.validate_nodes_and_infer_types()
    return waves


def _find(model: ov.Model) -> list[tuple[str, int]]:
    """Outputs, by their node's name and index, at which waves end: used by what is not part of them.

    Only those of rows, [batch, width]: waves over a picture's places are of small angles, and large.
    """
    light: set[str] = set()
    waves: set[str] = set()
    for node in model.get_ordered_ops():
        name, kind = node.get_friendly_name(), node.get_type_name()
        sources = [port.get_source_output().get_node().get_friendly_name() for port in node.inputs()]
        if kind not in HEAVY and kind != "Result" and light.issuperset(sources):
            light.add(name)
            if kind in WAVES or (kind != "ShapeOf" and not waves.isdisjoint(sources)):
                waves.add(name)
    return [
        (node.get_friendly_name(), output.get_index())
        for node in model.get_ordered_ops()
        if node.get_friendly_name() in waves
        for output in node.outputs()
        if output.get_partial_shape().rank == ov.Dimension(2)
        and any(target.get_node().get_friendly_name() not in waves for target in output.get_target_inputs())
    ]


def _extract(model: ov.Model, places: list[tuple[str, int]]) -> ov.Model:
    """A model of its own that gives those outputs."""
    copy = model.clone()
    nodes = _by_name(copy)
    outputs = [nodes[name].output(index) for name, index in places]
    results = [ov.opset13.result(output) for output in outputs]
    return ov.Model(results, [nodes[name] for name in _parameters(outputs)])


def _parameters(outputs: list[ov.Output]) -> list[str]:
    """Names of the parameters that outputs depend on."""
    found: dict[str, None] = {}
    seen: set[str] = set()
    waiting = [output.get_node() for output in outputs]
    while waiting:
        node = waiting.pop()
        name = node.get_friendly_name()
        if name in seen:
            continue
        seen.add(name)
        if node.get_type_name() == "Parameter":
            found[name] = None
        waiting += [port.get_source_output().get_node() for port in node.inputs()]
    return list(found)


def _by_name(model: ov.Model) -> dict[str, ov.Node]:
    return {node.get_friendly_name(): node for node in model.get_ordered_ops()}
