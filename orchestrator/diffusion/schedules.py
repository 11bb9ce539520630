"""Noise schedules: which noise levels a sampler visits, and what timestep the network gets there.

Symbols, after Song et al. 2021 (DDIM), Karras et al. 2022 (EDM) and Lu et al. 2022 (DPM-Solver++):

    ᾱ_t  alphas_cumprod[t]: share of the signal's variance left after t training steps
    α    sqrt(ᾱ), σ̂ = sqrt(1 - ᾱ): the variance-preserving mixture x = α·x₀ + σ̂·ε that the networks were trained on
    σ    σ̂ / α = sqrt((1 - ᾱ) / ᾱ): noise level of the same mixture divided by α, x / α = x₀ + σ·ε

Coefficients are computed in float64 once per request and kept as Python floats; numpy multiplies a float32 array by a
Python float in float32, so latents stay float32 while no coefficient carries rounding of its own from step to step.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import pairwise

import numpy as np
import numpy.typing as npt

LCM_TRAINING_STEPS = 50
"""Timesteps a latent consistency model is distilled at (Luo et al. 2023, section 4.3: k = 20 of 1000)."""

TCD_GAMMA = 0.3
"""γ of Zheng et al. 2024: 0 adds no noise, 1 all of it. diffusers' default, too."""

KARRAS_RHO = 7.0
"""ρ of Karras et al. 2022, table 1."""


class Prediction(StrEnum):
    """What the network's output means."""

    EPSILON = "epsilon"
    """The noise ε (Ho et al. 2020)."""
    V_PREDICTION = "v_prediction"
    """The velocity v = α·ε - σ̂·x₀ (Salimans & Ho 2022, appendix D)."""
    FLOW = "flow"
    """The velocity v = ε - x₀ along the straight line (1 - σ)·x₀ + σ·ε (Lipman et al. 2023; Liu et al. 2023)."""


class Spacing(StrEnum):
    """How inference timesteps are picked from the training ones (Lin et al. 2023, table 2)."""

    LEADING = "leading"
    """Multiples of a whole stride from 0 up, plus steps_offset: never visits the last training timestep."""
    TRAILING = "trailing"
    """Strides from the last training timestep down: starts at the highest noise level."""
    LINSPACE = "linspace"
    """Evenly from the last training timestep to the first, both visited; Euler's methods do not round them."""


@dataclass(frozen=True)
class NoiseSchedule:
    """The noise levels that a family's networks were trained on, and how to walk them.

    The fields have the names of diffusers' scheduler_config.json, where a family's values come from.
    """

    alphas_cumprod: npt.NDArray[np.float64] = field(repr=False)
    """ᾱ_t for t = 0 .. T-1, strictly decreasing in (0, 1)."""
    prediction: Prediction
    spacing: Spacing = Spacing.TRAILING
    steps_offset: int = 0
    """Added to leading timesteps; 1 for Stable Diffusion 1.x."""
    set_alpha_to_one: bool = True
    """Whether DDIM's last step goes to ᾱ = 1 (no noise) or only to ᾱ_0; False for Stable Diffusion 1.x."""

    @classmethod
    def scaled_linear(
        cls,
        prediction: Prediction,
        *,
        beta_start: float = 0.00085,
        beta_end: float = 0.012,
        train_steps: int = 1000,
        spacing: Spacing = Spacing.TRAILING,
        steps_offset: int = 0,
        set_alpha_to_one: bool = True,
    ) -> NoiseSchedule:
        """The schedule of latent diffusion (Rombach et al. 2022): sqrt(β_t) linear in t, ᾱ_t = Π (1 - β_s).

        β is rounded to float32 as in training: the networks learned that table, not the exact one.
        """
        sqrt_beta = np.linspace(math.sqrt(beta_start), math.sqrt(beta_end), train_steps).astype(np.float32)
        alphas = 1 - sqrt_beta**2
        return cls(np.cumprod(alphas, dtype=np.float64), prediction, spacing, steps_offset, set_alpha_to_one)

    @property
    def train_steps(self) -> int:
        """T, the number of training timesteps."""
        return len(self.alphas_cumprod)

    @property
    def max_steps(self) -> int:
        """Most inference steps: with more, leading strides shrink to one timestep and steps_offset leaves the table."""
        return self.train_steps // 2

    @property
    def sigmas(self) -> npt.NDArray[np.float64]:
        """σ_t for t = 0 .. T-1, increasing."""
        sigmas: npt.NDArray[np.float64] = np.sqrt((1 - self.alphas_cumprod) / self.alphas_cumprod)
        return sigmas


@dataclass(frozen=True)
class Level:
    """Where a network is asked: a noise level, and the timestep that the network gets there."""

    timestep: float
    sigma: float


@dataclass(frozen=True)
class SamplingPath:
    """The walk of one request: len(timesteps) steps, from noise level sigmas[i] to sigmas[i + 1]."""

    timesteps: tuple[float, ...]
    """The timestep that the network gets at each step, decreasing, in [0, T)."""
    sigmas: tuple[float, ...]
    """σ before each step and, last, the level where the walk ends (mostly 0). One longer than timesteps."""
    init_sigma: float
    """Standard deviation of the first latents, in the sampler's own coordinates: x = init_sigma * N(0, I)."""
    prediction: Prediction
    second: tuple[Level, ...] = ()
    """Where methods of second order ask the network again in each of the first steps; the others ask once."""
    below: tuple[float, ...] = ()
    """σ that each step of TCD goes down to before noise is added; empty for other samplers."""

    @property
    def steps(self) -> int:
        """Number of steps."""
        return len(self.timesteps)

    @property
    def calls(self) -> int:
        """Number of network calls."""
        return self.steps + len(self.second)

    @property
    def flows(self) -> bool:
        """Whether noise is mixed in along a straight line: σ is then in [0, 1], the share of noise."""
        return self.prediction is Prediction.FLOW

    def mixture(self, sigma: float) -> tuple[float, float]:
        """(factor of x₀, factor of ε) at noise level σ, in the coordinates that the network sees."""
        return (1 - sigma, sigma) if self.flows else mixture(sigma)

    def noise_to_signal(self, sigma: float) -> float:
        """The factor of ε divided by that of x₀; infinite where no signal is left."""
        if not self.flows:
            return sigma
        return sigma / (1 - sigma) if sigma < 1 else math.inf

    def input_scale(self, sigma: float) -> float:
        """What x is multiplied by for the network, in coordinates where dx/dσ = (x - x₀) / σ: c_in of Karras et al."""
        return 1.0 if self.flows else mixture(sigma)[0]


def steps_walked(steps: int, strength: float, *, flows: bool = False) -> int:
    """How many of `steps` are walked from a picture's latents, strength in (0, 1]; at least one.

    diffusers' rules: min(int(steps * strength), steps), and for flow matching the same rounded up. Where it would do
    nothing, the last step is done.
    """
    if flows:
        return max(1, steps - int(steps - min(steps * strength, steps)))
    return max(1, min(int(steps * strength), steps))


def shorten(path: SamplingPath, strength: float) -> SamplingPath:
    """The end of a path, for a walk that starts from a picture's latents: its last steps_walked steps."""
    first = path.steps - steps_walked(path.steps, strength, flows=path.flows)
    return replace(
        path,
        timesteps=path.timesteps[first:],
        sigmas=path.sigmas[first:],
        second=path.second[first:],
        below=path.below[first:],
    )


def mixture(sigma: float) -> tuple[float, float]:
    """(α, σ̂) of the variance-preserving mixture at noise level σ (Lu et al. 2022)."""
    alpha = 1 / math.sqrt(1 + sigma**2)
    return alpha, sigma * alpha


def ddim_path(schedule: NoiseSchedule, steps: int) -> SamplingPath:
    """Even timesteps; the last step goes to ᾱ = 1 or ᾱ_0 by schedule.set_alpha_to_one.

    A step leads to the next timestep of the path. diffusers' DDIMScheduler takes strides of T // steps instead, which
    with trailing spacing drift from its own timesteps where steps does not divide T; elsewhere both are the same.
    """
    timesteps = even_timesteps(schedule, steps)
    last = 0.0 if schedule.set_alpha_to_one else float(schedule.sigmas[0])
    return _path(schedule, timesteps, schedule.sigmas[timesteps], last=last)


def ddpm_path(schedule: NoiseSchedule, steps: int) -> SamplingPath:
    """Even timesteps; the last step goes to no noise."""
    timesteps = even_timesteps(schedule, steps)
    return _path(schedule, timesteps, schedule.sigmas[timesteps])


def tcd_path(schedule: NoiseSchedule, steps: int) -> SamplingPath:
    """LCM's timesteps; the walk ends at ᾱ_0. Each step first goes to (1 - γ) of its target's timestep, rounded down."""
    path = lcm_path(schedule, steps)
    targets = [*path.timesteps[1:], 0.0]
    table = schedule.sigmas
    below = tuple(float(table[math.floor((1 - TCD_GAMMA) * target)]) for target in targets)
    return replace(path, sigmas=(*path.sigmas[:-1], float(table[0])), below=below)


def dpm_sde_path(schedule: NoiseSchedule, steps: int) -> SamplingPath:
    """Euler's path; each step but the last asks the network again in the middle of its log σ."""
    path, table = euler_path(schedule, steps), schedule.sigmas
    middles = [math.sqrt(a * b) for a, b in pairwise(path.sigmas[:-1])]
    logs = np.log(np.asarray(middles, np.float64))
    timesteps = np.interp(logs, np.log(table), np.arange(len(table)))
    return replace(path, second=tuple(Level(float(t), sigma) for t, sigma in zip(timesteps, middles, strict=True)))


def euler_path(schedule: NoiseSchedule, steps: int) -> SamplingPath:
    """Even timesteps for Euler's method in the coordinates x₀ + σ·ε, so x starts with σ_max's deviation.

    With leading spacing the start has the deviation of signal and noise together, sqrt(σ_max² + 1), as in diffusers.
    """
    if schedule.spacing is Spacing.LINSPACE:
        _check(steps, schedule.max_steps)
        timesteps = _whole_range(schedule, steps)
    else:
        timesteps = even_timesteps(schedule, steps).astype(np.float64)
    sigmas = np.interp(timesteps, np.arange(schedule.train_steps), schedule.sigmas)
    top = float(sigmas[0])
    init_sigma = math.hypot(top, 1) if schedule.spacing is Spacing.LEADING else top
    return _path(schedule, timesteps, sigmas, init_sigma=init_sigma)


def heun_path(schedule: NoiseSchedule, steps: int) -> SamplingPath:
    """Euler's path; each step but the last asks the network again where it ends (diffusers' HeunDiscreteScheduler)."""
    return with_second_at_ends(euler_path(schedule, steps))


def with_second_at_ends(path: SamplingPath) -> SamplingPath:
    """The same steps, but for the last with a second network call where they end."""
    ends = zip(path.timesteps[1:], path.sigmas[1:], strict=False)
    return replace(path, second=tuple(Level(timestep, sigma) for timestep, sigma in ends))


def dpm_path(schedule: NoiseSchedule, steps: int) -> SamplingPath:
    """Even timesteps as diffusers' DPMSolverMultistepScheduler picks them: those of one step more, without the last.

    But for trailing spacing.
    """
    _check(steps, schedule.max_steps)
    if schedule.spacing is Spacing.TRAILING:
        timesteps = even_timesteps(schedule, steps)
    elif schedule.spacing is Spacing.LINSPACE:
        timesteps = _whole_range(schedule, steps + 1)[:-1].round().astype(np.int64)
    else:
        timesteps = np.arange(steps, 0, -1) * (schedule.train_steps // (steps + 1)) + schedule.steps_offset
    return _path(schedule, timesteps, schedule.sigmas[timesteps])


def karras_path(schedule: NoiseSchedule, steps: int) -> SamplingPath:
    """Noise levels even in σ^(1/ρ) over the whole trained range (Karras et al. 2022, formula 5), whatever the spacing.

    The network gets the training timestep nearest to each level, by interpolation in log σ.
    """
    _check(steps, schedule.max_steps)
    table = schedule.sigmas
    top, bottom = table[-1] ** (1 / KARRAS_RHO), table[0] ** (1 / KARRAS_RHO)
    sigmas = np.linspace(top, bottom, steps) ** KARRAS_RHO
    timesteps = np.interp(np.log(sigmas), np.log(table), np.arange(len(table))).round()
    return _path(schedule, timesteps, sigmas)


def lcm_path(schedule: NoiseSchedule, steps: int) -> SamplingPath:
    """Even picks from the 50 timesteps 19, 39 .. 999 of the distillation, whatever the spacing; at most 50 steps."""
    _check(steps, LCM_TRAINING_STEPS)
    k = schedule.train_steps // LCM_TRAINING_STEPS
    picks = LCM_TRAINING_STEPS - np.arange(steps) * LCM_TRAINING_STEPS // steps
    timesteps = picks * k - 1
    return _path(schedule, timesteps, schedule.sigmas[timesteps])


def even_timesteps(schedule: NoiseSchedule, steps: int) -> npt.NDArray[np.int64]:
    """Decreasing int64 (steps,) timesteps by the schedule's spacing (Lin et al. 2023, table 2).

    Raises:
        ValueError: steps outside 1 .. schedule.max_steps.
    """
    _check(steps, schedule.max_steps)
    if schedule.spacing is Spacing.LEADING:
        return np.arange(steps - 1, -1, -1) * (schedule.train_steps // steps) + schedule.steps_offset
    if schedule.spacing is Spacing.LINSPACE:
        return _whole_range(schedule, steps).round().astype(np.int64)
    # As diffusers writes it, for the same rounding of halves; of 61 steps, among others, arange makes one too many.
    down = np.arange(schedule.train_steps, 0, -schedule.train_steps / steps)[:steps]
    return np.round(down).astype(np.int64) - 1


def _whole_range(schedule: NoiseSchedule, steps: int) -> npt.NDArray[np.float64]:
    """Decreasing (steps,) from the last training timestep to the first; of one step the first."""
    return np.linspace(0, schedule.train_steps - 1, steps)[::-1]


def _path(
    schedule: NoiseSchedule,
    timesteps: npt.NDArray[np.int64] | npt.NDArray[np.float64],
    sigmas: npt.NDArray[np.float64],
    *,
    last: float = 0.0,
    init_sigma: float = 1.0,
) -> SamplingPath:
    return SamplingPath(
        timesteps=tuple(float(t) for t in timesteps),
        sigmas=(*(float(sigma) for sigma in sigmas), last),
        init_sigma=init_sigma,
        prediction=schedule.prediction,
    )


def _check(steps: int, most: int) -> None:
    if not 1 <= steps <= most:
        raise ValueError(f"steps must be between 1 and {most}, not {steps}")
