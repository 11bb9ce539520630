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
    Plan,
    ddim_plan,
    dpm_plan,
    euler_plan,
    heun_plan,
    karras_plan,
    lcm_plan,
)


async def ddim(denoise: Denoise, x: Latents, plan: Plan, _noise: StepNoise, keep: Keep) -> Latents:
    """Denoising Diffusion Implicit Models (Song et al. 2021, formula 12 with η = 0); x = α·x₀ + σ̂·ε.

    Formula 12, α'·x₀ + σ̂'·ε with ε = (x - α·x₀) / σ̂, is gathered by x and x₀: no difference is divided by a small σ̂.
    """
    for step, (sigma, sigma_next) in enumerate(pairwise(plan.sigmas)):
        x0 = await denoise(x, step)
        (alpha, sigma_hat), (alpha_next, sigma_hat_next) = plan.mixture(sigma), plan.mixture(sigma_next)
        ratio = sigma_hat_next / sigma_hat
        x = keep(ratio * x + (alpha_next - ratio * alpha) * x0, step)
    return x


async def euler(denoise: Denoise, x: Latents, plan: Plan, _noise: StepNoise, keep: Keep) -> Latents:
    """Euler's method on the probability flow ODE (Karras et al. 2022, algorithm 1 without its correction); x₀ + σ·ε.

    Of flow matching, on its straight lines, where (x - x₀) / σ is the velocity (Liu et al. 2023, algorithm 1).
    """
    for step, (sigma, sigma_next) in enumerate(pairwise(plan.sigmas)):
        x0 = await denoise(plan.input_scale(sigma) * x, step)
        d = (x - x0) / sigma  # dx/dσ, formula 3
        x = keep(x + (sigma_next - sigma) * d, step)
    return x


async def heun(denoise: Denoise, x: Latents, plan: Plan, _noise: StepNoise, keep: Keep) -> Latents:
    """Heun's method (Karras et al. 2022, algorithm 1): Euler's step, then the mean of the slopes at both its ends."""
    for step, (sigma, sigma_next) in enumerate(pairwise(plan.sigmas)):
        x0 = await denoise(plan.input_scale(sigma) * x, step)
        d: Latents = (x - x0) / sigma
        end: Latents = x + (sigma_next - sigma) * d
        if step < len(plan.second):
            x0 = await denoise(plan.input_scale(sigma_next) * end, step, second=True)
            d_end: Latents = (end - x0) / sigma_next
            end = x + 0.5 * (sigma_next - sigma) * (d + d_end)
        x = keep(end, step)
    return x


async def euler_ancestral(denoise: Denoise, x: Latents, plan: Plan, noise: StepNoise, keep: Keep) -> Latents:
    """Ancestral sampling (Ho et al. 2020) by Euler steps, as Crowson's k-diffusion formulates it; x = x₀ + σ·ε.

    Each step goes below its target, to σ_down, and fresh noise of σ_up brings it back: σ_down² + σ_up² = σ_next².
    """
    for step, (sigma, sigma_next) in enumerate(pairwise(plan.sigmas)):
        x0 = await denoise(plan.input_scale(sigma) * x, step)
        sigma_up = sigma_next * math.sqrt(1 - (sigma_next / sigma) ** 2)  # posterior deviation, Ho et al. formula 7
        sigma_down = sigma_next**2 / sigma  # sqrt(σ_next² - σ_up²)
        d = (x - x0) / sigma
        x = x + (sigma_down - sigma) * d
        if sigma_up > 0:
            x = x + sigma_up * noise(step)
        x = keep(x, step)
    return x


async def dpmpp_2m(denoise: Denoise, x: Latents, plan: Plan, _noise: StepNoise, keep: Keep) -> Latents:
    """DPM-Solver++(2M) (Lu et al. 2022, algorithm 2), midpoint, first and last step of first order; α·x₀ + σ̂·ε.

    λ = log(α / σ̂) = -log σ, so the paper's e^(-h), h = λ_next - λ, is σ_next / σ; of flow matching with σ / (1 - σ).
    """
    x0_before, h_before = None, 0.0
    for step, (sigma, sigma_next) in enumerate(pairwise(plan.sigmas)):
        x0 = await denoise(x, step)
        (_, sigma_hat), (alpha_next, sigma_hat_next) = plan.mixture(sigma), plan.mixture(sigma_next)
        D = x0
        shrink = plan.noise_to_signal(sigma_next) / plan.noise_to_signal(sigma)
        h = math.inf if shrink == 0 else -math.log(shrink)
        if x0_before is not None and step < plan.steps - 1:
            r = h_before / h
            D = x0 + (x0 - x0_before) / (2 * r)
        x = keep((sigma_hat_next / sigma_hat) * x + alpha_next * (1 - shrink) * D, step)
        x0_before, h_before = x0, h
    return x


async def lcm(denoise: Denoise, x: Latents, plan: Plan, noise: StepNoise, keep: Keep) -> Latents:
    """Latent consistency sampling (Luo et al. 2023, algorithm 3): predict x₀, add the next level's noise, repeat.

    c_skip and c_out (formula 9) hold the boundary condition f(x, 0) = x, with diffusers' timestep scaling of 10. Of
    flow matching x₀ = x - σ·v holds it by itself.
    """
    sigma_data, timestep_scaling = 0.5, 10.0
    for step, timestep in enumerate(plan.timesteps):
        x0 = await denoise(x, step)
        t = timestep_scaling * timestep
        c_skip = sigma_data**2 / (t**2 + sigma_data**2)
        c_out = t / math.hypot(t, sigma_data)
        x = x0 if plan.flows else c_out * x0 + c_skip * x
        if step < plan.steps - 1:
            alpha_next, sigma_hat_next = plan.mixture(plan.sigmas[step + 1])
            x = alpha_next * x + sigma_hat_next * noise(step)
        x = keep(x, step)
    return x


MAX_STEPS = 500
"""Half of the 1000 timesteps that the networks are trained on: NoiseSchedule.max_steps."""

SAMPLERS = {
    "ddim": Sampler(ddim_plan, ddim, MAX_STEPS),
    "euler": Sampler(euler_plan, euler, MAX_STEPS, exploding=True, flow_plan=flow.euler_plan),
    "euler_ancestral": Sampler(euler_plan, euler_ancestral, MAX_STEPS, exploding=True),
    "heun": Sampler(heun_plan, heun, MAX_STEPS, exploding=True, flow_plan=flow.heun_plan),
    "dpmpp_2m": Sampler(dpm_plan, dpmpp_2m, MAX_STEPS, flow_plan=flow.dpm_plan),
    "dpmpp_2m_karras": Sampler(karras_plan, dpmpp_2m, MAX_STEPS),
    "lcm": Sampler(lcm_plan, lcm, LCM_TRAINING_STEPS, flow_plan=flow.euler_plan),
}
"""Every sampler by the name that requests and families.toml use."""
