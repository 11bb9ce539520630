"""Solvers of the DPM-Solver++ family: samplers that use what earlier steps predicted, or ask twice in a step.

λ = log(α / σ̂) is half the log of signal to noise. Of diffusion it is -log σ, of flow matching log((1 - σ) / σ).
"""

from __future__ import annotations

import math
from itertools import pairwise

from orchestrator.diffusion.sampling import Denoise, Keep, Latents, StepNoise
from orchestrator.diffusion.schedules import SamplingPath


async def dpmpp_2m(denoise: Denoise, x: Latents, path: SamplingPath, _noise: StepNoise, keep: Keep) -> Latents:
    """DPM-Solver++(2M) (Lu et al. 2022, algorithm 2), midpoint, first and last step of first order; α·x₀ + σ̂·ε.

    λ = log(α / σ̂) = -log σ, so the paper's e^(-h), h = λ_next - λ, is σ_next / σ; of flow matching with σ / (1 - σ).
    """
    x0_before, h_before = None, 0.0
    for step, (sigma, sigma_next) in enumerate(pairwise(path.sigmas)):
        x0 = await denoise(x, step)
        (_, sigma_hat), (alpha_next, sigma_hat_next) = path.mixture(sigma), path.mixture(sigma_next)
        D = x0
        shrink = path.noise_to_signal(sigma_next) / path.noise_to_signal(sigma)
        h = math.inf if shrink == 0 else -math.log(shrink)
        if x0_before is not None and step < path.steps - 1:
            r = h_before / h
            D = x0 + (x0 - x0_before) / (2 * r)
        x = keep((sigma_hat_next / sigma_hat) * x + alpha_next * (1 - shrink) * D, step)
        x0_before, h_before = x0, h
    return x


async def dpmpp_2m_sde(denoise: Denoise, x: Latents, path: SamplingPath, noise: StepNoise, keep: Keep) -> Latents:
    """SDE-DPM-Solver++(2M) (Lu et al. 2022, appendix B), midpoint, first and last step of first order; α·x₀ + σ̂·ε."""
    x0_before, h_before = None, 0.0
    for step, (sigma, sigma_next) in enumerate(pairwise(path.sigmas)):
        x0 = await denoise(x, step)
        (_, sigma_hat), (alpha_next, sigma_hat_next) = path.mixture(sigma), path.mixture(sigma_next)
        D = x0
        shrink = path.noise_to_signal(sigma_next) / path.noise_to_signal(sigma)  # e^(-h)
        h = math.inf if shrink == 0 else -math.log(shrink)
        if x0_before is not None and step < path.steps - 1:
            D = x0 + (x0 - x0_before) * (h / h_before / 2)
        x = (sigma_hat_next / sigma_hat * shrink) * x + alpha_next * (1 - shrink**2) * D
        if sigma_next > 0:
            x = x + sigma_hat_next * math.sqrt(1 - shrink**2) * noise(step)
        x = keep(x, step)
        x0_before, h_before = x0, h
    return x


async def dpmpp_sde(denoise: Denoise, x: Latents, path: SamplingPath, noise: StepNoise, keep: Keep) -> Latents:
    """DPM-Solver++ SDE (Lu et al. 2022) of second order, as Crowson's k-diffusion formulates it (r = 1/2); x₀ + σ·ε.

    A step asks the network at its start and, as path.second has it, in the middle of its λ. Both parts of a step are
    ancestral ones under one Brownian motion: what was added up to the middle is part of what is added over the whole.
    """
    for step, (sigma, sigma_next) in enumerate(pairwise(path.sigmas)):
        x0 = await denoise(path.input_scale(sigma) * x, step)
        if step >= len(path.second):  # to the end, or where noise vanishes: Euler's step
            x = keep(x0 if sigma_next == 0 else x + ((sigma_next - sigma) / sigma) * (x - x0), step)
            continue
        middle = path.second[step].sigma
        first = noise(step)
        at_middle = _ancestral(x, x0, sigma, middle, first)
        x0 = await denoise(path.input_scale(middle) * at_middle, step, second=True)
        share = (sigma - middle) / (sigma - sigma_next)
        whole = math.sqrt(share) * first + math.sqrt(1 - share) * noise(step, second=True)
        x = keep(_ancestral(x, x0, sigma, sigma_next, whole), step)
    return x


def _ancestral(x: Latents, x0: Latents, sigma: float, sigma_next: float, noise: Latents) -> Latents:
    """From σ to σ_down, and with noise of σ_up back to σ_next: σ_down² + σ_up² = σ_next²."""
    up = min(sigma_next, sigma_next * math.sqrt(1 - (sigma_next / sigma) ** 2))
    ratio = math.sqrt(sigma_next**2 - up**2) / sigma
    moved: Latents = ratio * x + (1 - ratio) * x0 + up * noise
    return moved


async def unipc(denoise: Denoise, x: Latents, path: SamplingPath, _noise: StepNoise, keep: Keep) -> Latents:
    """UniPC (Zhao et al. 2023, algorithms 5 to 8), order 2, B(h) = e^h - 1 (bh2), predicting x₀; α·x₀ + σ̂·ε.

    Each prediction also corrects the step that led to it, which costs no further network call.
    """
    levels = [-math.log(path.noise_to_signal(sigma)) for sigma in path.sigmas[:-1]]  # λ
    known: list[Latents] = []
    before = x
    for step in range(path.steps):
        x0 = await denoise(x, step)
        if step > 0:
            x = _corrected(before, x0, known, path, levels, step)
        before = x
        known.append(x0)
        sigma, sigma_next = path.sigmas[step], path.sigmas[step + 1]
        (_, sigma_hat), (alpha_next, sigma_hat_next) = path.mixture(sigma), path.mixture(sigma_next)
        shrink = path.noise_to_signal(sigma_next) / path.noise_to_signal(sigma)  # e^(-h)
        D = x0
        if _order(path, step) > 1:
            r = (levels[step - 1] - levels[step]) / -math.log(shrink)
            D = x0 + (known[step - 1] - x0) * (0.5 / r)
        x = keep((sigma_hat_next / sigma_hat) * x + alpha_next * (1 - shrink) * D, step)
    return x


def _order(path: SamplingPath, step: int) -> int:
    """Order of a step's predictor, and of the corrector that follows: 1 in the first step and the last, else 2."""
    return min(2, path.steps - step, step + 1)


def _corrected(
    before: Latents, x0: Latents, known: list[Latents], path: SamplingPath, levels: list[float], step: int
) -> Latents:
    """UniC: the walk from `before`, at the last step's start, to this one's, by what is now predicted here, too."""
    (_, sigma_hat), (alpha, sigma_hat_next) = path.mixture(path.sigmas[step - 1]), path.mixture(path.sigmas[step])
    h = levels[step] - levels[step - 1]
    b_h = math.expm1(-h)
    last = known[step - 1]
    phi_2 = b_h / -h - 1
    of_last, of_this = 0.0, 0.5
    if _order(path, step - 1) == 2:
        r = (levels[step - 2] - levels[step - 1]) / h
        b_1, b_2 = phi_2 / b_h, 2 * (phi_2 / -h - 0.5) / b_h
        rho = (b_1 - b_2) / (1 - r)
        of_last, of_this = rho / r, b_1 - rho
    change: Latents = of_this * (x0 - last)
    if of_last:
        change = change + of_last * (known[step - 2] - last)
    corrected: Latents = (sigma_hat_next / sigma_hat) * before - alpha * b_h * (last + change)
    return corrected
