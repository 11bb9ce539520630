"""Classifier-free guidance."""

from __future__ import annotations

import numpy as np
import pytest

from orchestrator.diffusion.guidance import guide, needs_unconditional, rows
from orchestrator.diffusion.noise import start_noise

OUTPUT = start_noise(1, (2, 4, 3, 5))
"""[unconditional, conditional]"""


def test_scale_extrapolates_from_unconditional_through_conditional() -> None:
    expected = OUTPUT[:1].astype(np.float64) * (1 - 7.5) + OUTPUT[1:].astype(np.float64) * 7.5
    guided = guide(OUTPUT, 7.5, 2)
    assert guided.dtype == np.float32
    np.testing.assert_allclose(guided, expected, atol=1e-5)


@pytest.mark.parametrize(("scale", "row"), [(0.0, 0), (1.0, 1)])
def test_scales_0_and_1_are_the_rows_themselves(scale: float, row: int) -> None:
    np.testing.assert_allclose(guide(OUTPUT, scale, 2), OUTPUT[row : row + 1], atol=1e-6)


def test_one_row_passes_unchanged() -> None:
    np.testing.assert_array_equal(guide(OUTPUT[1:], 7.5, 1), OUTPUT[1:])


def test_a_float64_scale_leaves_float32() -> None:
    assert guide(OUTPUT, np.float64(7.5), 2).dtype == np.float32


def test_only_scale_1_goes_without_the_unconditional_row() -> None:
    assert [needs_unconditional(scale) for scale in (0.0, 1.0, 1.01, 7.5)] == [False, False, True, True]


def test_rows_repeat_one_picture() -> None:
    one = OUTPUT[:1]
    np.testing.assert_array_equal(rows(one, 2), np.concatenate([one, one]))
    np.testing.assert_array_equal(rows(one, 1), one)


def test_several_pictures_keep_their_order() -> None:
    """All unconditional rows, then all conditional ones: each picture is guided by its own."""
    several = start_noise(2, (3, 4, 3, 5))
    assert (rows(several, 2)[3:] == several).all()
    output = np.concatenate([several, 2 * several])
    np.testing.assert_allclose(guide(output, 3.0, 2), 4 * several, rtol=1e-5)
