"""How a sampler is called: what it asks of the network, where a walk starts, and what a mask keeps.

A sampler holds x in its paper's coordinates: `α·x₀ + σ̂·ε` (variance preserving, what the networks were trained on) or
that divided by α, `x₀ + σ·ε`. Symbols are explained in schedules.py. Every step awaits the network, so cancelling a
task, or an error that the network call raises, ends a walk between two steps. No state outlives a call.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from orchestrator.diffusion.schedules import NoiseSchedule, Plan, Prediction, mixture

Latents = npt.NDArray[np.float32]
"""(1, C, h, w) float32: one picture's latents."""

Denoise = Callable[[Latents, int], Awaitable[Latents]]
"""(x in variance-preserving coordinates, step index) -> predicted x₀."""

Network = Callable[[Latents, float], Awaitable[Latents]]
"""(x in variance-preserving coordinates, timestep) -> output after guidance: ε or v, by the plan's prediction."""

StepNoise = Callable[[int], Latents]
"""Step index -> N(0, I) of the latents' shape; the same noise each time it is asked for the same step."""

Keep = Callable[[Latents, int], Latents]
"""(x after a step, in the sampler's coordinates, step index) -> x with what must not change put back."""

OnStep = Callable[[int, Latents], Awaitable[None]]
"""(steps done so far, predicted x₀), awaited after each network call: for progress and previews."""


@dataclass(frozen=True)
class Sampler:
    """A walk over noise levels and the rule for each of its steps."""

    plan: Callable[[NoiseSchedule, int], Plan]
    """Lays out the noise levels of a number of steps; raises ValueError outside 1 .. max_steps."""
    walk: Callable[[Denoise, Latents, Plan, StepNoise, Keep], Awaitable[Latents]]
    """Takes latents from plan.init_sigma * N(0, I), or from a picture's at plan.sigmas[0], to a picture's latents."""
    max_steps: int
    mixture: Callable[[float], tuple[float, float]] = mixture
    """σ -> (factor of x₀, factor of ε) in the sampler's coordinates."""

    def noised(self, x0: Latents, noise: Latents, sigma: float) -> Latents:
        """x₀ at noise level σ, as this sampler holds it."""
        signal, level = self.mixture(sigma)
        return signal * x0 + level * noise


@dataclass(frozen=True)
class Origin:
    """A picture that a walk starts from, or keeps parts of."""

    latents: Latents
    """Its x₀."""
    begin: bool = True
    """Whether the walk starts from these latents, noised to the plan's first level, or from noise alone."""
    mask: Latents | None = None
    """(1, 1, h, w) in [0, 1]: 1 where the picture may change, 0 where it is kept; None where all may change."""


async def sample(
    sampler: Sampler,
    network: Network,
    start: Latents,
    plan: Plan,
    *,
    noise: StepNoise,
    on_step: OnStep,
    origin: Origin | None = None,
) -> Latents:
    """Denoise by `plan`; the result is the picture's latents, of the shape of `start`, which is a draw of N(0, I).

    With an origin, its latents under the noise `start` are where the walk begins (Meng et al. 2022, SDEdit), and what
    its mask keeps is put back after each step at the level that the step leads to, under that same noise (Lugmayr et
    al. 2022, RePaint, formula 8a, without resampling; as diffusers' StableDiffusionInpaintPipeline does it): without
    noise after the last step.

    What network or on_step raises passes through, and nothing further is called.
    """

    async def denoise(x: Latents, step: int) -> Latents:
        output = await network(x, plan.timesteps[step])
        x0 = predict_x0(plan.prediction, x, output, plan.sigmas[step])
        await on_step(step + 1, x0)
        return x0

    def keep(x: Latents, step: int) -> Latents:
        if origin is None or origin.mask is None:
            return x
        last = step == plan.steps - 1
        kept = origin.latents if last else sampler.noised(origin.latents, start, plan.sigmas[step + 1])
        return (1 - origin.mask) * kept + origin.mask * x

    if origin is not None and origin.begin:
        x = sampler.noised(origin.latents, start, plan.sigmas[0])
    else:
        x = plan.init_sigma * start
    return await sampler.walk(denoise, x, plan, noise, keep)


def predict_x0(prediction: Prediction, x: Latents, output: Latents, sigma: float) -> Latents:
    """x₀ from the network's output at x = α·x₀ + σ̂·ε.

    epsilon: x₀ = (x - σ̂·ε) / α (Song et al. 2021, formula 9); v: x₀ = α·x - σ̂·v (Salimans & Ho 2022, appendix D).
    """
    alpha, sigma_hat = mixture(sigma)
    if prediction is Prediction.EPSILON:
        signal: Latents = x - sigma_hat * output  # α·x₀
        return signal * (1 / alpha)
    return alpha * x - sigma_hat * output
