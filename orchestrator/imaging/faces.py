"""Faces: from what MediaPipe's networks answer to boxes, upright crops and the inner face alone.

The detector is BlazeFace's back camera model (Bazarevsky et al. 2019), the points are MediaPipe's face mesh (Kartynnik
et al. 2019). The detector alone takes a cat or a cup for a face; the mesh's own score decides, so ask both. Pictures
are uint8 (H, W, 3) RGB; places in a picture are float64 x, y in its pixels, (0, 0) its upper left corner.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import cv2
import numpy as np
import numpy.typing as npt

from orchestrator.arrays import Floats, Pixels
from orchestrator.imaging.boxes import Box

Points = npt.NDArray[np.float64]

DETECTOR_SIDE, LANDMARK_SIDE = 256, 192
"""Sides of the pictures that the two networks take."""
LEAST_SCORE = 0.65
"""From this probability on there may be a face: MediaPipe's own threshold for this model."""
LEAST_MESH_SCORE = 0.0
"""Logit of the landmarks' network from which on it is one: a probability of one half, MediaPipe's own threshold."""
SAME_FACE = 0.3
"""Boxes that overlap by this share of their union are one face."""
HEAD_SIDE = 2.0
"""Side of a crop with hair, in sides of the face's box (which goes from brows to chin)."""
HEAD_RISE = 0.15
"""How far such a crop's middle is above the box's, in the box's sides: hair is above."""
MESH_SIDE = 1.5
"""Side of the crop for the landmarks, in sides of the box: MediaPipe's own."""
NEUTRAL = 128
"""Grey level of what is not the inner face."""
RIGHT_EYE, LEFT_EYE = 0, 1
"""The detector's points of a face; a person's right eye is on a picture's left."""
OVAL = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377,
    152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)  # fmt: skip
"""The face mesh's points around the inner face, from the forehead's middle clockwise."""


@dataclass(frozen=True, slots=True)
class Face:
    """A face in a picture.

    Attributes:
        left, top, right, bottom: of its box, pixels; it may reach beyond the picture.
        points: (6, 2): right eye, left eye, tip of the nose, mouth, right ear, left ear.
        score: probability.
    """

    left: float
    top: float
    right: float
    bottom: float
    points: Points
    score: float

    @property
    def side(self) -> float:
        """The longer side of the box, pixels."""
        return max(self.right - self.left, self.bottom - self.top)

    @property
    def middle(self) -> Points:
        """The box's middle, x and y."""
        return np.array([self.left + self.right, self.top + self.bottom]) / 2


def windows(width: int, height: int) -> list[Box]:
    """Where to look for small faces: the quarters and the ninths of a picture, each half as large again.

    The detector sees 256 x 256 pixels, in which a face of a twentieth of the picture's side is a dozen pixels.
    """
    found = []
    for parts in (2, 3):
        wide, tall = (min(side, math.ceil(1.5 * side / parts)) for side in (width, height))
        for row, column in product(range(parts), repeat=2):
            left, top = (width - wide) * column // (parts - 1), (height - tall) * row // (parts - 1)
            found.append(Box(left, top, wide, tall))
    return found


def to_detector(picture: Pixels, window: Box) -> Pixels:
    """The window at the detector's size: uint8 (256, 256, 3), as large as it fits in the middle, black around it."""
    scale, left, top = _letterbox(window)
    matrix = np.array([[scale, 0, left - scale * window.left], [0, scale, top - scale * window.top]])
    answer = _warp(picture, matrix, DETECTOR_SIDE)
    rows = slice(round(top), round(top + scale * window.height))
    columns = slice(round(left), round(left + scale * window.width))
    framed = np.zeros((DETECTOR_SIDE, DETECTOR_SIDE, 3), np.uint8)
    framed[rows, columns] = answer[rows, columns]
    return framed


def read_faces(boxes: Floats, scores: Floats, window: Box) -> list[Face]:
    """The faces of a window, in the picture's pixels, the surest first; boxes of one face are averaged by their scores.

    Args:
        boxes: (896, 16), of one row of the detector: middle, size and six points, relative to the anchors, in pixels of
            its square.
        scores: (896, 1), logits.
        window: what the detector was shown.
    """
    chances = 1 / (1 + np.exp(-np.clip(scores[:, 0].astype(np.float64), -100, 100)))
    sure = np.flatnonzero(chances >= LEAST_SCORE)
    order = sure[np.argsort(-chances[sure], kind="stable")]
    places = boxes[order].astype(np.float64).reshape(-1, 8, 2)
    places[:, [0, *range(2, 8)]] += DETECTOR_SIDE * _ANCHORS[order][:, None]
    middles, sizes = places[:, :1], places[:, 1:2]
    corners = np.concatenate([middles - sizes / 2, middles + sizes / 2, places[:, 2:]], axis=1)
    scale, left, top = _letterbox(window)
    corners = (corners - [left, top]) / scale + [window.left, window.top]
    found = []
    for group in _group(corners):
        low, high, *points = np.average(corners[group], axis=0, weights=chances[order[group]])
        best = float(chances[order[group[0]]])
        found.append(Face(low[0], low[1], high[0], high[1], points=np.array(points), score=best))
    return found


def choose(faces: Sequence[Face]) -> Face:
    """The largest face by the area of its box; of equal ones the leftmost.

    Raises:
        ValueError: there is none.
    """
    return min(faces, key=lambda face: (-(face.right - face.left) * (face.bottom - face.top), face.left))


def head(picture: Pixels, face: Face, side: int) -> Pixels:
    """The head with its hair, upright: uint8 (side, side, 3). Beyond the picture its border is continued."""
    return _warp(picture, _upright(face, side, HEAD_SIDE, HEAD_RISE), side)


def mesh_crop(picture: Pixels, face: Face) -> Pixels:
    """What the landmarks' network takes: uint8 (192, 192, 3)."""
    return _warp(picture, _upright(face, LANDMARK_SIDE, MESH_SIDE, 0.0), LANDMARK_SIDE)


def mesh_points(face: Face, landmarks: Floats) -> Points:
    """The points (468, 2) of a face in the picture's pixels; `landmarks` (468, 3) are in those of mesh_crop."""
    back = cv2.invertAffineTransform(_upright(face, LANDMARK_SIDE, MESH_SIDE, 0.0))
    return np.asarray(landmarks[:, :2].astype(np.float64) @ back[:, :2].T + back[:, 2])


def inner_face(picture: Pixels, face: Face, landmarks: Floats, side: int) -> Pixels:
    """The details of a face alone, upright, with neutral grey where hair and surroundings are.

    Args:
        picture: with the face.
        face: found in it.
        landmarks: (468, 3), of one row of the network that was shown mesh_crop, in that crop's pixels.
        side: of the result, uint8 (side, side, 3).
    """
    oval = landmarks[list(OVAL), :2].astype(np.float64) * (side / LANDMARK_SIDE)
    mask = np.zeros((side, side), np.uint8)
    cv2.fillPoly(mask, [np.rint(oval * 16).astype(np.int32)], [255], lineType=cv2.LINE_AA, shift=4)
    weight = (mask / np.float32(255))[..., None]
    close = _warp(picture, _upright(face, side, MESH_SIDE, 0.0), side)
    return np.asarray(np.rint(close * weight + NEUTRAL * (1 - weight)), np.uint8)


def _letterbox(window: Box) -> tuple[float, float, float]:
    """(scale, left, top) that lay a window into the detector's square."""
    scale = DETECTOR_SIDE / max(window.width, window.height)
    return scale, (DETECTOR_SIDE - scale * window.width) / 2, (DETECTOR_SIDE - scale * window.height) / 2


def _upright(face: Face, side: int, share: float, rise: float) -> Points:
    """The affine map (2, 3) from the picture to a square of `side` around the face, its eyes level.

    The square's side is `share` sides of the face's box; its middle is `rise` of these above the box's.
    """
    dx, dy = face.points[LEFT_EYE] - face.points[RIGHT_EYE]
    angle = math.atan2(dy, dx)
    middle = face.middle + rise * face.side * np.array([math.sin(angle), -math.cos(angle)])
    matrix = cv2.getRotationMatrix2D(middle.tolist(), math.degrees(angle), side / (share * face.side))
    moved = np.array([[0.0, 0.0, side / 2 - middle[0]], [0.0, 0.0, side / 2 - middle[1]]])
    return np.asarray(matrix + moved, np.float64)


def _warp(picture: Pixels, matrix: Points, side: int) -> Pixels:
    """A square of a picture, by an affine map to it; beyond the picture its border goes on."""
    part, matrix = _averaged(picture, matrix)
    kernel = cv2.INTER_CUBIC if math.hypot(matrix[0, 0], matrix[0, 1]) > 1 else cv2.INTER_LINEAR
    square = cv2.warpAffine(part, matrix, (side, side), flags=kernel, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(square, np.uint8)


def _averaged(picture: Pixels, matrix: Points) -> tuple[Pixels, Points]:
    """The picture and the map from it: both by way of a smaller one where the map shrinks, so that nothing is skipped.

    warpAffine samples between neighbours; of a picture that is to become a tenth it would see one pixel in ten.
    """
    steps = int(1 / math.hypot(matrix[0, 0], matrix[0, 1]))
    if steps <= 1:
        return picture, matrix
    height, width = (max(1, side // steps) for side in picture.shape[:2])
    small = np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    return small, matrix * np.array([picture.shape[1] / width, picture.shape[0] / height, 1.0])


def _group(corners: Points) -> list[npt.NDArray[np.intp]]:
    """Rows of (n, 8, 2) boxes by the face that they show; each group begins with the first that no other took."""
    left = np.arange(len(corners))
    groups = []
    while len(left):
        same = _overlap(corners[left[0]], corners[left]) >= SAME_FACE
        same[0] = True  # also a box without area
        groups.append(left[same])
        left = left[~same]
    return groups


def _overlap(one: Points, others: Points) -> Points:
    """Intersection over union of one box with others (n, 8, 2), whose first two rows are corners."""
    low, high = np.maximum(one[0], others[:, 0]), np.minimum(one[1], others[:, 1])
    shared = np.prod(np.maximum(high - low, 0), axis=1)
    areas = np.prod(others[:, 1] - others[:, 0], axis=1) + np.prod(one[1] - one[0])
    return np.asarray(shared / np.maximum(areas - shared, 1e-9))


def _anchors() -> Points:
    """Middles (896, 2) in [0, 1], x then y: two for each cell of 16 x 16, six for each of 8 x 8.

    MediaPipe's options of this model: strides 16, 32, 32, 32, one aspect ratio and one interpolated scale for each, all
    of size 1, offset half a cell. Layers of equal stride share their cells.
    """
    grids = []
    for stride, layers in ((16, 1), (32, 3)):
        count = DETECTOR_SIDE // stride
        y, x = np.mgrid[:count, :count]
        middles = (np.stack([x, y], axis=-1).reshape(-1, 2) + 0.5) / count
        grids.append(np.repeat(middles, 2 * layers, axis=0))
    return np.concatenate(grids)


_ANCHORS = _anchors()
