"""Tools as formulas, for Triton's Python backend: what they answer is known, so tests can say what must come of it.

The model folders of tests/integration/model_repository import their class from here; it runs in Triton's environment.
Tensors are those of orchestrator/models/contracts.py. Objects are what differs from the picture's upper left pixel;
faces are pure red.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from orchestrator.arrays import Floats

CELLS = (16, 16, 8, 8, 8, 8, 8, 8)
"""Cells along a side of the detector's layers of anchors; cell by cell, all anchors of one cell in a row."""
FACE = 80.0
"""Side of the detector's boxes, pixels of its 256."""
POINTS = ((-12, -10), (12, -10), (0, 2), (0, 14), (-22, -4), (22, -4))
"""Right and left eye, nose, mouth, right and left ear, from the middle of the cell, pixels."""


def matting(image: Floats) -> dict[str, Floats]:
    """Opaque where a pixel differs from the first, clear where it does not, linear between."""
    difference = np.abs(image - image[:, :, :1, :1]).max(axis=1, keepdims=True)
    return {"alpha": np.clip(4 * difference - 0.2, 0, 1)}


def face_detector(image: Floats) -> dict[str, Floats]:
    """A face in the middle of each cell that is red all over, as MediaPipe's back camera model codes it."""
    red = (image[:, 0] - image[:, 1:].max(axis=1)) / 2
    scores, boxes = [], []
    for cells, anchors in ((16, 2), (8, 6)):
        side = 256 // cells
        least = red.reshape(len(image), cells, side, cells, side).min(axis=(2, 4)).reshape(len(image), -1)
        scores.append(np.repeat(20 * (least - 0.7), anchors, axis=1))
        boxes.append(np.zeros((len(image), anchors * cells**2, 16)))
    coded = np.concatenate(boxes, axis=1)
    coded[:, :, 2:4] = FACE
    coded[:, :, 4:] = np.ravel(POINTS)
    return {"boxes": coded, "scores": np.concatenate(scores, axis=1)[..., None]}


def face_landmarks(image: Floats) -> dict[str, Floats]:
    """All 468 points on a circle in the middle of the crop, moved a little by its brightness; always a face."""
    angles = np.linspace(0, 2 * np.pi, 468, endpoint=False)
    circle = np.stack([96 + 60 * np.cos(angles), 96 + 60 * np.sin(angles), 0 * angles], axis=1)
    return {
        "landmarks": circle + 0.01 * image.mean(axis=(1, 2, 3))[:, None, None],
        "score": np.full((len(image), 1), 10.0),
    }


def upscaler(image: Floats) -> dict[str, Floats]:
    """Each pixel as a square of 2 x 2."""
    return {"upscaled": image.repeat(2, axis=2).repeat(2, axis=3)}


class Formula:
    """A model of Triton's Python backend that is a formula of `image`."""

    formula: Callable[[Floats], Mapping[str, Floats]]

    def execute(self, requests: Sequence[object]) -> list[object]:
        """Answer each request alone."""
        import triton_python_backend_utils as pb_utils  # noqa: PLC0415  # is there in Triton alone

        answers = []
        for request in requests:
            image = pb_utils.get_input_tensor_by_name(request, "image").as_numpy()
            tensors = type(self).formula(image)
            outputs = [pb_utils.Tensor(name, np.ascontiguousarray(a, np.float32)) for name, a in tensors.items()]
            answers.append(pb_utils.InferenceResponse(output_tensors=outputs))
        return answers


class Matting(Formula):
    """See `matting`."""

    formula = staticmethod(matting)


class FaceDetector(Formula):
    """See `face_detector`."""

    formula = staticmethod(face_detector)


class FaceLandmarks(Formula):
    """See `face_landmarks`."""

    formula = staticmethod(face_landmarks)


class Upscaler(Formula):
    """See `upscaler`."""

    formula = staticmethod(upscaler)
