"""Schedules of flow matching: how much noise is left at each step, moved by the picture's size where a model wants it.

x = (1 - σ)·x₀ + σ·ε with σ from 1 (noise) to 0 (picture): Lipman et al. 2023, Liu et al. 2023 (rectified flow), with
time reversed as in Esser et al. 2024 (Stable Diffusion 3). The network gets 1000·σ and answers v = ε - x₀.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from orchestrator.diffusion.schedules import Prediction, SamplingPath, with_second_at_ends

EMPIRICAL_TOKENS = 4300
"""Above this many tokens FLUX.2's shift no longer depends on the number of steps."""


class Shift(StrEnum):
    """What decides how far noise levels are moved towards noise."""

    FIXED = "fixed"
    """Nothing: `shift` holds for all (Esser et al. 2024, formula 23)."""
    SIZE = "size"
    """The picture's tokens, exponentially: FLUX.1, Qwen-Image (diffusers: use_dynamic_shifting)."""
    SIZE_LINEAR = "size_linear"
    """The same with the interpolated value itself as the factor (diffusers: time_shift_type linear)."""
    SIZE_AND_STEPS = "size_and_steps"
    """Tokens and number of steps, by FLUX.2's fit (diffusers: compute_empirical_mu)."""


class FlowSpacing(StrEnum):
    """Levels of n steps before they are moved."""

    TRAILING = "trailing"
    """1, (n-1)/n .. 1/n: FLUX, Z-Image, Qwen-Image."""
    LINSPACE = "linspace"
    """Evenly from 1 to the smallest trained level, both visited: Stable Diffusion 3."""


@dataclass(frozen=True)
class FlowSchedule:
    """How a flow model's levels are laid out; the fields bear diffusers' names where it has them."""

    shift_by: Shift = Shift.FIXED
    shift: float = 1.0
    """Factor of FIXED: 1 moves nothing, 3 is Stable Diffusion 3's."""
    base_shift: float = 0.5
    """Of SIZE: log of the factor at base_image_seq_len tokens; of SIZE_LINEAR the factor."""
    max_shift: float = 1.15
    """The same at max_image_seq_len tokens; in between, and beyond, on the straight line through both."""
    base_image_seq_len: int = 256
    max_image_seq_len: int = 4096
    shift_terminal: float | None = None
    """Level of the last step, to which all are stretched; None for no stretching. Qwen-Image: 0.02."""
    spacing: FlowSpacing = FlowSpacing.TRAILING
    train_steps: int = 1000
    """What σ is multiplied by for the network."""

    @property
    def max_steps(self) -> int:
        """Most inference steps, as of NoiseSchedule."""
        return self.train_steps // 2

    def factor(self, tokens: int, steps: int) -> float:
        """By how much the odds of noise, σ / (1 - σ), grow for a picture of `tokens` tokens."""
        if self.shift_by is Shift.FIXED:
            return self.shift
        if self.shift_by is Shift.SIZE_AND_STEPS:
            return math.exp(_empirical(tokens, steps))
        slope = (self.max_shift - self.base_shift) / (self.max_image_seq_len - self.base_image_seq_len)
        value = self.base_shift + slope * (tokens - self.base_image_seq_len)
        return value if self.shift_by is Shift.SIZE_LINEAR else math.exp(value)

    def moved(self, sigmas: npt.NDArray[np.float64], factor: float) -> npt.NDArray[np.float64]:
        """Levels moved by a factor, the last then stretched to shift_terminal.

        Raises:
            ValueError: the factor is not above 0: the picture has too few or too many tokens for a linear shift.
        """
        if factor <= 0:
            raise ValueError(f"the shift of noise levels is {factor:.3g}; it must be above 0")
        moved: npt.NDArray[np.float64] = factor * sigmas / (factor * sigmas + (1 - sigmas))  # 1 stays 1 exactly
        if self.shift_terminal is None or moved[-1] >= 1:
            return moved
        stretched: npt.NDArray[np.float64] = 1 - (1 - moved) * ((1 - self.shift_terminal) / (1 - moved[-1]))
        return stretched


def euler_path(schedule: FlowSchedule, steps: int, tokens: int) -> SamplingPath:
    """Levels as diffusers' FlowMatchEulerDiscreteScheduler has them, given what that model's pipeline gives it.

    With linspace spacing a fixed shift moves the smallest level twice, as there.

    Raises:
        ValueError: steps outside 1 .. schedule.max_steps.
    """
    _check(schedule, steps)
    factor = schedule.factor(tokens, steps)
    if schedule.spacing is FlowSpacing.TRAILING:
        sigmas = np.linspace(1, 1 / steps, steps)
    else:
        bottom = 1 / schedule.train_steps
        if schedule.shift_by is Shift.FIXED:
            bottom = factor * bottom / (1 + (factor - 1) * bottom)
        sigmas = np.linspace(1, bottom, steps)
    return _path(schedule, schedule.moved(sigmas, factor))


def heun_path(schedule: FlowSchedule, steps: int, tokens: int) -> SamplingPath:
    """Euler's path with a second network call in each step but the last, as FlowMatchHeunDiscreteScheduler's."""
    return with_second_at_ends(euler_path(schedule, steps, tokens))


def dpm_path(schedule: FlowSchedule, steps: int, tokens: int) -> SamplingPath:
    """Levels as diffusers' DPMSolverMultistepScheduler has them (use_flow_sigmas), whatever the spacing.

    They begin below 1, where the logarithm of signal to noise is finite. The network gets whole timesteps.

    Raises:
        ValueError: steps outside 1 .. schedule.max_steps.
    """
    _check(schedule, steps)
    sigmas = (1 - 1 / schedule.train_steps) * np.arange(steps, 0, -1) / steps
    return _whole(_path(schedule, schedule.moved(sigmas, schedule.factor(tokens, steps))))


def unipc_path(schedule: FlowSchedule, steps: int, tokens: int) -> SamplingPath:
    """Levels as diffusers' UniPCMultistepScheduler has them (use_flow_sigmas), whatever the spacing.

    Evenly from 1 to the smallest trained level, which is not visited. They begin by 1e-6 below 1, in float32 as there:
    the signal that remains is so small that its rounding counts. The network gets whole timesteps.

    Raises:
        ValueError: steps outside 1 .. schedule.max_steps.
    """
    _check(schedule, steps)
    sigmas = np.linspace(1, 1 / schedule.train_steps, steps + 1)[:-1]
    sigmas = np.minimum(schedule.moved(sigmas, schedule.factor(tokens, steps)), 1 - 1e-6).astype(np.float32)
    return _whole(_path(schedule, sigmas.astype(np.float64)))


def _whole(path: SamplingPath) -> SamplingPath:
    """The same path with timesteps rounded down."""
    return replace(path, timesteps=tuple(float(int(timestep)) for timestep in path.timesteps))


def _path(schedule: FlowSchedule, sigmas: npt.NDArray[np.float64]) -> SamplingPath:
    levels = tuple(float(sigma) for sigma in sigmas)
    return SamplingPath(
        timesteps=tuple(sigma * schedule.train_steps for sigma in levels),
        sigmas=(*levels, 0.0),
        init_sigma=1.0,
        prediction=Prediction.FLOW,
    )


def _empirical(tokens: int, steps: int) -> float:
    """FLUX.2's fit: a line through the values at 10 and at 200 steps."""
    at_200 = 0.00016927 * tokens + 0.45666666
    if tokens > EMPIRICAL_TOKENS:
        return at_200
    at_10 = 8.73809524e-05 * tokens + 1.89833333
    return at_200 + (at_200 - at_10) / 190 * (steps - 200)


def _check(schedule: FlowSchedule, steps: int) -> None:
    if not 1 <= steps <= schedule.max_steps:
        raise ValueError(f"steps must be between 1 and {schedule.max_steps}, not {steps}")
