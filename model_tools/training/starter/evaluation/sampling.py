"""Draws pictures with the torch networks, for evaluation. The service has its own samplers."""

from dataclasses import dataclass

import numpy as np
import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, EulerDiscreteScheduler
from numpy.typing import NDArray
from torch import Tensor, nn

from model_tools.training.paths import Workspace
from model_tools.training.starter.networks.autoencoder import LATENT_CHANNELS
from model_tools.training.starter.networks.denoiser import SCHEDULE, Denoiser, ready_to_draw
from model_tools.training.starter.networks.text import TextEncoder, embed, load_encoder, load_tokenizer
from model_tools.training.starter.trainers.latents import load_autoencoder, scaling_factor
from model_tools.training.starter.trainers.train_unet import load_unet

SAMPLERS = {"ddim": DDIMScheduler, "euler": EulerDiscreteScheduler, "dpmpp_2m": DPMSolverMultistepScheduler}
BATCH = 40


@dataclass(frozen=True, slots=True)
class Settings:
    """How a picture is drawn."""

    sampler: str = "euler"
    steps: int = 25
    guidance: float = 1.5
    width: int = 128
    height: int = 128


@dataclass(frozen=True, slots=True)
class Networks:
    """The three networks, for inference."""

    text: TextEncoder
    unet: Denoiser
    decoder: nn.Module
    scale: float


def load_networks(workspace: Workspace) -> Networks:
    """The trained networks of a workspace."""
    unet = ready_to_draw(load_unet(workspace))
    return Networks(load_encoder(), unet, load_autoencoder(workspace).decoder, scaling_factor(workspace))


def start_noise(seeds: list[int], settings: Settings) -> Tensor:
    """One latent [8, h, w] of noise for each seed."""
    shape = (LATENT_CHANNELS, settings.height // 8, settings.width // 8)
    return torch.stack([torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds])


def denoise(networks: Networks, texts: list[str], seeds: list[int], settings: Settings) -> Tensor:
    """Scaled latents of one batch of prompts, guided away from the empty prompt."""
    schedule = SAMPLERS[settings.sampler](**SCHEDULE, timestep_spacing="trailing")
    if settings.sampler == "ddim":
        schedule.register_to_config(clip_sample=False)
    schedule.set_timesteps(settings.steps)
    embedded = torch.from_numpy(embed(networks.text, load_tokenizer(), [*texts, ""])).float()
    condition = torch.cat([embedded[-1:].expand(len(texts), -1, -1), embedded[:-1]])
    latents = start_noise(seeds, settings) * schedule.init_noise_sigma
    for step in schedule.timesteps:
        pair = schedule.scale_model_input(torch.cat([latents, latents]), step)
        free, guided = networks.unet(pair, step, condition, return_dict=False)[0].float().chunk(2)
        latents = schedule.step(free + settings.guidance * (guided - free), step, latents).prev_sample
    return latents


def draw(networks: Networks, texts: list[str], seeds: list[int], settings: Settings) -> NDArray[np.uint8]:
    """uint8 RGB [prompts, height, width, 3]."""
    parts: list[NDArray[np.uint8]] = []
    for start in range(0, len(texts), BATCH):
        rows = slice(start, start + BATCH)
        with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
            latents = denoise(networks, texts[rows], seeds[rows], settings)
            image = networks.decoder(latents / networks.scale).float()
        parts.append(image.clamp(-1, 1).add(1).mul(127.5).round().byte().permute(0, 2, 3, 1).numpy())
    return np.concatenate(parts)
