"""Step skipping: what is skipped, what is predicted there, and that it never concerns another request."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.diffusion import noise
from orchestrator.diffusion.flow import FlowSchedule
from orchestrator.diffusion.samplers import SAMPLERS
from orchestrator.diffusion.sampling import Latents, sample
from orchestrator.diffusion.schedules import NoiseSchedule, Prediction, SamplingPath
from orchestrator.diffusion.skipping import StepSkipper

if TYPE_CHECKING:
    from collections.abc import Callable

SHAPE = (1, 4, 8, 8)
SEED = 3
every = pytest.mark.parametrize(
    ("name", "prediction"),
    [
        *((name, "epsilon") for name in sorted(SAMPLERS)),
        *((name, "flow") for name in sorted(SAMPLERS) if SAMPLERS[name].flow_path is not None),
    ],
)
"""Every sampler, on diffusion and, where it walks it, on flow matching."""


def plan_of(name: str, steps: int, prediction: str = "epsilon") -> SamplingPath:
    schedule = FlowSchedule() if prediction == "flow" else NoiseSchedule.scaled_linear(Prediction(prediction))
    return SAMPLERS[name].layout(schedule, steps, 256)


def guided(_step: int) -> int:
    return 2


def drawn(step: int) -> Latents:
    return noise.step_noise(SEED, step, SHAPE)


def walked(skipper: StepSkipper, path: SamplingPath, predicted: Callable[[int], Latents]) -> list[int]:
    """Steps that are skipped where the network predicts so."""
    skipped = []
    for step in range(path.steps):
        if skipper(step) is None:
            skipper.note(step, predicted(step))
        else:
            skipped.append(step)
    return skipped


def test_predictions_along_a_line_need_no_network() -> None:
    path, (start, slope) = plan_of("euler", 20), (drawn(0), drawn(1))

    def predicted(step: int) -> Latents:
        return start + slope * math.log(path.sigmas[step])

    skipper = StepSkipper(path, 1e-4, guided)
    assert walked(skipper, path, predicted) == list(range(3, 19))  # two give a line, the third says how good it is
    assert skipper.skipped == 16
    found = skipper(10)
    assert found is not None
    assert np.abs(found - predicted(10)).max() < 1e-5


def test_predictions_that_jump_are_all_computed() -> None:
    path = plan_of("euler", 20)
    skipper = StepSkipper(path, 0.5, guided)
    assert walked(skipper, path, drawn) == []
    assert skipper.skipped == 0


@pytest.mark.parametrize("tolerance", [0.003, 0.01, 0.03])
def test_the_estimate_bounds_what_a_smooth_prediction_is_off(tolerance: float) -> None:
    """Of a prediction that bends evenly the estimate is exact; here it bends ever less."""
    path, (start, slope) = plan_of("euler", 50), (drawn(0), drawn(1))

    def predicted(step: int) -> Latents:
        return start + slope * math.exp(math.log(path.sigmas[step]) / 3 - 2)

    skipper, errors = StepSkipper(path, tolerance, guided), []
    for step in range(path.steps):
        found, x0 = skipper(step), predicted(step)
        if found is None:
            skipper.note(step, x0)
        else:
            errors.append(float(np.linalg.norm(found - x0) / np.linalg.norm(x0)))
    assert errors
    assert max(errors) <= 1.2 * tolerance


def test_a_larger_tolerance_skips_more() -> None:
    path, (start, slope) = plan_of("euler", 50), (drawn(0), drawn(1))
    counts = []
    for tolerance in (0.003, 0.02, 0.1):
        skipper = StepSkipper(path, tolerance, guided)
        counts.append(
            len(walked(skipper, path, lambda step: start + slope * math.exp(math.log(path.sigmas[step]) / 2)))
        )
    assert counts[0] < counts[1] < counts[2]


def test_a_line_does_not_lead_from_guided_steps_to_others() -> None:
    path = plan_of("euler", 20)
    rows = [2] * 10 + [1] * 10
    skipper = StepSkipper(path, 0.01, rows.__getitem__)
    skipped = walked(skipper, path, lambda step: drawn(rows[step]))  # constant, but for the jump
    assert skipped == [*range(3, 10), *range(13, 19)]


def test_a_prediction_of_nothing_is_no_division_by_zero() -> None:
    path = plan_of("euler", 8)
    assert walked(StepSkipper(path, 0.1, guided), path, lambda _: np.zeros(SHAPE, np.float32)) == [3, 4, 5, 6]


def test_what_is_not_finite_is_computed() -> None:
    path = plan_of("euler", 8)
    skipper = StepSkipper(path, 1.0, guided)
    skipped = walked(skipper, path, lambda step: drawn(0) * (np.nan if step == 2 else 1))
    assert skipped == [6]  # of the three before it none is NaN


class Walk:
    """A walk over a network that predicts a mixture of two pictures; counts what it is asked."""

    def __init__(self) -> None:
        self.pictures = drawn(100), drawn(101)
        self.asked: list[int] = []
        self.reported: list[int] = []

    async def run(self, name: str, path: SamplingPath, skipper: StepSkipper | None) -> Latents:
        async def network(x: Latents, timestep: float, step: int) -> Latents:
            self.asked.append(step)
            share = 1 / (1 + math.exp((timestep - 500) / 150))
            x0: Latents = share * self.pictures[0] + (1 - share) * self.pictures[1]
            if path.flows:
                sigma = timestep / 1000
                return np.asarray((x - x0) / max(sigma, 1e-3), np.float32)
            sigmas = NoiseSchedule.scaled_linear(Prediction.EPSILON).sigmas
            sigma = float(np.interp(timestep, np.arange(len(sigmas)), sigmas))
            alpha, sigma_hat = path.mixture(sigma)
            return np.asarray((x - alpha * x0) / sigma_hat, np.float32)

        async def report(done: int, _x0: Latents) -> None:
            self.reported.append(done)

        return await sample(
            SAMPLERS[name],
            network,
            noise.start_noise(SEED, SHAPE),
            path,
            noise=lambda step, second=False: noise.step_noise(SEED, step, SHAPE, second=second),
            on_step=report,
            skipper=skipper,
        )


@every
async def test_every_sampler_skips_and_comes_near_the_whole_walk(name: str, prediction: str) -> None:
    path = plan_of(name, 24, prediction)
    whole, short = Walk(), Walk()
    skipper = StepSkipper(path, 0.02, guided)
    expected = await whole.run(name, path, None)
    found = await short.run(name, path, skipper)
    assert len(whole.asked) == path.calls
    assert 0 < skipper.skipped == path.steps - len(set(short.asked))
    for step in set(short.asked):  # whole steps: both calls of methods of second order, or none
        assert short.asked.count(step) == whole.asked.count(step)
    assert short.reported == list(range(1, 25))  # progress is of all steps
    assert found.dtype == np.float32
    assert np.linalg.norm(found - expected) / np.linalg.norm(expected) < 0.05


@every
async def test_without_a_tolerance_worth_the_name_nothing_changes(name: str, prediction: str) -> None:
    path = plan_of(name, 12, prediction)
    skipper = StepSkipper(path, 1e-12, guided)
    expected, found = await Walk().run(name, path, None), await Walk().run(name, path, skipper)
    assert skipper.skipped == 0
    np.testing.assert_array_equal(found, expected)


@given(st.integers(1, 30), st.floats(1e-6, 1.0), st.integers(0, 2**31))
def test_the_last_step_and_the_first_three_are_computed(steps: int, tolerance: float, seed: int) -> None:
    path = plan_of("ddim", steps)
    random = np.random.default_rng(seed)
    skipper = StepSkipper(path, tolerance, lambda step: 1 + (step % 7 > 2))
    skipped = walked(skipper, path, lambda _: np.float32(1 + random.random()) * drawn(0))
    assert not {0, 1, 2, steps - 1} & set(skipped)
    assert skipper.skipped == len(skipped)
