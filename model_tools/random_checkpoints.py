"""Makes small checkpoints with random weights, in the shapes of Stable Diffusion 1.5, SDXL and their adapters.

    .tools/bin/python -m model_tools.random_checkpoints FOLDER             # all of CHECKPOINTS, a few megabytes
    .tools/bin/python -m model_tools.random_checkpoints FOLDER --full sd15 # Stable Diffusion 1.5's size, 2 GB

Saved as diffusers saves them, so that `python -m model_tools add` and diffusers' own pipelines read the same files.
Each is drawn from a fixed seed: a second run gives the same weights. What steers a picture (prompt, control picture,
image prompt, sizes) is strengthened, for a test to see where it is lost.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers import AutoencoderKL, ControlNetModel, EulerDiscreteScheduler, PNDMScheduler, UNet2DConditionModel
from diffusers.models.embeddings import ImageProjection
from safetensors.torch import save_file
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModelWithProjection

from model_tools import sd15, tiny, tiny_adapters
from model_tools.golden_adapters import TOKENS
from model_tools.golden_cases import TEXT_LENGTH

SIDE = 128
"""Native side of a picture, pixels; sides are multiples of 32."""
WIDTH_2 = 48
"""Of SDXL's second text encoder."""
POOLED = 40
"""Of its pooled embedding, and nothing else's width: swapped tensors show."""
TIME_WIDTH = 8
RESAMPLER_WIDTH = 24
KINDS = ("weight", "bias")
HEAD = 64
"""Channels of a head of IP-Adapter Plus: diffusers knows of no other number."""
CARD = "---\nlicense: cc0-1.0\n---\nRandom weights, made by model_tools/random_checkpoints.py of imagegen.\n"
BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


def unet(channels: int = 4, *, text_width: int = tiny.HIDDEN, **more: Any) -> UNet2DConditionModel:  # noqa: ANN401
    """A UNet of three levels, two of them with cross-attention; `more`: what SDXL's has in addition."""
    settings = {
        "sample_size": SIDE // 8,
        "in_channels": channels,
        "out_channels": 4,
        "down_block_types": ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        "block_out_channels": (16, 24, 32),
        "layers_per_block": 1,
        "cross_attention_dim": text_width,
        "attention_head_dim": 2,
        "norm_num_groups": 8,
    }
    return tiny.strengthen_prompt(UNet2DConditionModel(**settings | more))


def unet_xl(channels: int = 4) -> UNet2DConditionModel:
    """SDXL's: no attention where the picture is largest, several transformer layers, with text and sizes."""
    network = unet(
        channels,
        text_width=tiny.HIDDEN + WIDTH_2,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=(1, 1, 2),
        attention_head_dim=(2, 3, 4),
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=TIME_WIDTH,
        projection_class_embeddings_input_dim=POOLED + 6 * TIME_WIDTH,
    )
    with torch.no_grad():
        network.add_embedding.linear_1.weight.mul_(4)
        network.add_embedding.linear_2.weight.mul_(4)
    return network


def text_encoder_2(vocabulary: int) -> CLIPTextModelWithProjection:
    """OpenCLIP's text tower as SDXL has it: gelu, and a projection of its own width."""
    config = CLIPTextConfig(
        vocab_size=vocabulary,
        hidden_size=WIDTH_2,
        intermediate_size=2 * WIDTH_2,
        num_hidden_layers=3,
        num_attention_heads=4,
        hidden_act="gelu",
        projection_dim=POOLED,
        max_position_embeddings=TEXT_LENGTH,
        bos_token_id=vocabulary - 2,
        eos_token_id=vocabulary - 1,
        pad_token_id=0,
    )
    return CLIPTextModelWithProjection(config)


def autoencoder(*, xl: bool) -> AutoencoderKL:
    """The tiny model's; SDXL's with its scaling factor, and the note that float16 is not enough for it."""
    network = tiny.autoencoder()
    network.register_to_config(sample_size=SIDE)
    if xl:
        network.register_to_config(scaling_factor=0.13025, force_upcast=True)
    return network


def pipeline(channels: int = 4) -> diffusers.StableDiffusionPipeline:
    """Stable Diffusion 1.5's parts; 9 channels for its inpainting model."""
    tokens = tiny.tokenizer()
    kind = diffusers.StableDiffusionPipeline if channels == 4 else diffusers.StableDiffusionInpaintPipeline
    return kind(
        vae=autoencoder(xl=False),
        text_encoder=tiny.text_encoder(len(tokens)),
        tokenizer=tokens,
        unet=unet(channels),
        scheduler=PNDMScheduler(**BETAS, skip_prk_steps=True, steps_offset=1),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def pipeline_xl(channels: int = 4) -> diffusers.StableDiffusionXLPipeline:
    """SDXL's parts. Its second tokenizer fills up with "!", id 0."""
    tokens, tokens_2 = tiny.tokenizer(), tiny.tokenizer()
    tokens_2.pad_token = "!"  # noqa: S105  # of text
    kind = diffusers.StableDiffusionXLPipeline if channels == 4 else diffusers.StableDiffusionXLInpaintPipeline
    return kind(
        vae=autoencoder(xl=True),
        text_encoder=tiny.text_encoder(len(tokens)),
        text_encoder_2=text_encoder_2(len(tokens)),
        tokenizer=tokens,
        tokenizer_2=tokens_2,
        unet=unet_xl(channels),
        scheduler=EulerDiscreteScheduler(**BETAS, timestep_spacing="leading", steps_offset=1),
        add_watermarker=False,
    )


def controlnet(network: UNet2DConditionModel) -> ControlNetModel:
    """Of a UNet of that shape, of other weights."""
    return tiny_adapters.controlnet(network)


def ip_adapter(network: UNet2DConditionModel) -> dict[str, Tensor]:
    """An IP-Adapter's file for such a UNet: projection, and numbered cross-attentions."""
    width = network.config.cross_attention_dim
    projection = ImageProjection(tiny_adapters.EMBEDDING, width, TOKENS).state_dict()
    renamed = {f"image_proj.{name.replace('image_embeds', 'proj')}": value for name, value in projection.items()}
    return renamed | attention_layers(network)


def ip_adapter_plus(network: UNet2DConditionModel) -> dict[str, Tensor]:
    """An IP-Adapter Plus: a resampler of the picture tower's hidden states in place of the projection."""
    width, text_width = RESAMPLER_WIDTH, network.config.cross_attention_dim
    shapes = {
        "latents": (1, 2 * TOKENS, width),
        "proj_in.weight": (width, tiny_adapters.EMBEDDING),
        "proj_in.bias": (width,),
        "proj_out.weight": (text_width, width),
        "proj_out.bias": (text_width,),
        "norm_out.weight": (text_width,),
        "norm_out.bias": (text_width,),
    }
    for layer in range(4):
        shapes |= {f"layers.{layer}.0.{norm}.{kind}": (width,) for norm in ("norm1", "norm2") for kind in KINDS}
        shapes |= {f"layers.{layer}.0.to_q.weight": (HEAD, width), f"layers.{layer}.0.to_kv.weight": (2 * HEAD, width)}
        shapes |= {f"layers.{layer}.0.to_out.weight": (width, HEAD)}
        shapes |= {f"layers.{layer}.1.0.{kind}": (width,) for kind in KINDS}
        shapes |= {f"layers.{layer}.1.1.weight": (4 * width, width), f"layers.{layer}.1.3.weight": (width, 4 * width)}
    drawn = {f"image_proj.{name}": torch.randn(shape) * shape[-1] ** -0.5 for name, shape in shapes.items()}
    return drawn | attention_layers(network)


def attention_layers(network: UNet2DConditionModel) -> dict[str, Tensor]:
    """Keys and values of an image prompt, numbered as all attentions of the UNet are."""
    layers: dict[str, Tensor] = {}
    width = network.config.cross_attention_dim
    for number, name in enumerate(network.attn_processors):
        if name.endswith("attn2.processor"):
            inner = network.get_submodule(name.removesuffix(".processor")).to_k.weight.shape[0]
            for kind in ("k", "v"):
                layers[f"ip_adapter.{number}.to_{kind}_ip.weight"] = torch.randn(inner, width) * 2 * width**-0.5
    return layers


def save_adapter(folder: Path, state: Mapping[str, Tensor]) -> None:
    """An IP-Adapter's file, and the picture tower it goes with in image_encoder/."""
    tiny_adapters.image_encoder().save_pretrained(folder / "image_encoder")
    save_file({name: value.contiguous() for name, value in state.items()}, folder / "ip_adapter.safetensors")


CHECKPOINTS: Mapping[str, Callable[[Path], None]] = {
    "sd": lambda folder: pipeline().save_pretrained(folder),
    "sd_inpainting": lambda folder: pipeline(9).save_pretrained(folder),
    "sd_controlnet": lambda folder: controlnet(unet()).save_pretrained(folder),
    "sd_controlnet_scribble": lambda folder: controlnet(unet()).save_pretrained(folder),
    "sd_ip_adapter": lambda folder: save_adapter(folder, ip_adapter(unet())),
    "sd_ip_adapter_plus": lambda folder: save_adapter(folder, ip_adapter_plus(unet())),
    "sdxl": lambda folder: pipeline_xl().save_pretrained(folder),
    "sdxl_inpainting": lambda folder: pipeline_xl(9).save_pretrained(folder),
    "sdxl_controlnet": lambda folder: controlnet(unet_xl()).save_pretrained(folder),
    "sdxl_ip_adapter": lambda folder: save_adapter(folder, ip_adapter(unet_xl())),
}
"""Folders, and what draws and saves each."""

FULL: Mapping[str, Callable[[Path], None]] = {"sd15": lambda folder: sd15.build().save_pretrained(folder)}


def make(folder: Path, name: str) -> Path:
    """Draw one of CHECKPOINTS or FULL, and save it in `folder`, with a model card that says its licence.

    Returns:
        Its folder: `folder`/`name`.
    """
    path = folder / name
    path.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(1 + list(CHECKPOINTS).index(name) if name in CHECKPOINTS else 0)
    save = CHECKPOINTS[name] if name in CHECKPOINTS else FULL[name]
    save(path)
    (path / "README.md").write_text(CARD, "utf-8")
    return path


def main(words: list[str]) -> int:
    """Make all of CHECKPOINTS, or those of FULL that are asked for."""
    parser = argparse.ArgumentParser(prog="python -m model_tools.random_checkpoints", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--full", choices=list(FULL), action="append", help="make this, and no small ones")
    arguments = parser.parse_args(words)
    for name in arguments.full or CHECKPOINTS:
        print(make(arguments.folder, name))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
