"""The denoiser with both adapters: one network for captions, edges and image prompts, each row its own scales."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from diffusers.models.attention_processor import Attention
from torch import Tensor, nn

from model_tools.training.starter.networks.control import ControlEncoder, Residuals, scale_residuals
from model_tools.training.starter.networks.denoiser import Denoiser, coordinates, place_map, spread
from model_tools.training.starter.networks.draft import pool
from model_tools.training.starter.networks.image_prompt import (
    ImageEncoder,
    PromptDraft,
    PromptedAttention,
    Recolour,
    presence,
)
from model_tools.training.starter.networks.text import WIDTH


class Steering(NamedTuple):
    """The pictures that steer a batch.

    `control_image` [B, 3, 8h, 8w] in [0, 1], `control_scale` [B, 1], `image_embeds` [B, 16, 384], `image_scale` [B, 1].
    """

    control_image: Tensor
    control_scale: Tensor
    image_embeds: Tensor
    image_scale: Tensor


class Shown(NamedTuple):
    """The draft [B, 8, h, w] of caption and image prompt; the caption, pooled [B, 768]; the prompt's mean [B, 384]."""

    draft: Tensor
    pooled: Tensor
    prompt: Tensor


class Noisy(NamedTuple):
    """Noisy latents [B, 8, h, w], their steps [B], and captions [B, 48, 384]."""

    sample: Tensor
    timestep: Tensor
    text: Tensor


class ControlledDenoiser(nn.Module):
    """A frozen Denoiser, and the adapters around it. With both scales 0 its answer is the Denoiser's."""

    def __init__(self, base: Denoiser) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.control = ControlEncoder(tuple(base.unet.config.block_out_channels))
        self.prompt = PromptDraft()
        self.recolour = Recolour()
        for attention, name in attentions(base):
            context = WIDTH if name == "attn2" else None
            attention.set_processor(PromptedAttention(attention.inner_dim, context))

    def adapters(self) -> dict[str, nn.Module]:
        """What is trained, by name, without the image encoder."""
        processors = [attention.processor for attention, name in attentions(self.base) if name == "attn2"]
        return {
            "control": self.control,
            "prompt": self.prompt,
            "recolour": self.recolour,
            "attentions": nn.ModuleList(processors),
        }

    def show(self, places: Tensor, text: Tensor, steering: Steering) -> Shown:
        """The draft of caption and image prompt."""
        raw = pool(text)
        pooled = self.base.draft.norm(raw)
        scale = steering.image_scale[:, :, None, None]
        draft = self.base.draft.render(self.base.draft.read(pooled), *coordinates(places)).float()
        draft = draft + spread(self.prompt(steering.image_embeds, pooled), places) * scale
        draft = draft + self.recolour(torch.cat([draft, places], 1), steering.image_embeds) * scale
        present = steering.image_scale * presence(steering.image_embeds)
        return Shown(draft, pooled, steering.image_embeds.mean(1) * present)

    def steer(self, places: Tensor, shown: Shown, control_image: Tensor) -> Residuals:
        """What the edges ask for beyond that draft, not scaled."""
        return self.control(control_image, torch.cat([shown.draft, places], 1), shown.pooled, shown.prompt)

    def denoise(self, noisy: Noisy, places: Tensor, draft: Tensor, added: Residuals, steering: Steering) -> Tensor:
        """V [B, 8, h, w] of noisy latents for a draft. `added` is what the control adds, scaled."""
        draft = draft + added.draft
        correction = self.base.unet(
            torch.cat([noisy.sample, draft, places], 1),
            noisy.timestep,
            noisy.text,
            cross_attention_kwargs={"image_prompt": (steering.image_embeds, steering.image_scale)},
            down_block_additional_residuals=added.skips,
            mid_block_additional_residual=added.middle,
            return_dict=False,
        )[0]
        return self.base.estimate(noisy.sample, draft, noisy.timestep) + correction.float()

    def forward(self, sample: Tensor, timestep: Tensor, text: Tensor, steering: Steering) -> Tensor:
        """V [B, 8, h, w] of noisy latents at their steps [B], for captions [B, 48, 384]."""
        places = place_map(sample)
        shown = self.show(places, text, steering)
        added = scale_residuals(self.steer(places, shown, steering.control_image), steering.control_scale)
        return self.denoise(Noisy(sample, timestep, text), places, shown.draft, added, steering)


def attentions(base: Denoiser) -> Iterator[tuple[Attention, str]]:
    """Each attention of the UNet and its name in its block: attn1 (to itself) or attn2 (to the caption)."""
    for name, module in base.unet.named_modules():
        if isinstance(module, Attention):
            yield module, name.rsplit(".", 1)[-1]


def build_adapters(base: Denoiser) -> tuple[ControlledDenoiser, ImageEncoder]:
    """Both networks, new: the outputs of all adapters are zero."""
    return (
        ControlledDenoiser(base).to(memory_format=torch.channels_last),
        ImageEncoder().to(memory_format=torch.channels_last),
    )
