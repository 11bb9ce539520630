"""Objects that a photograph's edge cuts: their cut edge lies on the canvas's edge."""

import numpy as np
import pytest

from orchestrator.imaging.boxes import Box
from orchestrator.imaging.placement import Placement, Sides, cut_sides, offset, place


@pytest.mark.parametrize(
    ("rows", "columns", "expected"),
    [
        ((20, 60), (30, 70), Sides()),
        ((20, 80), (30, 70), Sides(bottom=True)),
        ((0, 60), (30, 70), Sides(top=True)),
        ((20, 60), (0, 70), Sides(left=True)),
        ((20, 60), (30, 100), Sides(right=True)),
        ((0, 80), (0, 100), Sides(left=True, top=True, right=True, bottom=True)),
        ((79, 80), (30, 32), Sides()),  # two pixels touch
    ],
)
def test_the_sides_that_cut(rows: tuple[int, int], columns: tuple[int, int], expected: Sides) -> None:
    matte = np.zeros((80, 100), np.float32)
    matte[slice(*rows), slice(*columns)] = 1
    assert cut_sides(matte) == expected
    assert cut_sides(matte * np.float32(0.4)) == expected
    assert cut_sides(matte * np.float32(0.05)) == Sides()


@pytest.mark.parametrize(
    ("cut", "box"),
    [
        (Sides(), Box(150, 100, 100, 100)),
        (Sides(bottom=True), Box(150, 200, 100, 100)),
        (Sides(top=True), Box(150, 0, 100, 100)),
        (Sides(left=True), Box(0, 100, 100, 100)),
        (Sides(right=True, bottom=True), Box(300, 200, 100, 100)),
    ],
)
def test_a_cut_side_is_at_the_canvas_edge(cut: Sides, box: Box) -> None:
    item = Box(10, 20, 50, 50)
    assert place(item, (100, 100), (400, 300), cut) == Placement(item, box)


def test_two_opposite_cut_sides_span_the_canvas() -> None:
    item = Box(0, 30, 200, 50)
    assert place(item, (100, 25), (400, 300), Sides(left=True, right=True)) == Placement(item, Box(0, 100, 400, 100))
    item = Box(40, 0, 50, 200)
    assert place(item, (20, 80), (400, 300), Sides(top=True, bottom=True)) == Placement(item, Box(162, 0, 75, 300))


@pytest.mark.parametrize(
    ("cut", "top"),
    [
        (Sides(left=True, right=True, bottom=True), 0),  # the head stays
        (Sides(left=True, right=True, top=True), 50),  # the foot stays
        (Sides(left=True, right=True), 0),
        (Sides(left=True, top=True, right=True, bottom=True), 0),
    ],
)
def test_what_is_then_larger_than_the_canvas_is_left_out(cut: Sides, top: int) -> None:
    placement = place(Box(0, 0, 100, 100), (100, 100), (400, 200), cut)
    assert placement == Placement(Box(0, top, 100, 50), Box(0, 0, 400, 200))


def test_nothing_grows_beyond_the_canvas() -> None:
    placement = place(Box(0, 0, 10, 4000), (1, 300), (4096, 300), Sides(left=True, right=True))
    assert placement.box == Box(0, 0, 4096, 300)
    assert placement.part.height == 1


@pytest.mark.parametrize(
    ("first", "last", "expected"), [(False, False, 10), (True, False, 0), (False, True, 20), (True, True, 10)]
)
def test_offsets(*, first: bool, last: bool, expected: int) -> None:
    assert offset(10, 30, first=first, last=last) == expected
