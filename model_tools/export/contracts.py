"""Modules between networks and the serving contract: names, types, and inputs that networks take in another form."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Sequence

FLOAT_INPUTS = frozenset({"timestep", "time_ids", "guidance"})
"""Inputs that stay float32 in a graph of 16 bits: they are embedded in float32, and bfloat16 has no 999."""


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


class GuidanceEmbedding(nn.Module):
    """The guidance scale as a UNet of a latent consistency model takes it with the timestep.

    Such a UNet has learned guidance in one row, at a scale that it is given (Luo et al. 2023, Latent Consistency
    Models, arXiv:2310.04378, section 4.2). Computed as diffusers' get_guidance_scale_embedding does.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width, half = width, width // 2
        self.register_buffer("frequencies", torch.exp(torch.arange(half) * -(math.log(10000) / (half - 1))))

    def forward(self, guidance: Tensor) -> Tensor:
        """Scales (B, 1), 1 for none, to embeddings (B, width)."""
        angles = 1000 * (guidance - 1) * self.frequencies  # the paper's w counts from 0
        return nn.functional.pad(torch.cat([angles.sin(), angles.cos()], 1), (0, self.width % 2))


def guidance_embedding(unet: nn.Module) -> GuidanceEmbedding | None:
    """What a UNet that takes the guidance scale needs; None for others."""
    width = getattr(getattr(unet, "config", None), "time_cond_proj_dim", None)
    return None if width is None else GuidanceEmbedding(width)
