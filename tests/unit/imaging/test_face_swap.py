"""A face in the place of another: where it lands, whose light it has, and that nothing else changes."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from orchestrator.arrays import Pixels
from orchestrator.imaging.face_swap import swap
from tests.unit.imaging.meshes import mesh


def plain(width: int, height: int, *colour: int) -> Pixels:
    return np.full((height, width, 3), colour, np.uint8)


def textured(width: int, height: int, seed: int) -> Pixels:
    """Soft spots: what can be compared after it was warped."""
    rows, columns = np.mgrid[:height, :width]
    waves = np.sin(rows / (7 + seed)) + np.sin(columns / (9 - seed))
    return np.asarray(np.clip(120 + 40 * waves[..., None] + np.array([20, 0, -20]), 0, 255), np.uint8)


def test_a_face_in_its_own_place_is_itself() -> None:
    picture = textured(160, 120, 1)
    points = mesh((80, 60), (30, 40))
    found = swap(picture, points, picture, points)
    assert np.abs(found.picture.astype(int) - picture).max() <= 3


@pytest.mark.parametrize("turn", [0.0, 0.5, -0.7])
@pytest.mark.parametrize("scale", [0.5, 1.0, 3.0, 7.0])
def test_features_land_where_the_old_ones_were(turn: float, scale: float) -> None:
    """A dark spot on the donor's face, off its middle, comes to the same point of the other mesh."""
    picture, donor = plain(200, 160, 180, 150, 130), plain(700, 700, 190, 160, 140)
    old, new = mesh((100, 80), (40, 55), turn), mesh((350, 350), (40 * scale, 55 * scale))
    number = int(np.argmin(np.abs(new - [350 + 15 * scale, 350 - 20 * scale]).sum(axis=1)))
    rows, columns = np.mgrid[:700, :700]
    spot = np.hypot(columns - new[number, 0], rows - new[number, 1]) < 5 * scale
    donor[spot] = 20
    found = swap(picture, old, donor, new).picture.astype(int)
    dark = picture.astype(int).sum(axis=2) - found.sum(axis=2)
    weights = np.clip(dark - dark.max() / 2, 0, None)
    y, x = np.mgrid[:160, :200]
    centre = [(weights * x).sum() / weights.sum(), (weights * y).sum() / weights.sum()]
    assert np.hypot(*(np.array(centre) - old[number])) < 2.5


def test_the_new_face_has_the_light_of_the_old_one() -> None:
    picture, donor = textured(160, 120, 1) // 2, textured(160, 120, 2)
    points = mesh((80, 60), (30, 40))
    found = swap(picture, points, donor, points)
    inside = found.mask == 1
    assert np.abs(found.picture[inside].mean(axis=0) - picture[inside].mean(axis=0)).max() < 6
    assert (found.picture[inside] != picture[inside]).any()


@settings(max_examples=40, deadline=None)
@given(
    st.tuples(st.floats(-40, 200), st.floats(-40, 160)),
    st.tuples(st.floats(2, 90), st.floats(2, 90)),
    st.floats(-3, 3),
)
def test_every_pixel_outside_stays(middle: tuple[float, float], radii: tuple[float, float], turn: float) -> None:
    """Wherever the face is, at the border and beyond it too."""
    picture, donor = textured(160, 120, 1), textured(90, 100, 2)
    found = swap(picture, mesh(middle, radii, turn), donor, mesh((45, 50), (30, 40)))
    assert found.picture.shape == picture.shape
    outside = found.mask == 0
    assert (found.picture[outside] == picture[outside]).all()
    assert 0 <= found.mask.min() <= found.mask.max() <= 1
