"""Colours and light taken over from a reference, detail kept."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.arrays import Pixels
from orchestrator.imaging.tone import CELL, match_low_frequencies


def detailed(height: int, width: int, level: int) -> Pixels:
    """A chequered picture, each square one pixel, 20 grey levels to both sides of `level`."""
    y, x = np.mgrid[:height, :width]
    return np.repeat((level + np.where((x + y) % 2, 20, -20))[..., None], 3, axis=2).astype(np.uint8)


@given(st.integers(1, 70), st.integers(1, 70), st.integers(0, 3))
def test_its_own_reference_changes_nothing(height: int, width: int, seed: int) -> None:
    picture = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    matched = match_low_frequencies(picture, picture)
    assert matched.dtype == np.uint8
    assert np.array_equal(matched, picture)


@pytest.mark.parametrize("shape", [(1, 1), (1, 20000), (20000, 1), (33, 50), (128, 128)])
def test_a_drift_of_colour_is_undone(shape: tuple[int, int]) -> None:
    """Detail is the picture's, light the reference's, to the rounding of a grey level."""
    drifted = (detailed(*shape, 120) + np.array([12, 0, 30], np.uint8)).astype(np.uint8)
    matched = match_low_frequencies(drifted, detailed(*shape, 120))
    assert np.abs(matched.astype(int) - detailed(*shape, 120)).max() <= 1


def test_detail_of_the_reference_is_not_taken_over() -> None:
    smooth = np.full((128, 128, 3), 90, np.uint8)
    matched = match_low_frequencies(smooth, detailed(128, 128, 150))
    assert np.abs(matched.astype(int) - 150).max() <= 1


def test_a_gradient_of_light_is_followed_without_steps() -> None:
    ramp = np.repeat(np.linspace(40, 200, 256)[None, :, None], 256, axis=0).repeat(3, axis=2).astype(np.uint8)
    matched = match_low_frequencies(np.full((256, 256, 3), 120, np.uint8), ramp).astype(int)
    inside = slice(CELL, -CELL)
    assert np.abs(matched - ramp)[:, inside].max() <= 2
    assert np.abs(np.diff(matched, axis=1)).max() <= 2


def test_what_would_leave_the_range_is_cut() -> None:
    matched = match_low_frequencies(detailed(64, 64, 120), np.full((64, 64, 3), 250, np.uint8))
    assert matched.max() == 255
    assert matched.min() == 230
