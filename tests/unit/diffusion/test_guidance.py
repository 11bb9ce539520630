"""Classifier-free guidance."""

from __future__ import annotations

import numpy as np
import pytest

from orchestrator.diffusion.guidance import guide, rows, rows_of
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
    assert [rows_of("classifier_free", scale) for scale in (0.0, 1.0, 1.01, 7.5)] == [1, 1, 2, 2]


@pytest.mark.parametrize("kind", ["embedding", "none"])
def test_other_kinds_of_guidance_have_one_row(kind: str) -> None:
    assert rows_of(kind, 7.5) == 1


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


def test_a_norm_gives_each_token_the_prompts_own_length() -> None:
    """Qwen-Image's pipeline in diffusers, on latents packed by 2 x 2."""
    output = start_noise(3, (2, 4, 4, 6))
    guided = guide(output, 4.0, 2, 2)

    def packed(array: np.ndarray) -> np.ndarray:
        tokens = array.reshape(1, 4, 2, 2, 3, 2).transpose(0, 2, 4, 1, 3, 5)
        return tokens.reshape(6, 16)

    plain = packed(output[:1] + 4.0 * (output[1:] - output[:1]))
    lengths = np.linalg.norm(packed(output[1:]), axis=1) / np.linalg.norm(plain, axis=1)
    np.testing.assert_allclose(packed(guided), plain * lengths[:, None], rtol=1e-5)
    assert guided.dtype == np.float32


def test_a_norm_leaves_nothing_as_nothing() -> None:
    np.testing.assert_array_equal(guide(np.zeros((2, 4, 2, 2), np.float32), 4.0, 2, 2), 0)
