"""Faces: boxes and points from the detector's numbers, and crops that stand upright."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.arrays import Floats
from orchestrator.imaging import faces
from orchestrator.imaging.boxes import Box
from orchestrator.imaging.faces import Face

POINTS = np.array([[30.0, 40.0], [70.0, 40.0], [50.0, 60.0], [50.0, 75.0], [20.0, 50.0], [80.0, 50.0]])


def answer(*found: tuple[int, float, tuple[float, float, float, float]]) -> tuple[Floats, Floats]:
    """A detector's answer: at each anchor a logit, and a box (centre x, centre y, width, height) in its 256 pixels."""
    boxes, scores = np.zeros((896, 16), np.float32), np.full((896, 1), -50, np.float32)
    for anchor, logit, (x, y, width, height) in found:
        scores[anchor] = logit
        centre = 256 * faces._ANCHORS[anchor]
        boxes[anchor, :4] = x - centre[0], y - centre[1], width, height
        boxes[anchor, 4:] = np.tile(np.array([x, y]) - centre, 6)
    return boxes, scores


def face(left: float, top: float, side: float, turn: float = 0.0) -> Face:
    """A square box, its eyes on a line that is turned by some degrees."""
    middle = np.array([left + side / 2, top + side / 2])
    across = side / 4 * np.array([np.cos(np.radians(turn)), np.sin(np.radians(turn))])
    points = np.stack([middle - across, middle + across, *[middle] * 4])
    return Face(left, top, left + side, top + side, points=points, score=0.9)


def test_anchors_are_the_centres_of_the_cells() -> None:
    assert faces._ANCHORS.shape == (896, 2)
    assert faces._ANCHORS[0].tolist() == faces._ANCHORS[1].tolist() == [0.5 / 16, 0.5 / 16]
    assert faces._ANCHORS[2].tolist() == [1.5 / 16, 0.5 / 16], "x runs first"
    assert faces._ANCHORS[511].tolist() == [15.5 / 16, 15.5 / 16]
    assert faces._ANCHORS[512].tolist() == faces._ANCHORS[517].tolist() == [0.5 / 8, 0.5 / 8]


def test_a_box_comes_back_to_the_pictures_pixels() -> None:
    window = Box(100, 50, 512, 256)  # shown at half its size, 64 black rows above and below
    (found,) = faces.read_faces(*answer((300, 3.0, (128.0, 128.0, 40.0, 60.0))), window)
    assert (found.left, found.top, found.right, found.bottom) == pytest.approx((316, 118, 396, 238))
    assert found.points == pytest.approx(np.tile([356.0, 178.0], (6, 1)))
    assert found.score == pytest.approx(1 / (1 + np.exp(-3)))


def test_boxes_of_one_face_are_averaged_and_others_stay() -> None:
    found = faces.read_faces(
        *answer(
            (10, 2.0, (60.0, 60.0, 40.0, 40.0)),
            (11, 2.0, (64.0, 60.0, 40.0, 40.0)),
            (700, 4.0, (200.0, 200.0, 20.0, 20.0)),
            (12, 0.5, (64.0, 60.0, 40.0, 40.0)),
        ),
        Box(0, 0, 256, 256),
    )
    assert [round(each.left) for each in found] == [190, 42], "the surest first; what is less sure than 0.65 is not one"


def test_nothing_is_found_in_nothing() -> None:
    assert faces.read_faces(*answer(), Box(0, 0, 256, 256)) == []


def test_the_largest_is_chosen_then_the_leftmost() -> None:
    small, right, left = face(0, 0, 10), face(90, 0, 20), face(40, 50, 20)
    assert faces.choose([small, right, left]) is left
    with pytest.raises(ValueError, match="empty"):
        faces.choose([])


@given(width=st.integers(1, 3000), height=st.integers(1, 3000))
def test_windows_cover_the_picture_and_stay_in_it(width: int, height: int) -> None:
    found = faces.windows(width, height)
    assert all(each == each.within(width, height) and each.width and each.height for each in found)
    assert {0} == {min(each.left for each in found), min(each.top for each in found)}
    assert (max(each.right for each in found), max(each.bottom for each in found)) == (width, height)


@pytest.mark.parametrize("shape", [(1, 1), (1, 4000), (4000, 1), (100, 200), (2000, 2000)])
def test_any_picture_goes_to_the_detector(shape: tuple[int, int]) -> None:
    picture = np.full((*shape, 3), 200, np.uint8)
    shown = faces.to_detector(picture, Box(0, 0, shape[1], shape[0]))
    assert shown.shape == (256, 256, 3)
    lit = (shown[..., 0] > 100).sum()
    assert lit == pytest.approx(256 * 256 * min(shape) / max(shape), abs=600)


@pytest.mark.parametrize("turn", [0.0, 35.0, -60.0])
def test_a_head_is_upright_in_its_crop(turn: float) -> None:
    found = face(200, 300, 100, turn)
    picture = np.zeros((700, 700, 3), np.uint8)
    for eye, colour in ((faces.RIGHT_EYE, (255, 0, 0)), (faces.LEFT_EYE, (0, 255, 0))):
        cv2.circle(picture, np.rint(found.points[eye]).astype(int).tolist(), 6, colour, -1)
    crop = faces.head(picture, found, 128).astype(float)
    right, left = (np.argwhere(crop[..., channel] > 120).mean(axis=0) for channel in (0, 1))
    assert right[0] == pytest.approx(left[0], abs=1.5), "the eyes are level"
    assert left[1] - right[1] == pytest.approx(128 / faces.HEAD_SIDE / 2, abs=2)
    assert right[0] > 64, "the middle is above the eyes: there is hair"


def test_a_head_at_the_border_is_continued() -> None:
    crop = faces.head(np.full((60, 60, 3), 77, np.uint8), face(-20, -20, 60), 64)
    assert (crop == 77).all()


def test_the_inner_face_has_nothing_else() -> None:
    picture = np.full((400, 400, 3), 250, np.uint8)
    landmarks = np.zeros((468, 3), np.float32)
    angles = np.linspace(0, 2 * np.pi, len(faces.OVAL), endpoint=False)
    landmarks[list(faces.OVAL), :2] = 96 + 40 * np.stack([np.sin(angles), -np.cos(angles)], axis=1)
    inner = faces.inner_face(picture, face(150, 150, 100), landmarks, 96)
    assert inner.shape == (96, 96, 3)
    assert (inner[48, 48] == 250).all()
    assert (inner[[0, 0, -1, -1, 48], [0, -1, 0, -1, 2]] == faces.NEUTRAL).all()
    assert (inner == 250).mean() == pytest.approx(np.pi * 20**2 / 96**2, rel=0.1)


def test_crops_of_faces_larger_than_the_picture() -> None:
    tiny = np.full((3, 2, 3), 9, np.uint8)
    assert (faces.mesh_crop(tiny, face(-500, -500, 1000)) == 9).all()
