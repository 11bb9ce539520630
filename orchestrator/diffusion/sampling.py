"""How a sampler is called: what it asks of the network, where a walk starts, and what a mask keeps.

A sampler holds x in its paper's coordinates: `α·x₀ + σ̂·ε` (variance preserving, what the networks were trained on) or
that divided by α, `x₀ + σ·ε`. Of flow matching both are the network's own, `(1 - σ)·x₀ + σ·ε`. Symbols are explained in
schedules.py. Every step awaits the network, so cancelling a
task, or an error that the network call raises, ends a walk between two steps. No state outlives a call.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from orchestrator.diffusion.flow import FlowSchedule
from orchestrator.diffusion.schedules import Level, NoiseSchedule, Prediction, SamplingPath, mixture

Latents = npt.NDArray[np.float32]
"""(1, C, h, w) float32: one picture's latents."""


class Denoise(Protocol):
    """The picture that the network sees in noise."""

    def __call__(self, x: Latents, step: int, second: bool = False) -> Awaitable[Latents]:
        """(x as the network sees it, step index) -> predicted x₀; with `second` at the level path.second[step]."""
        ...


Network = Callable[[Latents, float, int], Awaitable[Latents]]
"""(x as the network sees it, timestep, step index) -> output after guidance: ε or v, by the path's prediction."""


class StepNoise(Protocol):
    """Noise of a walk."""

    def __call__(self, step: int, second: bool = False) -> Latents:
        """N(0, I) of the latents' shape: the same each time for the same step, `second` a further one."""
        ...


class Skipper(Protocol):
    """Which steps are predicted without the network; skipping.py has one."""

    def __call__(self, step: int, *, second: bool = False) -> Latents | None:
        """x₀ at a step that is skipped, as Denoise answers it; None where the network must be asked."""
        ...

    def note(self, step: int, x0: Latents) -> None:
        """What the first network call of a step gave."""
        ...


Keep = Callable[[Latents, int], Latents]
"""(x after a step, in the sampler's coordinates, step index) -> x with what must not change put back."""

OnStep = Callable[[int, Latents], Awaitable[None]]
"""(steps done so far, predicted x₀), awaited after the last network call of each step: for progress and previews."""


@dataclass(frozen=True)
class Sampler:
    """A walk over noise levels and the rule for each of its steps."""

    path: Callable[[NoiseSchedule, int], SamplingPath]
    """Lays out the noise levels of a number of steps; raises ValueError outside 1 .. max_steps."""
    walk: Callable[[Denoise, Latents, SamplingPath, StepNoise, Keep], Awaitable[Latents]]
    """Takes latents from path.init_sigma * N(0, I), or from a picture's at path.sigmas[0], to a picture's latents."""
    max_steps: int
    exploding: bool = False
    """Whether x is held as x₀ + σ·ε, not as α·x₀ + σ̂·ε (Song et al. 2021, SDE: variance exploding)."""
    flow_path: Callable[[FlowSchedule, int, int], SamplingPath] | None = None
    """The same for flow matching, of steps and tokens; None where the method has no meaning there."""

    def layout(self, schedule: NoiseSchedule | FlowSchedule, steps: int, tokens: int) -> SamplingPath:
        """The path on a family's schedule, of a picture of `tokens` tokens.

        Raises:
            ValueError: steps outside 1 .. max_steps, or this sampler does not walk flow matching.
        """
        if isinstance(schedule, NoiseSchedule):
            return self.path(schedule, steps)
        if self.flow_path is None:
            raise ValueError("this sampler does not walk flow matching")
        return self.flow_path(schedule, steps, tokens)

    def noised(self, path: SamplingPath, x0: Latents, noise: Latents, sigma: float) -> Latents:
        """x₀ at noise level σ, as this sampler holds it."""
        signal, level = (1.0, sigma) if self.exploding and not path.flows else path.mixture(sigma)
        return signal * x0 + level * noise


@dataclass(frozen=True)
class Origin:
    """A picture that a walk starts from, or keeps parts of."""

    latents: Latents
    """Its x₀."""
    begin: bool = True
    """Whether the walk starts from these latents, noised to the path's first level, or from noise alone."""
    mask: Latents | None = None
    """(1, 1, h, w) in [0, 1]: 1 where the picture may change, 0 where it is kept; None where all may change."""


async def sample(
    sampler: Sampler,
    network: Network,
    start: Latents,
    path: SamplingPath,
    *,
    noise: StepNoise,
    on_step: OnStep,
    origin: Origin | None = None,
    skipper: Skipper | None = None,
) -> Latents:
    """Denoise by `path`; the result is the picture's latents, of the shape of `start`, which is a draw of N(0, I).

    With an origin, its latents under the noise `start` are where the walk begins (Meng et al. 2022, SDEdit), and what
    its mask keeps is put back after each step at the level that the step leads to, under that same noise (Lugmayr et
    al. 2022, RePaint, formula 8a, without resampling; as diffusers' StableDiffusionInpaintPipeline does it): without
    noise after the last step. With a skipper the network is not asked in the steps that it skips.

    What network or on_step raises passes through, and nothing further is called.
    """

    async def denoise(x: Latents, step: int, second: bool = False) -> Latents:  # Denoise
        at = path.second[step] if second else Level(path.timesteps[step], path.sigmas[step])
        x0 = None if skipper is None else skipper(step, second=second)
        if x0 is None:
            x0 = predict_x0(path.prediction, x, await network(x, at.timestep, step), at.sigma)
            if skipper is not None and not second:
                skipper.note(step, x0)
        if second or step >= len(path.second):
            await on_step(step + 1, x0)
        return x0

    def keep(x: Latents, step: int) -> Latents:
        if origin is None or origin.mask is None:
            return x
        last = step == path.steps - 1
        kept = origin.latents if last else sampler.noised(path, origin.latents, start, path.sigmas[step + 1])
        return (1 - origin.mask) * kept + origin.mask * x

    if origin is not None and origin.begin:
        x = sampler.noised(path, origin.latents, start, path.sigmas[0])
    else:
        x = path.init_sigma * start
    return await sampler.walk(denoise, x, path, noise, keep)


def predict_x0(prediction: Prediction, x: Latents, output: Latents, sigma: float) -> Latents:
    """x₀ from the network's output at x = α·x₀ + σ̂·ε.

    epsilon: x₀ = (x - σ̂·ε) / α (Song et al. 2021, formula 9); v: x₀ = α·x - σ̂·v (Salimans & Ho 2022, appendix D);
    flow, at x = (1 - σ)·x₀ + σ·ε: x₀ = x - σ·v (Liu et al. 2023, with time reversed).
    """
    if prediction is Prediction.FLOW:
        return x - sigma * output
    alpha, sigma_hat = mixture(sigma)
    if prediction is Prediction.EPSILON:
        signal: Latents = x - sigma_hat * output  # α·x₀
        return signal * (1 / alpha)
    return alpha * x - sigma_hat * output
