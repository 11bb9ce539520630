"""What a checkpoint must be for this service to serve it; what it is instead, where it is not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from model_tools.checkpoints.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from model_tools.checkpoints.layout import Config

TIME_IDS = 6
"""Of SDXL: height and width of the original, of the crop's corner, and of the target. Its refiner has 5."""
MIN_GUIDANCE_WIDTH = 4
"""Of the embedded guidance scale: two frequencies or more."""
UNET_ONLY: Mapping[str, tuple[object, str]] = {
    "out_channels": (4, "latents of other channels"),
    "class_embed_type": (None, "class labels"),
    "num_class_embeds": (None, "class labels, as upscalers have them"),
    "encoder_hid_dim_type": (None, "another text projection"),
    "dual_cross_attention": (False, "two texts"),
}
"""Values of a UNet's configuration, and what another value means."""
VAE_ONLY: Mapping[str, tuple[object, str]] = {
    "latent_channels": (4, "latents of other channels"),
    "latents_mean": (None, "latents normalised by channel"),
    "latents_std": (None, "latents normalised by channel"),
}
CHANNELS = {
    4: "",
    9: "",
    8: "; a UNet of 8 edits pictures by instruction (InstructPix2Pix)",
    5: "; a UNet of 5 takes a depth map",
}


def require_unet(path: Path, unet: Config, widths: Sequence[int], pooled: int | None) -> None:
    """Compare a UNet's configuration with what is known, and with its text encoders.

    Args:
        path: that messages name.
        unet: its configuration.
        widths: of the text encoders' hidden states, one or two.
        pooled: width of SDXL's pooled text embedding; None for Stable Diffusion 1.x and 2.x.

    Raises:
        CheckpointError: it is of another architecture; the message says which.
    """
    channels = unet.get("in_channels", 4)
    if channels not in (4, 9):
        raise CheckpointError(f"{path}: the UNet takes {channels} channels, not 4 or 9{CHANNELS.get(channels, '')}")
    _only(path, unet, UNET_ONLY, "the UNet takes")
    width = unet.get("time_cond_proj_dim")
    if width is not None and not (isinstance(width, int) and width >= MIN_GUIDANCE_WIDTH):
        raise CheckpointError(f"{path}: the UNet's time_cond_proj_dim is {width!r:.60}, not a width of 4 or more")
    added = unet.get("addition_embed_type")
    if added != ("text_time" if pooled else None):
        raise CheckpointError(f"{path}: the UNet's addition_embed_type is {added}, which its text encoders do not fit")
    if pooled:
        ids, rest = divmod(unet["projection_class_embeddings_input_dim"] - pooled, unet["addition_time_embed_dim"])
        if rest or ids != TIME_IDS:
            what = " (SDXL's refiner has 5)" if ids == TIME_IDS - 1 else ""
            raise CheckpointError(f"{path}: the UNet takes {ids} sizes with the text, not {TIME_IDS}{what}")
    if unet["cross_attention_dim"] != sum(widths):
        raise CheckpointError(
            f"{path}: the UNet takes a text {unet['cross_attention_dim']} wide, the text encoders give {sum(widths)}"
        )


def require_vae(path: Path, vae: Config) -> None:
    """Refuse VAEs whose latents are not Stable Diffusion's.

    Raises:
        CheckpointError: as it says.
    """
    _only(path, vae, VAE_ONLY, "the VAE has")
    if not vae.get("scaling_factor", 0.18215) > 0:
        raise CheckpointError(f"{path}: the VAE's scaling_factor is {vae['scaling_factor']}")


def _only(path: Path, config: Config, known: Mapping[str, tuple[object, str]], subject: str) -> None:
    for name, (value, meaning) in known.items():
        if config.get(name, value) != value:
            raise CheckpointError(f"{path}: {subject} {meaning}: {name} is {config[name]!r:.60}, not {value}")
