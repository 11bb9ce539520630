"""Modules between networks and the serving contract: names, types, and inputs that a graph has baked in."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Sequence

DISTILLED_GUIDANCE = 8.0
"""Guidance scale of the graphs of latent consistency models, which the authors' pipelines use."""
FLOAT_INPUTS = frozenset({"timestep", "time_ids"})
"""Inputs that stay float32 in a graph of 16 bits: networks embed them in float32, and bfloat16 has no 999."""


class Named(nn.Module):
    """A module that takes its inputs by name, behind one that takes them in order; in another type, if asked.

    Then all is computed in that type, but what the network itself computes in float32; inputs and outputs are float32.
    """

    def __init__(self, module: nn.Module, names: Sequence[str], dtype: torch.dtype | None = None) -> None:
        """`module` itself is turned into `dtype`."""
        super().__init__()
        self.module, self.names, self.dtype = module if dtype is None else module.to(dtype), tuple(names), dtype

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        named = {name: self._cast(name, tensor) for name, tensor in zip(self.names, tensors, strict=True)}
        output = self.module(**named)
        outputs = (output,) if isinstance(output, Tensor) else output
        return tuple(tensor.float() for tensor in outputs)

    def _cast(self, name: str, tensor: Tensor) -> Tensor:
        kept = self.dtype is None or name in FLOAT_INPUTS or not tensor.is_floating_point()
        return tensor if kept else tensor.to(self.dtype)


class PenultimateContract(nn.Module):
    """A CLIPTextModel(WithProjection) as SDXL takes it: hidden states before the last layer, pooled and projected text.

    The pooled output is where there is a projection; last are the hidden states without 1 to `skips` further layers,
    (B, skips, L, D), if there are any. Ids are int32, as the contract has them.
    """

    def __init__(self, encoder: nn.Module, skips: int = 0) -> None:
        super().__init__()
        self.encoder, self.skips = encoder, skips

    def forward(self, input_ids: Tensor) -> tuple[Tensor, ...]:
        output = self.encoder(input_ids.long(), output_hidden_states=True)
        pooled: Tensor | None = getattr(output, "text_embeds", None)
        given = (output.hidden_states[-2],) if pooled is None else (output.hidden_states[-2], pooled)
        return *given, *_skipped(output.hidden_states[:-2], self.skips)


class SkippingContract(nn.Module):
    """A CLIPTextModel: its last hidden states, and those without 1 to `skips` layers, after the same last norm.

    So diffusers' encode_prompt has it with clip_skip.
    """

    def __init__(self, encoder: nn.Module, skips: int) -> None:
        super().__init__()
        self.encoder, self.skips = encoder, skips

    def forward(self, input_ids: Tensor) -> tuple[Tensor, ...]:
        output = self.encoder(input_ids.long(), output_hidden_states=True)
        norm = getattr(self.encoder, "text_model", self.encoder).final_layer_norm
        return output.last_hidden_state, *(norm(each) for each in _skipped(output.hidden_states[:-1], self.skips))


def _skipped(states: Sequence[Tensor], count: int) -> tuple[Tensor, ...]:
    """Of the states before a layer, the last `count` of them, last first, as one tensor; none of 0."""
    return (torch.stack(states[: -count - 1 : -1], dim=1),) if count else ()


def baked_guidance(unet: nn.Module) -> Tensor | None:
    """The guidance embedding, (1, D), that a UNet of a latent consistency model takes with the timestep; or None.

    Such a UNet has learned guidance in one row, at a scale that it is given (Luo et al. 2023, Latent Consistency
    Models, section 4.2). A graph has it for DISTILLED_GUIDANCE alone, computed as diffusers'
    get_guidance_scale_embedding does.
    """
    width = getattr(getattr(unet, "config", None), "time_cond_proj_dim", None)
    if width is None:
        return None
    half = width // 2
    w = 1000 * (DISTILLED_GUIDANCE - 1)  # diffusers counts scales from 1 = none, the paper's w from 0
    angles = w * torch.exp(torch.arange(half) * -(math.log(10000) / (half - 1)))
    return nn.functional.pad(torch.cat([angles.sin(), angles.cos()]), (0, width % 2))[None]
