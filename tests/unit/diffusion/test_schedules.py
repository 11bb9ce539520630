"""Noise schedules and paths: diffusers' timesteps at every number of steps, and the shape any path must have."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_tools.goldens import cases as golden_cases
from orchestrator.diffusion.samplers import SAMPLERS
from orchestrator.diffusion.schedules import (
    KARRAS_RHO,
    NoiseSchedule,
    Prediction,
    SamplingPath,
    Spacing,
    karras_path,
    mixture,
)

SD15 = NoiseSchedule.scaled_linear(Prediction.EPSILON, spacing=Spacing.LEADING, steps_offset=1, set_alpha_to_one=False)
TRAILING = NoiseSchedule.scaled_linear(Prediction.V_PREDICTION)
LINSPACE = NoiseSchedule.scaled_linear(Prediction.EPSILON, spacing=Spacing.LINSPACE)

paths = st.sampled_from(sorted(SAMPLERS)).flatmap(
    lambda name: st.builds(
        lambda schedule, steps: (name, SAMPLERS[name].path(schedule, steps)),
        st.sampled_from([SD15, TRAILING, LINSPACE]),
        st.integers(1, SAMPLERS[name].max_steps),
    )
)


def test_scaled_linear_is_stable_diffusions_table() -> None:
    """σ_max and σ_min of Stable Diffusion 1.x, as k-diffusion and its users print them: 14.6146, 0.0292."""
    assert TRAILING.train_steps == 1000
    assert TRAILING.sigmas[-1] == pytest.approx(14.6146, abs=5e-5)
    assert TRAILING.sigmas[0] == pytest.approx(0.0292, abs=5e-5)
    assert np.all(np.diff(TRAILING.alphas_cumprod) < 0)


@pytest.mark.parametrize("case", golden_cases.TIMESTEP_CASES, ids=lambda case: f"{case.sampler}-{case.spacing}")
def test_timesteps_equal_diffusers_at_every_number_of_steps(case: golden_cases.Case) -> None:
    stored = np.load(golden_cases.TIMESTEPS)[f"{case.sampler}-{case.spacing}"]
    schedule = {"leading": SD15, "trailing": TRAILING, "linspace": LINSPACE}[case.spacing]
    ours: list[float] = []
    for steps in range(1, min(100, SAMPLERS[case.sampler].max_steps) + 1):
        ours.extend(SAMPLERS[case.sampler].path(schedule, steps).timesteps)
    np.testing.assert_array_equal(ours, stored)


@given(paths)
def test_every_plan_walks_down_inside_the_trained_range(named: tuple[str, SamplingPath]) -> None:
    name, path = named
    sigmas, timesteps = path.sigmas, path.timesteps
    assert len(sigmas) == len(timesteps) + 1
    assert all(high > low for high, low in pairwise(sigmas))
    assert all(high >= low for high, low in pairwise(timesteps))
    assert 0 <= timesteps[-1] <= timesteps[0] <= 999
    assert 0.029 < sigmas[-2] <= sigmas[0] < 14.615
    assert sigmas[-1] == 0 or (name in ("ddim", "tcd") and sigmas[-1] == SD15.sigmas[0])


@given(st.integers(3, 500))
def test_karras_levels_are_even_in_their_root(steps: int) -> None:
    roots = np.array(karras_path(TRAILING, steps).sigmas[:-1]) ** (1 / KARRAS_RHO)
    np.testing.assert_allclose(np.diff(roots), (roots[-1] - roots[0]) / (steps - 1), rtol=1e-6)
    assert roots[0] ** KARRAS_RHO == pytest.approx(TRAILING.sigmas[-1])
    assert roots[-1] ** KARRAS_RHO == pytest.approx(TRAILING.sigmas[0])


def test_trailing_starts_at_the_last_training_timestep_and_leading_does_not() -> None:
    """What Lin et al. 2023 found wrong with leading: a network started below the noise it was trained to start at."""
    for name in ("ddim", "euler", "dpmpp_2m"):
        assert SAMPLERS[name].path(TRAILING, 8).timesteps[0] == 999
        assert SAMPLERS[name].path(SD15, 8).timesteps[0] < 900


@pytest.mark.parametrize("name", sorted(SAMPLERS))
@pytest.mark.parametrize("steps", [-1, 0, 501, 10_000])
def test_steps_out_of_range_are_refused(name: str, steps: int) -> None:
    with pytest.raises(ValueError, match="steps must be between 1 and"):
        SAMPLERS[name].path(TRAILING, steps)


def test_lcm_takes_at_most_the_steps_it_was_distilled_at() -> None:
    assert SAMPLERS["lcm"].path(TRAILING, 50).timesteps == tuple(float(t) for t in range(999, 0, -20))
    with pytest.raises(ValueError, match="between 1 and 50"):
        SAMPLERS["lcm"].path(TRAILING, 51)


def test_samplers_declare_the_schedules_own_limit() -> None:
    assert {sampler.max_steps for name, sampler in SAMPLERS.items() if name not in ("lcm", "tcd")} == {
        TRAILING.max_steps
    }


@given(st.floats(0, 1000))
def test_mixture_preserves_variance_at_the_asked_ratio(sigma: float) -> None:
    alpha, sigma_hat = mixture(sigma)
    assert math.isclose(alpha**2 + sigma_hat**2, 1)
    assert math.isclose(sigma_hat, sigma * alpha)
