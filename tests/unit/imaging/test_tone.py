"""Colours and light taken over from a reference, detail kept."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.arrays import Pixels
from orchestrator.imaging.tone import CELL, match_around, match_low_frequencies


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


def photograph(height: int, width: int) -> Pixels:
    """Slopes of light and some grain."""
    rows, columns = np.mgrid[:height, :width]
    grain = np.random.default_rng(3).normal(0, 6, (height, width))
    grey = 120 + 60 * np.sin(rows / 60) + 40 * np.cos(columns / 45) + grain
    return np.asarray(np.clip(grey[..., None] * np.array([1, 0.9, 0.7]), 0, 255), np.uint8)


@pytest.mark.parametrize("drift", [(40, 40, 40), (-30, 10, 25)])
def test_no_step_is_left_where_new_is_laid_next_to_old(drift: tuple[int, int, int]) -> None:
    """Across the border of what is known the mean step is no larger than the picture's own gradients."""
    old = photograph(300, 400)
    new = np.clip(photograph(300, 400)[:, ::-1] * 0.5 + 60 + np.array(drift), 0, 255).astype(np.uint8)
    known = np.zeros((300, 400), bool)
    known[:, 100:300] = True
    own = np.abs(np.diff(old[:, 100:300].astype(float), axis=1)).mean()

    def step(around: Pixels) -> float:
        """Between the means of rows of 20 pixels, left and right of both borders."""
        whole = np.where(known[..., None], old, around).astype(float)
        blocks = whole.reshape(15, 20, 400, 3).mean(axis=1)
        return float(np.abs(blocks[:, [100, 300]] - blocks[:, [99, 299]]).mean())

    assert step(new) > 3 * own
    assert step(match_around(new, old, known, 40)) < own


def test_far_from_what_is_known_and_where_all_is_equal_nothing_changes() -> None:
    old = photograph(300, 400)
    known = np.zeros((300, 400), bool)
    known[:, :40] = True
    np.testing.assert_array_equal(match_around(old, old, known, 20), old)
    new = np.full_like(old, 128)
    far = match_around(new, old, known, 20)[:, 240:].astype(int)
    assert np.abs(far - 128).max() <= 1
