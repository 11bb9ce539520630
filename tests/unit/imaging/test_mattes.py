"""From a network's coarse opacity to the picture's borders; the object's own colours; its parts."""

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.arrays import Pixels
from orchestrator.imaging import closed_form, layers, mattes
from orchestrator.imaging.boxes import Box
from orchestrator.imaging.closed_form import Matte

NETWORK = 64
"""Side of the coarse mattes here."""


def disc(side: int, radius: float, *, soft: float = 1.0, middle: tuple[float, float] = (0.5, 0.5)) -> Matte:
    """A disc's opacity, with a border `soft` pixels wide; radius and middle are shares of the side."""
    y, x = np.mgrid[:side, :side] + 0.5
    distance = np.hypot(x - middle[0] * side, y - middle[1] * side)
    return np.asarray(np.clip((radius * side - distance) / soft + 0.5, 0, 1), np.float32)


def scene(alpha: Matte) -> tuple[Pixels, Pixels]:
    """(the picture, the object's own colours): orange, slightly shaded, over blue and green."""
    side = len(alpha)
    y, x = np.mgrid[:side, :side] / side
    own = np.dstack([230 - 40 * y, 130 + 30 * x, 30 + 0 * x])
    behind = np.dstack([40 + 20 * x, 90 + 60 * y, 200 - 50 * x])
    picture = alpha[..., None] * own + (1 - alpha[..., None]) * behind
    return np.rint(picture).astype(np.uint8), np.rint(own).astype(np.uint8)


def coarse(alpha: Matte) -> Matte:
    """What a network of NETWORK pixels could say: blurred, shifted a little, never quite sure."""
    small = cv2.resize(alpha, (NETWORK, NETWORK), interpolation=cv2.INTER_AREA)
    return np.asarray(0.02 + 0.96 * cv2.GaussianBlur(np.roll(small, 1, axis=1), (0, 0), 1.2), np.float32)


@pytest.mark.parametrize("side", [64, 200, 512, 1000])
@pytest.mark.parametrize("soft", [1.0, 6.0])
def test_a_coarse_matte_is_drawn_to_the_pictures_borders(side: int, soft: float) -> None:
    alpha = disc(side, 0.3, soft=soft)
    said = coarse(alpha)
    found = mattes.refine(scene(alpha)[0], said)
    stretched = cv2.resize(said, (side, side), interpolation=cv2.INTER_LINEAR)
    assert found.dtype == np.float32
    assert np.abs(found - alpha).mean() < 0.2 * np.abs(stretched - alpha).mean()
    band = (alpha > 0) & (alpha < 1)
    assert np.abs(found - alpha)[band].mean() < 0.08


def test_what_the_network_is_sure_of_stays_whatever_the_picture_shows() -> None:
    """A picture of noise: far from the border the matte is 0 and 1 exactly, and the object's pixels stay exactly."""
    picture = np.random.default_rng(0).integers(0, 256, (600, 600, 3), np.uint8)
    matte = mattes.refine(picture, coarse(disc(NETWORK, 0.3)))
    assert (matte[disc(600, 0.18) == 1] == 1).all()
    assert (matte[disc(600, 0.42) == 0] == 0).all()
    np.testing.assert_array_equal(mattes.foreground(picture, matte)[matte == 1], picture[matte == 1])


def test_without_convergence_the_stretched_matte_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(closed_form, "ITERATIONS", 0)
    said = coarse(disc(NETWORK, 0.3))
    found = mattes.refine(scene(disc(256, 0.3))[0], said)
    stretched = cv2.resize(said, (256, 256), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_allclose(found, np.clip((stretched - 0.05) / 0.9, 0, 1), atol=1e-6)


def test_a_network_that_is_sure_of_nothing_costs_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    solved: list[int] = []
    solve = closed_form.solve

    def counting(image: npt.NDArray[np.float32], start: Matte, unknown: npt.NDArray[np.bool_]) -> Matte | None:
        solved.append(int(unknown.sum()))
        return solve(image, start, unknown)

    monkeypatch.setattr(closed_form, "solve", counting)
    matte = mattes.refine(scene(disc(900, 0.3))[0], np.full((NETWORK, NETWORK), 0.4, np.float32))
    assert matte.shape == (900, 900)
    assert 0 < solved[0] <= mattes.MOST_UNKNOWN


def test_large_pictures_are_refined_at_fewer_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mattes, "MOST_PIXELS", 200 * 200)
    alpha = disc(800, 0.3, soft=8)
    found = mattes.refine(scene(alpha)[0], coarse(alpha))
    assert found.shape == (800, 800)
    assert np.abs(found - alpha).mean() < 0.01


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 70), st.integers(1, 70), st.sampled_from([0.0, 0.3, 0.97, 1.0]))
def test_every_size_and_answer_has_a_matte(width: int, height: int, level: float) -> None:
    picture = np.random.default_rng(width).integers(0, 256, (height, width, 3), np.uint8)
    said = np.full((NETWORK, NETWORK), level, np.float32)
    said[:, : NETWORK // 2] = 1 - level
    matte = mattes.refine(picture, said)
    assert matte.shape == (height, width)
    assert np.isfinite(matte).all()
    assert 0 <= matte.min() <= matte.max() <= 1
    assert mattes.foreground(picture, matte).shape == picture.shape


@pytest.mark.parametrize("side", [200, 1000])
def test_no_halo_of_the_old_background_is_left(side: int) -> None:
    """On magenta, the cut-out with its own colours is what the object drawn there would be."""
    alpha = disc(side, 0.3, soft=side / 40)
    picture, own = scene(alpha)
    magenta = layers.filled((side, side), (255, 0, 255))
    drawn = layers.over(layers.with_alpha(own, alpha), magenta).astype(int)
    cut = layers.over(layers.with_alpha(mattes.foreground(picture, alpha), alpha), magenta).astype(int)
    naive = layers.over(layers.with_alpha(picture, alpha), magenta).astype(int)
    band = (alpha > 0) & (alpha < 1)
    assert np.abs(cut - drawn)[band].mean() < 3
    assert np.abs(cut - drawn)[band].mean() < 0.2 * np.abs(naive - drawn)[band].mean()


def test_the_colours_are_as_near_to_the_truth_as_pymattings() -> None:
    """`foreground` of tests/data/pymatting.npz is pymatting's estimate_foreground_ml(image, truth)."""
    with np.load(Path(__file__).parents[2] / "data/pymatting.npz") as file:
        golden = dict(file)
    alpha = np.asarray(golden["truth"] / np.float32(255), np.float32)
    band = (alpha > 0) & (alpha < 1)
    weight = alpha[band][:, None]

    def error(colours: Pixels) -> float:
        return float((weight * np.abs(colours[band].astype(int) - golden["true_foreground"][band])).mean())

    assert error(mattes.foreground(golden["image"], alpha)) <= 1.2 * error(golden["foreground"])
    assert error(golden["image"]) > 3 * error(golden["foreground"])


def test_whether_there_is_an_object() -> None:
    assert mattes.has_object(disc(200, 0.1))
    assert not mattes.has_object(np.zeros((50, 50), np.float32))
    assert not mattes.has_object(np.full((50, 50), 0.3, np.float32))
    speck = np.zeros((200, 200), np.float32)
    speck[5, 5] = 1
    assert not mattes.has_object(speck)


def test_the_box_around_an_object() -> None:
    matte = np.zeros((60, 80), np.float32)
    matte[10:30, 20:70] = 0.5
    matte[40, 5] = 0.01
    assert mattes.object_box(matte) == Box(20, 10, 50, 20)
    assert mattes.object_box(np.zeros((60, 80), np.float32)) == Box(0, 0, 0, 0)


def two_discs() -> tuple[Matte, Matte]:
    """At the left and at the right, each alone in a matte of (100, 100)."""
    return disc(100, 0.2, soft=4, middle=(0.25, 0.5)), disc(100, 0.2, soft=4, middle=(0.75, 0.5))


def test_parts_that_hold_a_point_and_those_that_hold_none() -> None:
    left, right = two_discs()
    matte = np.maximum(left, right)
    for points, holding, expected in (
        ([(25.0, 50.0)], True, left),
        ([(25.0, 50.0)], False, right),
        ([(25.0, 50.0), (75.0, 50.0)], True, matte),
        ([], False, matte),
        ([(300.0, 50.0)], True, right),
        ([(25.0, 20.0)], True, left),  # next to it: a face whose middle the matte has lost
    ):
        kept = mattes.keep_parts(matte, points, holding=holding)
        assert kept is not None
        np.testing.assert_allclose(kept, expected, atol=0.25)  # where the soft borders nearly touch
        assert np.abs(kept - expected).mean() < 0.002


def test_no_part_is_left() -> None:
    left, right = two_discs()
    assert mattes.keep_parts(np.maximum(left, right), [], holding=True) is None
    assert mattes.keep_parts(left, [(25.0, 50.0)], holding=False) is None
    assert mattes.keep_parts(left * np.float32(0.4), [], holding=False) is None


def test_specks_are_no_parts() -> None:
    left, _ = two_discs()
    left[5:8, 90:93] = 1
    assert mattes.keep_parts(left, [(25.0, 50.0)], holding=False) is None
    kept = mattes.keep_parts(left, [(25.0, 50.0)], holding=True)
    assert kept is not None
    np.testing.assert_array_equal(kept, left)  # the speck belongs to the nearest part


def test_strays_do_not_move_the_box() -> None:
    matte = np.zeros((100, 100), np.float32)
    matte[20:60, 30:70] = 1
    alone = mattes.object_box(matte)
    matte[90:96, 92:98] = 1
    assert mattes.object_box(matte) == alone
    assert mattes.without_strays(matte)[90:].max() == 0
    matte[80:95, 80:95] = 1  # a seventh of the larger one: an object of its own
    assert mattes.object_box(matte) == Box(30, 20, 68, 76)


def test_soft_regions_inside_an_object_are_closed_and_holes_are_not() -> None:
    rows, columns = np.mgrid[:120, :160]
    matte = np.clip(50.5 - np.hypot(rows - 60, columns - 80), 0, 1).astype(np.float32)
    soft = matte.copy()
    soft[40:55, 60:80] = 0.45
    np.testing.assert_array_equal(mattes.close(soft), matte)
    hole = matte * np.clip(np.hypot(rows - 60, columns - 80) - 15, 0, 1).astype(np.float32)
    np.testing.assert_array_equal(mattes.close(hole), hole)
    open_bay = matte.copy()
    open_bay[50:70, 80:] *= np.float32(0.5)
    np.testing.assert_array_equal(mattes.close(open_bay), open_bay)
