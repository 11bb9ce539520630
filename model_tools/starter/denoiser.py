"""The denoiser: a small UNet2DConditionModel that predicts v."""

from typing import Any

import torch
from diffusers import DDPMScheduler, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor

from model_tools.starter.autoencoder import LATENT_CHANNELS
from model_tools.starter.text import WIDTH

# The caption reaches the network twice: token by token through cross-attention, and pooled, added to the time
# embedding, which scales and shifts every norm. The second path tells a concept's shape and colours in far fewer
# steps than attention alone.
CONFIG: dict[str, Any] = {
    "sample_size": 16,
    "in_channels": LATENT_CHANNELS,
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


def build_unet(**changes: Any) -> UNet2DConditionModel:  # noqa: ANN401 -- as diffusers
    """A new denoiser. Plain attention: torch's flash attention on CPU takes twice as long as matrix products here."""
    unet = UNet2DConditionModel(**CONFIG | changes)
    unet.set_attn_processor(AttnProcessor())
    return unet.to(memory_format=torch.channels_last)


def build_schedule() -> DDPMScheduler:
    """The noise schedule that training adds noise by."""
    return DDPMScheduler(**SCHEDULE)
