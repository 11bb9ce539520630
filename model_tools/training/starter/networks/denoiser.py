"""The denoiser: a small UNet2DConditionModel that predicts v."""

import math
from typing import Any

import torch
from diffusers import DDPMScheduler, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor, nn
from torch.nn import functional

from model_tools.training.starter.networks.autoencoder import BASE_CHANNELS, DETAIL_CHANNELS, LATENT_CHANNELS
from model_tools.training.starter.networks.draft import Draft
from model_tools.training.starter.networks.text import WIDTH

# Waves over the object's square, in half periods from its centre to its edge.
FREQUENCIES = (0.5, 1.0, 2.0, 4.0)
PLACE_CHANNELS = 2 + 4 * len(FREQUENCIES)
# How far beyond the object's square places still differ; further out all is canvas.
FARTHEST = 1.25
# Variance of the picture around its draft, in scaled latents: as seen on captions that the draft was trained on, with
# room for those it was not. Less for the detail channels, of which the denoiser knows less.
DRAFT_VARIANCE = (0.15,) * BASE_CHANNELS + (0.05,) * DETAIL_CHANNELS
# What of that variance pictures are drawn with: what the network does not correct stays in them as grain, so they keep
# nearer to the draft than the network was taught. A quarter looked best of 1, 0.5, 0.25 and 0.1.
DRAWN_VARIANCE = tuple(0.25 * variance for variance in DRAFT_VARIANCE)

# The caption reaches the network twice: token by token through cross-attention, and pooled, added to the time
# embedding, which scales and shifts every norm. The second path gives a concept's shape and colours in far fewer
# steps than attention alone.
CONFIG: dict[str, Any] = {
    "sample_size": 16,
    "in_channels": 2 * LATENT_CHANNELS + PLACE_CHANNELS,
    "out_channels": LATENT_CHANNELS,
    "block_out_channels": (96, 192, 288),
    "layers_per_block": 1,
    "cross_attention_dim": WIDTH,
    "attention_head_dim": 32,
    "norm_num_groups": 16,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "resnet_time_scale_shift": "scale_shift",
    "addition_embed_type": "text",
    "addition_embed_type_num_heads": 6,
}
TRAIN_STEPS = 1000
SCHEDULE: dict[str, Any] = {
    "num_train_timesteps": TRAIN_STEPS,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "prediction_type": "v_prediction",
}


def place_map(sample: Tensor) -> Tensor:
    """Where each latent position is: [B, 18, h, w], the two coordinates and waves of them.

    The object's square (the canvas's shorter side, centred) is [-1, 1] on both axes, whatever the canvas. Only tensor
    operations, so that the exported graph takes any size.
    """
    places = middle_coordinates(sample).clamp(-FARTHEST, FARTHEST)
    waves = [wave(math.pi * frequency * places) for frequency in FREQUENCIES for wave in (torch.sin, torch.cos)]
    return torch.cat([places, *waves], 1)


def middle_coordinates(sample: Tensor) -> Tensor:
    """Down and across from the canvas's middle in halves of its shorter side, [B, 2, h, w], not bounded."""
    ones = torch.ones_like(sample[:, :1])
    height, width = ones[:, :, :, :1].sum(2, keepdim=True), ones[:, :, :1].sum(3, keepdim=True)
    half = torch.minimum(height, width) / 2
    down = (ones.cumsum(2) - 0.5 - height / 2) / half
    across = (ones.cumsum(3) - 0.5 - width / 2) / half
    return torch.cat([down, across], 1)


def coordinates(sample: Tensor) -> tuple[Tensor, Tensor]:
    """The same at the sample's resolution and at twice it: what a Draft takes."""
    return middle_coordinates(sample), middle_coordinates(functional.interpolate(sample[:, :1], scale_factor=2.0))


def spread(draft: Tensor, places: Tensor) -> Tensor:
    """A square draft laid on the object's square of any canvas; beyond it, its border goes on."""
    grid = torch.stack([places[:, 1], places[:, 0]], 3)
    return functional.grid_sample(draft, grid, padding_mode="border", align_corners=False)


def prior_weights(a: Tensor, variances: tuple[float, ...] = DRAFT_VARIANCE) -> Tensor:
    """What v takes of the latents and of the draft at each train step, [steps, 2, 8], for signal shares a [steps].

    From v = (sqrt(a) x_t - x_0) / sqrt(1 - a) with x_0 the posterior mean (V / s) (x_t sqrt(a)) + ((1 - a) / s) draft,
    s = a V + 1 - a, V the variances. Worked out beforehand: 1 - a and its root come to nothing in bfloat16.
    """
    a, variance = a.double()[:, None], torch.tensor(variances, dtype=torch.float64)
    spread_sum = a * variance + 1 - a
    latents = (a * (1 - a)).sqrt() * (1 - variance) / spread_sum
    return torch.stack([latents, (1 - a).sqrt() / spread_sum], 1).float()


class Denoiser(nn.Module):
    """A UNet2DConditionModel that corrects what a draft of the picture and the noisy latents already show.

    With the draft as a normal prior of variance DRAFT_VARIANCE around its guess, the best estimate of the picture is a
    mean of the draft and the latents, weighted by their precision. The network adds what that estimate lacks. It is
    also given each position, which a convolution knows only from the zeros around its map.

    Without the draft and the places, 190,000 pictures taught it each concept's colours and no shapes.
    """

    def __init__(self, unet: UNet2DConditionModel, draft: nn.Module) -> None:
        super().__init__()
        self.unet = unet
        self.draft = draft.requires_grad_(False)
        self.register_buffer("weights", prior_weights(build_schedule().alphas_cumprod), persistent=False)

    def estimate(self, sample: Tensor, draft: Tensor, timestep: Tensor) -> Tensor:
        """The prior's v at each sample's step."""
        place = timestep.float().round().clamp(0, TRAIN_STEPS - 1).long()
        weights = self.weights[place][..., None, None]
        return weights[:, 0] * sample - weights[:, 1] * draft

    def forward(
        self, sample: Tensor, timestep: Tensor, encoder_hidden_states: Tensor, *, return_dict: bool = False
    ) -> tuple[Tensor]:
        """As UNet2DConditionModel, on latents [B, 8, h, w]; always a tuple."""
        places = place_map(sample)
        draft = self.draft(encoder_hidden_states, *coordinates(sample)).float()
        timestep = timestep.expand(sample.shape[0])
        given = torch.cat([sample, draft, places], 1)
        correction = self.unet(given, timestep, encoder_hidden_states, return_dict=return_dict)[0]
        return (self.estimate(sample, draft, timestep) + correction.float(),)


def ready_to_draw(denoiser: Denoiser) -> Denoiser:
    """The denoiser with the prior that pictures are drawn with, not the wider one that it is trained with."""
    denoiser.weights.copy_(prior_weights(build_schedule().alphas_cumprod, DRAWN_VARIANCE))
    return denoiser


def build_unet(draft: nn.Module | None = None, **changes: Any) -> Denoiser:  # noqa: ANN401 -- as diffusers
    """A new denoiser. Plain attention: torch's flash attention on CPU takes twice as long as matrix products here."""
    unet = UNet2DConditionModel(**CONFIG | changes)
    unet.set_attn_processor(AttnProcessor())
    nn.init.zeros_(unet.conv_out.weight)
    nn.init.zeros_(unet.conv_out.bias)
    return Denoiser(unet, draft or Draft()).to(memory_format=torch.channels_last)


def build_schedule() -> DDPMScheduler:
    """The noise schedule that training adds noise by."""
    return DDPMScheduler(**SCHEDULE)
