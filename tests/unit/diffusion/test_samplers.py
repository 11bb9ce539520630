"""Samplers against diffusers' schedulers, step by step, and what holds of them by their papers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_tools import golden_cases
from model_tools.golden_cases import SEED, TRAJECTORY_CASES, TRAJECTORY_SHAPE, Case
from orchestrator.diffusion import noise
from orchestrator.diffusion.samplers import SAMPLERS, Denoise, Latents, Sampler, StepNoise, sample
from orchestrator.diffusion.schedules import NoiseSchedule, Plan, Prediction, Spacing, mixture

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_ABS_ERROR = 1e-4
DATA = 0.5
"""Deviation of the Gaussian data of which the exact denoiser is known."""

deterministic = pytest.mark.parametrize("name", ["ddim", "euler", "dpmpp_2m", "dpmpp_2m_karras"])
every = pytest.mark.parametrize("name", sorted(SAMPLERS))


def schedule(prediction: str = "epsilon") -> NoiseSchedule:
    return NoiseSchedule.scaled_linear(Prediction(prediction))


def step_noise(step: int) -> Latents:
    return noise.step_noise(SEED, step, TRAJECTORY_SHAPE)


async def ignore(_done: int, _x0: Latents) -> None:
    """Report progress to nobody."""


def recorded(sampler: Sampler, states: list[Latents], scales: Callable[[Plan, int], float]) -> Sampler:
    """The same sampler, noting its x at each network call in its own coordinates (input / scale) and at the end."""

    async def walk(denoise: Denoise, x: Latents, plan: Plan, step_noise: StepNoise) -> Latents:
        async def note(x: Latents, step: int) -> Latents:
            states.append(x / scales(plan, step))
            return await denoise(x, step)

        end = await sampler.walk(note, x, plan, step_noise)
        states.append(end)
        return end

    return Sampler(sampler.plan, walk, sampler.max_steps)


@pytest.mark.parametrize("case", TRAJECTORY_CASES, ids=lambda case: case.name)
async def test_trajectory_equals_diffusers(case: Case, record_property: Callable[[str, object], None]) -> None:
    expected = np.load(golden_cases.TRAJECTORIES)[case.name]
    euler_like = case.sampler.startswith("euler")  # holds x₀ + σ·ε, of which the network sees α times
    states: list[Latents] = []
    sampler = recorded(
        SAMPLERS[case.sampler], states, lambda plan, step: mixture(plan.sigmas[step])[0] if euler_like else 1
    )
    trained = NoiseSchedule.scaled_linear(Prediction(case.prediction), spacing=Spacing(case.spacing), **case.schedule)
    plan = sampler.plan(trained, case.steps)

    async def network(x: Latents, timestep: float) -> Latents:
        return golden_cases.closed_form(x, timestep)

    start = noise.start_noise(SEED, TRAJECTORY_SHAPE)
    result = await sample(sampler, network, start, plan, noise=step_noise, on_step=ignore)

    error = np.abs(np.stack(states) - expected).max()
    record_property("max_abs_error", float(error))
    print(f"{case.name}: max abs error {error:.1e} of {np.abs(expected).max():.1f}")  # noqa: T201 - the measure
    assert result.dtype == np.float32
    assert error <= MAX_ABS_ERROR


def exact(plan: Plan) -> Denoise:
    """E[x₀ | x] where x₀ ~ N(0, DATA²): the perfect network, in closed form."""

    async def denoise(x: Latents, step: int) -> Latents:
        alpha, sigma_hat = mixture(plan.sigmas[step])
        return float(alpha * DATA**2 / (alpha**2 * DATA**2 + sigma_hat**2)) * x

    return denoise


@every
async def test_exact_denoiser_gives_the_data_distribution(name: str) -> None:
    """From N(0, I) the deviation ends at the data's, but for what the order of the method leaves after 400 steps."""
    plan = SAMPLERS[name].plan(schedule(), min(400, SAMPLERS[name].max_steps))
    shape = (1, 4, 64, 64)
    start = plan.init_sigma * noise.start_noise(SEED, shape)
    result = await SAMPLERS[name].walk(exact(plan), start, plan, lambda step: noise.step_noise(SEED, step, shape))
    # lcm ends on the mean of x₀, where the others keep the spread: it asks for a distilled network.
    assert result.std() == pytest.approx(DATA, rel=0.02) if name != "lcm" else result.std() < DATA


@deterministic
@given(value=st.floats(-4, 4, width=32), steps=st.integers(1, 40), prediction=st.sampled_from(Prediction))
async def test_a_network_that_knows_the_picture_recovers_it(
    name: str, value: float, steps: int, prediction: Prediction
) -> None:
    """With the exact ε (or v) of one picture x₀, every deterministic sampler ends on x₀ (Song et al., formula 9)."""
    plan = SAMPLERS[name].plan(schedule(prediction), steps)
    picture = np.full(TRAJECTORY_SHAPE, value, np.float32)
    levels = dict(zip(plan.timesteps, plan.sigmas, strict=False))

    async def network(x: Latents, timestep: float) -> Latents:
        alpha, sigma_hat = mixture(levels[timestep])
        rest: Latents = x - alpha * picture  # σ̂·ε
        epsilon = rest * (1 / sigma_hat)
        return epsilon if prediction is Prediction.EPSILON else alpha * epsilon - sigma_hat * picture

    start = noise.start_noise(SEED, TRAJECTORY_SHAPE)
    result = await sample(SAMPLERS[name], network, start, plan, noise=step_noise, on_step=ignore)
    assert np.abs(result - picture).max() <= 1e-3


@every
async def test_network_is_asked_once_a_step_with_the_plan_in_order(name: str) -> None:
    asked: list[float] = []
    done: list[int] = []
    plan = SAMPLERS[name].plan(schedule(), 7)

    async def network(x: Latents, timestep: float) -> Latents:
        asked.append(timestep)
        assert x.dtype == np.float32
        return golden_cases.closed_form(x, timestep)

    async def on_step(steps_done: int, x0: Latents) -> None:
        assert x0.shape == TRAJECTORY_SHAPE
        done.append(steps_done)

    start = noise.start_noise(SEED, TRAJECTORY_SHAPE)
    await sample(SAMPLERS[name], network, start, plan, noise=step_noise, on_step=on_step)
    assert tuple(asked) == plan.timesteps
    assert done == [1, 2, 3, 4, 5, 6, 7]


@every
async def test_an_error_at_a_step_ends_the_walk_there(name: str) -> None:
    calls = 0

    async def network(x: Latents, timestep: float) -> Latents:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise TimeoutError
        return golden_cases.closed_form(x, timestep)

    plan = SAMPLERS[name].plan(schedule(), 10)
    start = noise.start_noise(SEED, TRAJECTORY_SHAPE)
    with pytest.raises(TimeoutError):
        await sample(SAMPLERS[name], network, start, plan, noise=step_noise, on_step=ignore)
    assert calls == 3


@every
async def test_start_latents_are_left_as_they_were(name: str) -> None:
    async def network(x: Latents, timestep: float) -> Latents:
        return golden_cases.closed_form(x, timestep)

    start = noise.start_noise(SEED, TRAJECTORY_SHAPE)
    before = start.copy()
    plan = SAMPLERS[name].plan(schedule(), 4)
    await sample(SAMPLERS[name], network, start, plan, noise=step_noise, on_step=ignore)
    np.testing.assert_array_equal(start, before)
