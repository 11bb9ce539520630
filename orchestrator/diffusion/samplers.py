"""Samplers: each a free function that walks latents from noise to picture, after the paper it names.

A sampler knows nothing of networks, guidance or requests: it asks `denoise` for the picture x₀ that the network sees
in x, and moves x one noise level down; after each step `keep` puts back what a mask protects (sampling.py).
"""

from __future__ import annotations

import math
from itertools import pairwise

from orchestrator.diffusion import flow
from orchestrator.diffusion.sampling import Denoise, Keep, Latents, Sampler, StepNoise
from orchestrator.diffusion.schedules import (
    LCM_TRAINING_STEPS,
    SamplingPath,
    ddim_path,
    ddpm_path,
    dpm_path,
    dpm_sde_path,
    euler_path,
    heun_path,
    karras_path,
    lcm_path,
    tcd_path,
)
from orchestrator.diffusion.solvers import dpmpp_2m, dpmpp_2m_sde, dpmpp_sde, unipc


async def ddim(denoise: Denoise, x: Latents, path: SamplingPath, _noise: StepNoise, keep: Keep) -> Latents:
    """Denoising Diffusion Implicit Models (Song et al. 2021, formula 12 with η = 0); x = α·x₀ + σ̂·ε.

    Formula 12, α'·x₀ + σ̂'·ε with ε = (x - α·x₀) / σ̂, is gathered by x and x₀: no difference is divided by a small σ̂.
    """
    for step, (sigma, sigma_next) in enumerate(pairwise(path.sigmas)):
        x0 = await denoise(x, step)
        (alpha, sigma_hat), (alpha_next, sigma_hat_next) = path.mixture(sigma), path.mixture(sigma_next)
        ratio = sigma_hat_next / sigma_hat
        x = keep(ratio * x + (alpha_next - ratio * alpha) * x0, step)
    return x


async def euler(denoise: Denoise, x: Latents, path: SamplingPath, _noise: StepNoise, keep: Keep) -> Latents:
    """Euler's method on the probability flow ODE (Karras et al. 2022, algorithm 1 without its correction); x₀ + σ·ε.

    Of flow matching, on its straight lines, where (x - x₀) / σ is the velocity (Liu et al. 2023, algorithm 1).
    """
    for step, (sigma, sigma_next) in enumerate(pairwise(path.sigmas)):
        x0 = await denoise(path.input_scale(sigma) * x, step)
        d = (x - x0) / sigma  # dx/dσ, formula 3
        x = keep(x + (sigma_next - sigma) * d, step)
    return x


async def heun(denoise: Denoise, x: Latents, path: SamplingPath, _noise: StepNoise, keep: Keep) -> Latents:
    """Heun's method (Karras et al. 2022, algorithm 1): Euler's step, then the mean of the slopes at both its ends."""
    for step, (sigma, sigma_next) in enumerate(pairwise(path.sigmas)):
        x0 = await denoise(path.input_scale(sigma) * x, step)
        d: Latents = (x - x0) / sigma
        end: Latents = x + (sigma_next - sigma) * d
        if step < len(path.second):
            x0 = await denoise(path.input_scale(sigma_next) * end, step, second=True)
            d_end: Latents = (end - x0) / sigma_next
            end = x + 0.5 * (sigma_next - sigma) * (d + d_end)
        x = keep(end, step)
    return x


async def euler_ancestral(denoise: Denoise, x: Latents, path: SamplingPath, noise: StepNoise, keep: Keep) -> Latents:
    """Ancestral sampling (Ho et al. 2020) by Euler steps, as Crowson's k-diffusion formulates it; x = x₀ + σ·ε.

    Each step goes below its target, to σ_down, and fresh noise of σ_up brings it back: σ_down² + σ_up² = σ_next².
    """
    for step, (sigma, sigma_next) in enumerate(pairwise(path.sigmas)):
        x0 = await denoise(path.input_scale(sigma) * x, step)
        sigma_up = sigma_next * math.sqrt(1 - (sigma_next / sigma) ** 2)  # posterior deviation, Ho et al. formula 7
        sigma_down = sigma_next**2 / sigma  # sqrt(σ_next² - σ_up²)
        d = (x - x0) / sigma
        x = x + (sigma_down - sigma) * d
        if sigma_up > 0:
            x = x + sigma_up * noise(step)
        x = keep(x, step)
    return x


async def lcm(denoise: Denoise, x: Latents, path: SamplingPath, noise: StepNoise, keep: Keep) -> Latents:
    """Latent consistency sampling (Luo et al. 2023, algorithm 3): predict x₀, add the next level's noise, repeat.

    c_skip and c_out (formula 9) hold the boundary condition f(x, 0) = x, with diffusers' timestep scaling of 10. Of
    flow matching x₀ = x - σ·v holds it by itself.
    """
    sigma_data, timestep_scaling = 0.5, 10.0
    for step, timestep in enumerate(path.timesteps):
        x0 = await denoise(x, step)
        t = timestep_scaling * timestep
        c_skip = sigma_data**2 / (t**2 + sigma_data**2)
        c_out = t / math.hypot(t, sigma_data)
        x = x0 if path.flows else c_out * x0 + c_skip * x
        if step < path.steps - 1:
            alpha_next, sigma_hat_next = path.mixture(path.sigmas[step + 1])
            x = alpha_next * x + sigma_hat_next * noise(step)
        x = keep(x, step)
    return x


async def ddpm(denoise: Denoise, x: Latents, path: SamplingPath, noise: StepNoise, keep: Keep) -> Latents:
    """Denoising Diffusion Probabilistic Models (Ho et al. 2020, algorithm 2) over the path's timesteps; α·x₀ + σ̂·ε.

    Mean and variance of formula 7; β is what leads from one timestep of the path to the next (1 - ᾱ / ᾱ_next).
    """
    for step, (sigma, sigma_next) in enumerate(pairwise(path.sigmas)):
        x0 = await denoise(x, step)
        (alpha, sigma_hat), (alpha_next, sigma_hat_next) = path.mixture(sigma), path.mixture(sigma_next)
        beta, left = 1 - (alpha / alpha_next) ** 2, (sigma_hat_next / sigma_hat) ** 2
        x = (alpha_next * beta / sigma_hat**2) * x0 + (alpha / alpha_next * left) * x
        if sigma_next > 0:
            x = x + math.sqrt(beta * left) * noise(step)
        x = keep(x, step)
    return x


async def tcd(denoise: Denoise, x: Latents, path: SamplingPath, noise: StepNoise, keep: Keep) -> Latents:
    """Trajectory consistency sampling (Zheng et al. 2024, algorithm 4), γ = TCD_GAMMA; α·x₀ + σ̂·ε.

    Each step goes along the trajectory below its target, to path.below, and noise brings it back up; but for the last.
    """
    for step, (sigma, sigma_next) in enumerate(pairwise(path.sigmas)):
        x0 = await denoise(x, step)
        (alpha, sigma_hat), (alpha_below, sigma_hat_below) = path.mixture(sigma), path.mixture(path.below[step])
        ratio = sigma_hat_below / sigma_hat
        x = ratio * x + (alpha_below - ratio * alpha) * x0
        if step < path.steps - 1:
            alpha_next, _ = path.mixture(sigma_next)
            x = (alpha_next / alpha_below) * x + math.sqrt(1 - (alpha_next / alpha_below) ** 2) * noise(step)
        x = keep(x, step)
    return x


MAX_STEPS = 500
"""Half of the 1000 timesteps that the networks are trained on: NoiseSchedule.max_steps."""

SAMPLERS = {
    "ddim": Sampler(ddim_path, ddim, MAX_STEPS),
    "euler": Sampler(euler_path, euler, MAX_STEPS, exploding=True, flow_path=flow.euler_path),
    "euler_ancestral": Sampler(euler_path, euler_ancestral, MAX_STEPS, exploding=True),
    "heun": Sampler(heun_path, heun, MAX_STEPS, exploding=True, flow_path=flow.heun_path),
    "dpmpp_2m": Sampler(dpm_path, dpmpp_2m, MAX_STEPS, flow_path=flow.dpm_path),
    "dpmpp_2m_karras": Sampler(karras_path, dpmpp_2m, MAX_STEPS),
    "lcm": Sampler(lcm_path, lcm, LCM_TRAINING_STEPS, flow_path=flow.euler_path),
    "unipc": Sampler(dpm_path, unipc, MAX_STEPS, flow_path=flow.unipc_path),
    "dpmpp_sde": Sampler(dpm_sde_path, dpmpp_sde, MAX_STEPS, exploding=True),
    "dpmpp_2m_sde": Sampler(dpm_path, dpmpp_2m_sde, MAX_STEPS, flow_path=flow.dpm_path),
    "ddpm": Sampler(ddpm_path, ddpm, MAX_STEPS),
    "tcd": Sampler(tcd_path, tcd, LCM_TRAINING_STEPS),
}
"""Every sampler by the name that requests and families.toml use."""
