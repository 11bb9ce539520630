"""Published configurations of Stable Diffusion 1.x, 2.x and SDXL, for files that hold weights alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

Config = dict[str, Any]

BETAS: Config = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000,
}
SCHEDULER: Config = BETAS | {
    "_class_name": "PNDMScheduler",
    "prediction_type": "epsilon",
    "set_alpha_to_one": False,
    "steps_offset": 1,
}
VAE: Config = {
    "_class_name": "AutoencoderKL",
    "in_channels": 3,
    "out_channels": 3,
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "block_out_channels": [128, 256, 512, 512],
    "layers_per_block": 2,
    "latent_channels": 4,
    "sample_size": 512,
    "scaling_factor": 0.18215,
}
UNET: Config = {
    "_class_name": "UNet2DConditionModel",
    "sample_size": 64,
    "in_channels": 4,
    "out_channels": 4,
    "down_block_types": [*["CrossAttnDownBlock2D"] * 3, "DownBlock2D"],
    "up_block_types": ["UpBlock2D", *["CrossAttnUpBlock2D"] * 3],
    "block_out_channels": [320, 640, 1280, 1280],
    "layers_per_block": 2,
    "cross_attention_dim": 768,
    "attention_head_dim": 8,
}
CLIP_L: Config = {
    "vocab_size": 49408,
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "max_position_embeddings": 77,
    "hidden_act": "quick_gelu",
    "projection_dim": 768,
}


@dataclass(frozen=True)
class Published:
    """Configurations of a checkpoint's parts, and ids that fill up its prompts.

    Attributes:
        configs: by part, as diffusers and transformers write them.
        pad_ids: of the text encoders; None for the tokenizer's own.
        needs_prediction: whether files of this kind predict now one thing, now another, and do not say which.
    """

    configs: Mapping[str, Config]
    pad_ids: tuple[int | None, ...] = (None,)
    needs_prediction: bool = False


SD1 = Published(
    {
        "index": {"_class_name": "StableDiffusionPipeline"},
        "unet": UNET,
        "vae": VAE,
        "text_encoder": CLIP_L,
        "scheduler": SCHEDULER,
    }
)
SD2 = Published(
    {
        "index": {"_class_name": "StableDiffusionPipeline"},
        "unet": UNET
        | {"cross_attention_dim": 1024, "attention_head_dim": [5, 10, 20, 20], "use_linear_projection": True},
        "vae": VAE,
        # OpenCLIP ViT-H's, without its last layer: Stable Diffusion 2 takes what comes before it.
        "text_encoder": CLIP_L
        | {
            "hidden_size": 1024,
            "intermediate_size": 4096,
            "num_hidden_layers": 23,
            "num_attention_heads": 16,
            "hidden_act": "gelu",
        },
        "scheduler": SCHEDULER,
    },
    pad_ids=(0,),
    needs_prediction=True,
)
SDXL = Published(
    {
        "index": {"_class_name": "StableDiffusionXLPipeline", "force_zeros_for_empty_prompt": True},
        "unet": UNET
        | {
            "sample_size": 128,
            "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
            "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
            "block_out_channels": [320, 640, 1280],
            "transformer_layers_per_block": [1, 2, 10],
            "attention_head_dim": [5, 10, 20],
            "cross_attention_dim": 2048,
            "use_linear_projection": True,
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": 256,
            "projection_class_embeddings_input_dim": 2816,
        },
        "vae": VAE | {"sample_size": 1024, "scaling_factor": 0.13025, "force_upcast": True},
        "text_encoder": CLIP_L,
        "text_encoder_2": CLIP_L
        | {
            "hidden_size": 1280,
            "intermediate_size": 5120,
            "num_hidden_layers": 32,
            "num_attention_heads": 20,
            "hidden_act": "gelu",
            "projection_dim": 1280,
        },
        "scheduler": SCHEDULER | {"_class_name": "EulerDiscreteScheduler", "timestep_spacing": "leading"},
    },
    pad_ids=(None, 0),
)
