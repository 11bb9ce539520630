"""Canny with thresholds of its own choice, strokes of drawings, and the agreement of two edge pictures."""

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from orchestrator.arrays import Pixels
from orchestrator.imaging.edges import canny, control_picture, drawing_edges, edge_agreement, grey
from orchestrator.imaging.strokes import strip_strokes, thin

EDGES = hnp.arrays(np.uint8, st.tuples(st.integers(1, 24), st.integers(1, 24)), elements=st.sampled_from([0, 255]))
PICTURES = hnp.arrays(np.uint8, st.tuples(st.integers(1, 24), st.integers(1, 24), st.sampled_from([3, 4])))


def scene() -> Pixels:
    """A soft picture with shapes of several contrasts, and a little noise."""
    y, x = np.mgrid[:96, :128]
    picture = np.stack([x, y, x // 2 + y // 2], axis=-1).astype(np.uint8)
    cv2.circle(picture, (40, 40), 25, (220, 60, 40), -1)
    cv2.rectangle(picture, (80, 20), (120, 80), (90, 120, 100), -1)
    noise = np.random.default_rng(3).integers(-4, 5, picture.shape)
    return np.asarray(np.clip(picture + noise, 0, 255), np.uint8)


def paper(side: int = 256, colour: int = 255) -> Pixels:
    return np.full((side, side, 3), colour, np.uint8)


def ring(ink: int, colour: int, width: int) -> Pixels:
    """A circle's line, radius 80, in the middle of 256 x 256."""
    return np.asarray(cv2.circle(paper(colour=colour), (128, 128), 80, (ink,) * 3, width, cv2.LINE_AA), np.uint8)


def circle(radius: int) -> Pixels:
    """One-pixel circle, 256 x 256."""
    return np.asarray(cv2.circle(np.zeros((256, 256), np.uint8), (128, 128), radius, (255,)), np.uint8)


@pytest.mark.parametrize("thresholds", [(None, None), (30.0, None), (None, 90.0), (20.0, 55.5)])
def test_canny_is_opencvs_with_the_thresholds_that_it_reports(thresholds: tuple[float | None, float | None]) -> None:
    picture = scene()
    edges = canny(picture, *thresholds)
    expected = cv2.Canny(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), edges.low, edges.high)
    assert np.array_equal(edges.image, expected)
    assert edges.image.any()
    for chosen, asked in zip((edges.low, edges.high), thresholds, strict=True):
        assert asked is None or chosen == asked


def test_the_chosen_threshold_is_otsus() -> None:
    plain = grey(scene())
    gx, gy = (
        cv2.Sobel(plain, cv2.CV_16S, 1, 0, borderType=cv2.BORDER_REPLICATE),
        cv2.Sobel(plain, cv2.CV_16S, 0, 1, borderType=cv2.BORDER_REPLICATE),
    )
    magnitude = (np.abs(gx) + np.abs(gy)).astype(float).ravel()

    def between(threshold: float) -> float:
        low, high = magnitude[magnitude <= threshold], magnitude[magnitude > threshold]
        return float(low.size * high.size * (low.mean() - high.mean()) ** 2)

    high = canny(scene()).high
    assert between(high) == pytest.approx(max(between(t) for t in np.unique(magnitude)[:-1]))


def test_stronger_pictures_get_higher_thresholds() -> None:
    soft = (scene() // 3 + 80).astype(np.uint8)
    assert canny(scene()).high > 2 * canny(soft).high
    # ... and so the same shapes show in both.
    assert edge_agreement(canny(scene()).image, canny(soft).image) > 0.9


@pytest.mark.parametrize("level", [0, 128, 255])
def test_flat_pictures_have_no_edges(level: int) -> None:
    assert not canny(paper(40, level)).image.any()
    assert not drawing_edges(paper(40, level), (32, 32)).image.any()


def test_noise_of_a_flat_picture_is_not_an_edge() -> None:
    noise = np.random.default_rng(0).integers(126, 131, (64, 64, 1)).repeat(3, axis=2).astype(np.uint8)
    assert not canny(noise).image.any()


@pytest.mark.parametrize("thresholds", [(50.0, 40.0), (-1.0, 40.0), (None, -1.0)])
def test_wrong_thresholds_are_refused(thresholds: tuple[float | None, float | None]) -> None:
    with pytest.raises(ValueError, match="low <= high"):
        canny(scene(), *thresholds)


@given(PICTURES)
def test_any_small_picture_has_edges_of_its_size(picture: Pixels) -> None:
    edges = canny(picture)
    assert edges.image.shape == picture.shape[:2]
    assert set(np.unique(edges.image)) <= {0, 255}
    assert 0 <= edges.low <= edges.high
    drawn = drawing_edges(picture, (16, 24)).image
    assert drawn.shape == (24, 16)
    assert set(np.unique(drawn)) <= {0, 255}


@pytest.mark.parametrize("shape", [(1, 1), (1, 20000), (20000, 1), (3, 9000)])
@pytest.mark.parametrize("channels", [3, 4])
def test_odd_shapes(shape: tuple[int, int], channels: int) -> None:
    picture = np.random.default_rng(1).integers(0, 256, (*shape, channels), np.uint8)
    assert canny(picture).image.shape == shape
    for kind in (picture, np.full_like(picture, 255)):
        assert drawing_edges(kind, (64, 32)).image.shape == (32, 64)
    assert control_picture(canny(picture).image, (64, 32)).shape == (3, 32, 64)


@pytest.mark.parametrize("width", [1, 2, 3])
@pytest.mark.parametrize(("ink", "colour"), [(0, 255), (255, 0), (110, 255), (200, 30)])
def test_a_thin_line_is_one_stroke(ink: int, colour: int, width: int) -> None:
    edges = drawing_edges(ring(ink, colour, width), (256, 256)).image
    # One circle's pixels, nothing else; Canny alone has two circles.
    assert edge_agreement(edges, circle(80), tolerance=1.5) > 0.99
    assert (edges > 0).sum() < 1.1 * (circle(80) > 0).sum()
    assert (canny(ring(ink, colour, width)).image > 0).sum() > 1.6 * (circle(80) > 0).sum()


@pytest.mark.parametrize(("ink", "colour"), [(0, 255), (255, 0), (110, 255)])
def test_a_filled_shape_is_its_outline(ink: int, colour: int) -> None:
    disc = cv2.circle(paper(colour=colour), (128, 128), 80, (ink,) * 3, -1)
    assert edge_agreement(drawing_edges(np.asarray(disc, np.uint8), (256, 256)).image, circle(80)) > 0.98


def test_light_lines_on_dark_shapes_are_strokes_too() -> None:
    picture = cv2.rectangle(paper(), (30, 30), (220, 220), (20, 20, 90), -1)
    cv2.line(picture, (60, 60), (190, 150), (255, 255, 255), 3, cv2.LINE_AA)
    expected = cv2.line(np.zeros((256, 256), np.uint8), (60, 60), (190, 150), (255,))
    inside = drawing_edges(np.asarray(picture, np.uint8), (256, 256)).image[40:210, 40:210]
    assert edge_agreement(inside, np.asarray(expected, np.uint8)[40:210, 40:210]) > 0.97
    assert (inside > 0).sum() < 1.15 * (expected > 0).sum()


def test_the_gap_between_two_lines_is_not_a_line() -> None:
    picture = paper()
    for x in (100, 108):
        cv2.line(picture, (x, 20), (x, 230), (0, 0, 0), 2)
    columns = np.flatnonzero(drawing_edges(picture, (256, 256)).image[60:190].mean(axis=0) > 127)
    assert len(columns) == 2
    assert columns[1] - columns[0] == 8


def test_colours_of_a_drawing_do_not_matter() -> None:
    red = cv2.circle(paper(), (128, 128), 80, (200, 30, 40), 2, cv2.LINE_AA)
    blue = cv2.circle(paper(), (128, 128), 80, (40, 30, 200), 2, cv2.LINE_AA)
    first, second = (drawing_edges(np.asarray(picture, np.uint8), (256, 256)).image for picture in (red, blue))
    assert edge_agreement(first, second, tolerance=1) == 1


@pytest.mark.parametrize(("side", "ink", "colour"), [(3000, 0, 255), (3000, 255, 0), (2000, 90, 255)])
def test_a_hairline_of_a_large_drawing_reaches_a_small_network(side: int, ink: int, colour: int) -> None:
    large = cv2.circle(paper(side, colour), (side // 2, side // 2), side // 3, (ink,) * 3, 1)
    control = control_picture(drawing_edges(np.asarray(large, np.uint8), (256, 256)).image, (128, 128))
    expected = cv2.circle(np.zeros((128, 128), np.uint8), (64, 64), 43, (255,))
    assert edge_agreement((control[0] * 255).astype(np.uint8), np.asarray(expected, np.uint8), tolerance=1.5) > 0.98


@pytest.mark.parametrize("ink", [0, 255])
def test_transparent_drawings_show(ink: int) -> None:
    """Black or white ink on nothing: laid over what shows it."""
    picture = np.zeros((256, 256, 4), np.uint8)
    cv2.circle(picture, (128, 128), 80, (ink, ink, ink, 255), 2, cv2.LINE_AA)
    assert edge_agreement(drawing_edges(picture, (256, 256)).image, circle(80)) > 0.99
    # What a transparent pixel's colour is does not matter.
    noisy = picture.copy()
    noisy[..., :3][picture[..., 3] == 0] = np.random.default_rng(0).integers(0, 256, 3)
    assert np.array_equal(canny(noisy).image, canny(picture).image)


def test_a_photograph_gets_cannys_edges() -> None:
    gradient = scene()
    assert np.array_equal(drawing_edges(gradient, (128, 96)).image, canny(gradient).image)


def test_control_pictures_of_their_own_size_are_unchanged() -> None:
    edges = canny(scene()).image
    control = control_picture(edges, (128, 96))
    assert control.dtype == np.float32
    assert np.array_equal(control, np.stack([edges / 255] * 3).astype(np.float32))


@settings(max_examples=50)
@given(EDGES, st.integers(1, 40), st.integers(1, 40))
def test_control_pictures_have_their_size_and_lose_no_picture(edges: Pixels, width: int, height: int) -> None:
    control = control_picture(edges, (width, height))
    assert control.shape == (3, height, width)
    assert set(np.unique(control)) <= {0, 1}


def test_control_pictures_are_framed_as_pictures_are() -> None:
    wide = np.zeros((64, 128), np.uint8)
    wide[:, 64] = wide[:, 5] = 255  # the middle stays, the left is cut
    control = control_picture(wide, (32, 32))[0]
    assert np.flatnonzero(control.any(axis=0)).tolist() == [16]


def test_agreement_is_f1_with_a_tolerance() -> None:
    assert edge_agreement(circle(80), circle(80)) == 1
    assert edge_agreement(circle(80), circle(81)) == 1
    assert edge_agreement(circle(80), circle(85)) == 0
    both = circle(80) | circle(40)  # precision 2/3, recall 1
    share = (circle(80) > 0).sum() / (both > 0).sum()
    assert edge_agreement(both, circle(80)) == pytest.approx(2 * share / (share + 1))


@given(EDGES)
def test_agreement_of_the_empty(edges: Pixels) -> None:
    nothing = np.zeros_like(edges)
    assert edge_agreement(nothing, nothing) == 1
    assert edge_agreement(edges, nothing) == float(not edges.any())


def _pieces(mask: npt.NDArray[Any], connectivity: int) -> int:
    return int(cv2.connectedComponents((mask > 0).astype(np.uint8), connectivity=connectivity)[0])


@given(EDGES)
def test_thinning_keeps_pieces_and_holes(mask: Pixels) -> None:
    skeleton = thin(mask)
    assert not (skeleton & ~mask).any()
    assert _pieces(skeleton, 8) == _pieces(mask, 8)
    holes = [_pieces(np.pad(255 - picture, 1, constant_values=255), 4) for picture in (mask, skeleton)]
    assert holes[0] == holes[1]
    assert np.array_equal(thin(skeleton), skeleton)


def test_a_line_leaves_no_trace_in_the_rest() -> None:
    plain = ring(0, 255, 3)[..., 0]
    lines, rest = strip_strokes(plain, dark_first=True)
    assert lines.any()
    assert (rest == 255).all()
