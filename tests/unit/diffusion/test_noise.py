"""Noise: the same for a seed forever, and independent for each seed and step."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.diffusion.noise import start_noise, step_noise
from orchestrator.params import MAX_SEED

SHAPE = (1, 4, 16, 16)
START_OF_SEED_0 = [0.15929547, -1.77418852, 1.32651186, 1.20480907, -0.0391037129]
STEP_6_OF_SEED_0 = [-0.0972184241, -0.511303008, 0.0875579938, 0.139189139, -0.448093444]

seeds = st.integers(0, MAX_SEED)
steps = st.integers(0, 500)


def test_seed_zero_gives_the_stored_numbers() -> None:
    """A numpy that draws differently would change every picture of every seed: it has to fail here first."""
    np.testing.assert_array_equal(start_noise(0, (5,)), np.array(START_OF_SEED_0, np.float32))
    np.testing.assert_array_equal(step_noise(0, 6, (5,)), np.array(STEP_6_OF_SEED_0, np.float32))


@given(seeds, steps)
def test_noise_is_a_function_of_seed_and_step(seed: int, step: int) -> None:
    np.testing.assert_array_equal(step_noise(seed, step, SHAPE), step_noise(seed, step, SHAPE))
    np.testing.assert_array_equal(start_noise(seed, SHAPE), start_noise(seed, SHAPE))


@given(seeds, steps, seeds, steps)
def test_different_seeds_and_steps_are_uncorrelated(seed: int, step: int, other: int, later: int) -> None:
    """1024 draws: a correlation beyond 0.25 is 8 standard errors away."""
    noises = [step_noise(seed, step, SHAPE), start_noise(seed, SHAPE)]
    if (other, later) != (seed, step):
        noises.append(step_noise(other, later, SHAPE))
    correlations = np.corrcoef([noise.ravel() for noise in noises]) - np.eye(len(noises))
    assert np.abs(correlations).max() < 0.25


def test_noise_is_standard_normal() -> None:
    noise = start_noise(7, (1, 4, 512, 512)).astype(np.float64)
    assert noise.mean() == pytest.approx(0, abs=0.005)
    assert noise.std() == pytest.approx(1, abs=0.005)
    assert (noise**4).mean() == pytest.approx(3, abs=0.03)


def test_noise_is_float32_of_the_asked_shape() -> None:
    assert start_noise(MAX_SEED, SHAPE).dtype == np.float32
    assert step_noise(MAX_SEED, 0, SHAPE).shape == SHAPE
