"""Samplers against diffusers' schedulers, step by step, and what holds of them by their papers."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_tools.goldens import cases as golden_cases
from model_tools.goldens.cases import SEED, TRAJECTORY_CASES, TRAJECTORY_SHAPE, Case, FlowCase
from orchestrator.diffusion import noise
from orchestrator.diffusion.flow import FlowSchedule, FlowSpacing, Shift
from orchestrator.diffusion.samplers import SAMPLERS
from orchestrator.diffusion.sampling import Denoise, Keep, Latents, Origin, Sampler, StepNoise, sample
from orchestrator.diffusion.schedules import NoiseSchedule, Prediction, SamplingPath, Spacing, shorten, steps_walked

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_ABS_ERROR = 1e-4
DATA = 0.5
"""Deviation of the Gaussian data of which the exact denoiser is known."""

deterministic = pytest.mark.parametrize("name", ["ddim", "euler", "dpmpp_2m", "dpmpp_2m_karras", "heun", "unipc"])
every = pytest.mark.parametrize(
    ("name", "prediction"),
    [
        *((name, "epsilon") for name in sorted(SAMPLERS)),
        *((name, "flow") for name in sorted(SAMPLERS) if SAMPLERS[name].flow_path is not None),
    ],
)
"""Every sampler, on diffusion and, where it walks it, on flow matching."""


def schedule(prediction: str = "epsilon") -> NoiseSchedule | FlowSchedule:
    return FlowSchedule(shift=3.0) if prediction == "flow" else NoiseSchedule.scaled_linear(Prediction(prediction))


def plan_of(name: str, prediction: str, steps: int) -> SamplingPath:
    """The sampler's path on the schedule of that prediction, for 256 tokens."""
    return SAMPLERS[name].layout(schedule(prediction), steps, 256)


def step_noise(step: int, second: bool = False) -> Latents:
    return noise.step_noise(SEED, step, TRAJECTORY_SHAPE, second=second)


async def ignore(_done: int, _x0: Latents) -> None:
    """Report progress to nobody."""


def keep_nothing(x: Latents, _step: int) -> Latents:
    return x


def recorded(sampler: Sampler, states: list[Latents]) -> Sampler:
    """The same sampler, noting its x at each network call in its own coordinates (input / scale) and at the end."""

    async def walk(denoise: Denoise, x: Latents, path: SamplingPath, step_noise: StepNoise, keep: Keep) -> Latents:
        async def note(x: Latents, step: int, second: bool = False) -> Latents:
            sigma = path.second[step].sigma if second else path.sigmas[step]
            states.append(x / path.input_scale(sigma) if sampler.exploding else x)
            return await denoise(x, step, second)

        end = await sampler.walk(note, x, path, step_noise, keep)
        states.append(end)
        return end

    return replace(sampler, walk=walk)


@pytest.mark.parametrize("case", TRAJECTORY_CASES, ids=lambda case: case.name)
async def test_trajectory_equals_diffusers(case: Case, record_property: Callable[[str, object], None]) -> None:
    expected = np.load(golden_cases.TRAJECTORIES)[case.name]
    states: list[Latents] = []
    sampler = recorded(SAMPLERS[case.sampler], states)
    trained = NoiseSchedule.scaled_linear(Prediction(case.prediction), spacing=Spacing(case.spacing), **case.schedule)
    path = sampler.path(trained, case.steps)
    origin = None
    if case.strength is not None:
        path, origin = shorten(path, case.strength), Origin(golden_cases.start_latents())

    async def network(x: Latents, timestep: float, _step: int) -> Latents:
        return golden_cases.closed_form(x, timestep)

    start = noise.start_noise(SEED, TRAJECTORY_SHAPE)
    result = await sample(sampler, network, start, path, noise=step_noise, on_step=ignore, origin=origin)

    error = np.abs(np.stack(states) - expected).max()
    record_property("max_abs_error", float(error))
    print(f"{case.name}: max abs error {error:.1e} of {np.abs(expected).max():.1f}")  # noqa: T201 - the measure
    assert result.dtype == np.float32
    assert error <= MAX_ABS_ERROR


@pytest.mark.parametrize("case", golden_cases.FLOW_CASES, ids=lambda case: case.name)
async def test_flow_trajectory_equals_diffusers(case: FlowCase, record_property: Callable[[str, object], None]) -> None:
    expected = np.load(golden_cases.FLOW_TRAJECTORIES)[case.name]
    states: list[Latents] = []
    sampler = recorded(SAMPLERS[case.sampler], states)
    trained = FlowSchedule(
        shift_by=Shift(case.shift_by),
        shift=case.shift,
        shift_terminal=case.shift_terminal,
        spacing=FlowSpacing(case.spacing),
    )
    path, origin = sampler.layout(trained, case.steps, case.tokens), None
    if case.strength is not None:
        path, origin = shorten(path, case.strength), Origin(golden_cases.start_latents())
    start = noise.start_noise(SEED, TRAJECTORY_SHAPE)
    result = await sample(sampler, closed_form, start, path, noise=step_noise, on_step=ignore, origin=origin)

    error = np.abs(np.stack(states) - expected).max()
    record_property("max_abs_error", float(error))
    print(f"{case.name}: max abs error {error:.1e} of {np.abs(expected).max():.1f}")  # noqa: T201 - the measure
    assert result.dtype == np.float32
    assert error <= MAX_ABS_ERROR


def exact(path: SamplingPath) -> Denoise:
    """E[x₀ | x] where x₀ ~ N(0, DATA²): the perfect network, in closed form."""

    async def denoise(x: Latents, step: int, second: bool = False) -> Latents:
        alpha, sigma_hat = path.mixture(path.second[step].sigma if second else path.sigmas[step])
        return float(alpha * DATA**2 / (alpha**2 * DATA**2 + sigma_hat**2)) * x

    return denoise


@every
async def test_exact_denoiser_gives_the_data_distribution(name: str, prediction: str) -> None:
    """From N(0, I) the deviation ends at the data's, but for what the order of the method leaves after 400 steps."""
    path = plan_of(name, prediction, min(400, SAMPLERS[name].max_steps))
    shape = (1, 4, 64, 64)
    start = path.init_sigma * noise.start_noise(SEED, shape)

    def drawn(step: int, second: bool = False) -> Latents:
        return noise.step_noise(SEED, step, shape, second=second)

    result = await SAMPLERS[name].walk(exact(path), start, path, drawn, keep_nothing)
    # lcm and tcd end nearer to the mean of x₀, where the others keep the spread: they ask for distilled networks.
    assert result.std() == pytest.approx(DATA, rel=0.02) if name not in ("lcm", "tcd") else result.std() < DATA


@deterministic
@given(value=st.floats(-4, 4, width=32), steps=st.integers(1, 40), prediction=st.sampled_from(Prediction))
async def test_a_network_that_knows_the_picture_recovers_it(
    name: str, value: float, steps: int, prediction: Prediction
) -> None:
    """With the exact ε (or v) of one picture x₀, every deterministic sampler ends on x₀ (Song et al., formula 9)."""
    if prediction is Prediction.FLOW and SAMPLERS[name].flow_path is None:
        return
    path = SAMPLERS[name].layout(schedule(prediction), steps, 256)
    picture = np.full(TRAJECTORY_SHAPE, value, np.float32)
    levels = dict(zip(path.timesteps, path.sigmas, strict=False))

    async def network(x: Latents, timestep: float, _step: int) -> Latents:
        alpha, sigma_hat = path.mixture(levels[timestep])
        rest: Latents = x - alpha * picture  # σ̂·ε
        epsilon = rest * (1 / sigma_hat)
        if prediction is Prediction.FLOW:
            return epsilon - picture
        return epsilon if prediction is Prediction.EPSILON else alpha * epsilon - sigma_hat * picture

    start = noise.start_noise(SEED, TRAJECTORY_SHAPE)
    result = await sample(SAMPLERS[name], network, start, path, noise=step_noise, on_step=ignore)
    assert np.abs(result - picture).max() <= 1e-3


@every
async def test_network_is_asked_at_the_plans_levels(name: str, prediction: str) -> None:
    asked: list[float] = []
    done: list[int] = []
    path = plan_of(name, prediction, 7)

    async def network(x: Latents, timestep: float, _step: int) -> Latents:
        asked.append(timestep)
        assert x.dtype == np.float32
        return golden_cases.closed_form(x, timestep)

    async def on_step(steps_done: int, x0: Latents) -> None:
        assert x0.shape == TRAJECTORY_SHAPE
        done.append(steps_done)

    start = noise.start_noise(SEED, TRAJECTORY_SHAPE)
    await sample(SAMPLERS[name], network, start, path, noise=step_noise, on_step=on_step)
    assert sorted(asked) == sorted((*path.timesteps, *(level.timestep for level in path.second)))
    assert asked[0] == path.timesteps[0]
    assert len(asked) == path.calls
    assert done == [1, 2, 3, 4, 5, 6, 7]


@every
async def test_an_error_at_a_step_ends_the_walk_there(name: str, prediction: str) -> None:
    calls = 0

    async def network(x: Latents, timestep: float, _step: int) -> Latents:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise TimeoutError
        return golden_cases.closed_form(x, timestep)

    path = plan_of(name, prediction, 10)
    start = noise.start_noise(SEED, TRAJECTORY_SHAPE)
    with pytest.raises(TimeoutError):
        await sample(SAMPLERS[name], network, start, path, noise=step_noise, on_step=ignore)
    assert calls == 3


@every
async def test_start_latents_are_left_as_they_were(name: str, prediction: str) -> None:
    async def network(x: Latents, timestep: float, _step: int) -> Latents:
        return golden_cases.closed_form(x, timestep)

    start = noise.start_noise(SEED, TRAJECTORY_SHAPE)
    before = start.copy()
    path = plan_of(name, prediction, 4)
    await sample(SAMPLERS[name], network, start, path, noise=step_noise, on_step=ignore)
    np.testing.assert_array_equal(start, before)


def started(name: str, prediction: str, steps: int, strength: float) -> SamplingPath:
    return shorten(plan_of(name, prediction, steps), strength)


async def closed_form(x: Latents, timestep: float, _step: int) -> Latents:
    return golden_cases.closed_form(x, timestep)


@pytest.mark.parametrize(
    ("steps", "strength", "walked"),
    [(8, 1.0, 8), (8, 0.6, 4), (25, 0.3, 7), (50, 0.58, 28), (10, 0.7, 7), (8, 0.01, 1), (1, 0.5, 1)],
)
def test_strength_is_the_share_of_steps_that_are_walked(steps: int, strength: float, walked: int) -> None:
    """As diffusers rounds it; but one step at least is walked."""
    assert steps_walked(steps, strength) == walked
    whole, path = plan_of("euler", "epsilon", steps), started("euler", "epsilon", steps, strength)
    assert path.timesteps == whole.timesteps[-walked:]
    assert path.sigmas == whole.sigmas[-walked - 1 :]


@every
async def test_a_walk_begins_at_the_origins_latents_under_noise(name: str, prediction: str) -> None:
    """In the network's coordinates that is α·x₀ + σ̂·ε for every sampler."""
    asked: list[Latents] = []

    async def network(x: Latents, timestep: float, _step: int) -> Latents:
        asked.append(x)
        return golden_cases.closed_form(x, timestep)

    path, x0 = started(name, prediction, 10, 0.5), np.full(TRAJECTORY_SHAPE, 0.7, np.float32)
    start = noise.start_noise(SEED, TRAJECTORY_SHAPE)
    await sample(SAMPLERS[name], network, start, path, noise=step_noise, on_step=ignore, origin=Origin(x0))
    alpha, sigma_hat = path.mixture(path.sigmas[0])
    np.testing.assert_allclose(asked[0], alpha * x0 + sigma_hat * start, atol=1e-6)
    assert len(asked) == path.calls
    assert path.steps == 5


@every
@pytest.mark.parametrize("begin", [True, False])
async def test_what_a_mask_keeps_is_kept(name: str, prediction: str, begin: bool) -> None:
    """Bit for bit at the end; before that at the level of each step. The rest goes its own way."""
    x0 = noise.step_noise(SEED, 99, TRAJECTORY_SHAPE)
    mask = np.zeros((1, 1, *TRAJECTORY_SHAPE[2:]), np.float32)
    mask[..., 1:] = 1
    asked: list[Latents] = []
    sampler = SAMPLERS[name]

    async def walk(denoise: Denoise, x: Latents, path: SamplingPath, step_noise: StepNoise, keep: Keep) -> Latents:
        async def note(x: Latents, step: int, second: bool = False) -> Latents:
            if not second:
                asked.append(x)
            return await denoise(x, step, second)

        return await sampler.walk(note, x, path, step_noise, keep)

    path, start = plan_of(name, prediction, 6), noise.start_noise(SEED, TRAJECTORY_SHAPE)
    origin, noted = Origin(x0, begin=begin, mask=mask), replace(sampler, walk=walk)
    result = await sample(noted, closed_form, start, path, noise=step_noise, on_step=ignore, origin=origin)
    np.testing.assert_array_equal(result[..., :1], x0[..., :1])
    assert (result[..., 1:] != x0[..., 1:]).any()
    for x, sigma in list(zip(asked, path.sigmas, strict=False))[1:]:
        alpha, sigma_hat = path.mixture(sigma)
        np.testing.assert_allclose(x[..., :1], (alpha * x0 + sigma_hat * start)[..., :1], atol=1e-5)


@every
async def test_a_mask_of_ones_keeps_nothing(name: str, prediction: str) -> None:
    """The same bytes as without it."""
    path, start = started(name, prediction, 6, 0.5), noise.start_noise(SEED, TRAJECTORY_SHAPE)
    x0 = noise.step_noise(SEED, 99, TRAJECTORY_SHAPE)
    free, masked = [
        await sample(SAMPLERS[name], closed_form, start, path, noise=step_noise, on_step=ignore, origin=origin)
        for origin in (Origin(x0), Origin(x0, mask=np.ones((1, 1, *TRAJECTORY_SHAPE[2:]), np.float32)))
    ]
    np.testing.assert_array_equal(free, masked)
