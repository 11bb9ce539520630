"""Patches, rotary embeddings and masks of transformers, in operations that an ONNX graph has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Sequence

MASKED = -3e4
"""Added to the logits of masked keys: e to its power is 0, and float16 holds it."""


class RotaryTable(nn.Module):
    """Cosines and sines of rotary position embeddings over several axes (Su et al. 2021, RoFormer), by position.

    They are looked up, as the published implementations do: a graph in bfloat16 would round the angles.
    """

    def __init__(self, dims: Sequence[int], lengths: Sequence[int], theta: float, *, first: int = 0) -> None:
        """Width of each axis in the head, its number of positions from `first` on, and the base of the frequencies."""
        super().__init__()
        self.first = first
        for axis, (dim, length) in enumerate(zip(dims, lengths, strict=True)):
            frequencies = 1.0 / theta ** (torch.arange(0, dim, 2, dtype=torch.float64, device="cpu") / dim)
            places = torch.arange(first, first + length, dtype=torch.float64, device="cpu")
            angles = torch.outer(places, frequencies).float()
            self.register_buffer(f"cos_{axis}", angles.cos())
            self.register_buffer(f"sin_{axis}", angles.sin())

    def forward(self, *positions: Tensor) -> tuple[Tensor, Tensor]:
        """Positions of each axis, all of one shape [...], to cosines and sines [..., half of the head]."""
        places = [place - self.first for place in positions]
        cos = [getattr(self, f"cos_{axis}")[place] for axis, place in enumerate(places)]
        sin = [getattr(self, f"sin_{axis}")[place] for axis, place in enumerate(places)]
        return torch.cat(cos, -1), torch.cat(sin, -1)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Heads [B, S, heads, D], whose neighbouring channels are pairs, turned by [B, S, D / 2] (or [S, D / 2])."""
    cos, sin = cos.unsqueeze(-2), sin.unsqueeze(-2)
    even, odd = x.float().unflatten(-1, (-1, 2)).unbind(-1)
    turned = torch.stack([even * cos - odd * sin, even * sin + odd * cos], -1)
    return turned.flatten(-2).type_as(x)


def attend(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None) -> Tensor:
    """Attention of [B, S, heads, D] each, and what is added to its logits; [B, S, heads * D]."""
    heads = [tensor.transpose(1, 2) for tensor in (query, key, value)]
    return functional.scaled_dot_product_attention(*heads, attn_mask=bias).transpose(1, 2).flatten(2)


def key_bias(kept: Tensor) -> Tensor:
    """What is added to attention's logits, [B, 1, 1, S], for keys that are kept [B, S] or masked."""
    return torch.where(kept, 0.0, MASKED)[:, None, None, :]


def grid(height: Tensor | int, width: Tensor | int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Row and column [h * w] of each patch, line by line."""
    rows = torch.arange(height, device=device)[:, None].expand(height, width).flatten()
    columns = torch.arange(width, device=device)[None, :].expand(height, width).flatten()
    return rows, columns


class RotaryIds(nn.Module):
    """In place of the pos_embed of diffusers' FLUX: position ids [S, axes] to cosines and sines [S, D / 2]."""

    def __init__(self, dims: Sequence[int], lengths: Sequence[int], theta: float) -> None:
        """As of RotaryTable."""
        super().__init__()
        self.table = RotaryTable(dims, lengths, theta)

    def forward(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        found: tuple[Tensor, Tensor] = self.table(*ids.unbind(-1))
        return found


class JointAttention:
    """Attention of diffusers' FLUX.1 and FLUX.2 over the prompt and then the picture, or one stream of both.

    In place of their processors, whose reshaping a recorded graph takes for constant.
    """

    def __call__(
        self,
        attn: Any,  # noqa: ANN401  # FluxAttention, or FLUX.2's
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        image_rotary_emb: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor | tuple[Tensor, Tensor]:
        parts = [self._project(attn, hidden_states, ("to_q", "to_k", "to_v"), (attn.norm_q, attn.norm_k))]
        if encoder_hidden_states is not None:
            names = ("add_q_proj", "add_k_proj", "add_v_proj")
            parts.insert(0, self._project(attn, encoder_hidden_states, names, (attn.norm_added_q, attn.norm_added_k)))
        query, key, value = (torch.cat(each, 1) for each in zip(*parts, strict=True))
        if image_rotary_emb is not None:
            query, key = rotate(query, *image_rotary_emb), rotate(key, *image_rotary_emb)
        output = attend(query, key, value, attention_mask)
        if encoder_hidden_states is None:
            return output
        length = encoder_hidden_states.shape[1]
        return attn.to_out[0](output[:, length:]), attn.to_add_out(output[:, :length])

    def _project(self, attn: Any, x: Tensor, names: Sequence[str], norms: Sequence[nn.Module]) -> list[Tensor]:  # noqa: ANN401
        query, key, value = (getattr(attn, name)(x).unflatten(-1, (attn.heads, attn.head_dim)) for name in names)
        return [norms[0](query), norms[1](key), value]


def pack(sample: Tensor, patch: int) -> Tensor:
    """Latents [B, C, h, w] to tokens [B, h * w / patch², C * patch²], channels first, as FLUX.1 packs them."""
    batch, channels, height, width = sample.shape
    tokens = sample.reshape(batch, channels, height // patch, patch, width // patch, patch).permute(0, 2, 4, 1, 3, 5)
    return tokens.reshape(batch, (height // patch) * (width // patch), channels * patch * patch)


def unpack(tokens: Tensor, like: Tensor, patch: int) -> Tensor:
    """The inverse, for latents of the shape of `like`."""
    batch, channels, height, width = like.shape
    picture = tokens.reshape(batch, height // patch, width // patch, channels, patch, patch)
    return picture.permute(0, 3, 1, 4, 2, 5).reshape(batch, channels, height, width)


class PlainRMSNorm(nn.Module):
    """torch.nn.RMSNorm over the last dimension (Zhang & Sennrich 2019) in operations that torch's exporter knows."""

    def __init__(self, norm: nn.RMSNorm) -> None:
        super().__init__()
        self.weight, self.eps = norm.weight, norm.eps

    def forward(self, x: Tensor) -> Tensor:
        eps = torch.finfo(x.dtype).eps if self.eps is None else self.eps
        wide = x.float()
        normed = (wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + eps)).type_as(x)
        return normed if self.weight is None else normed * self.weight


def with_plain_norms(network: nn.Module) -> nn.Module:
    """The network, with every torch.nn.RMSNorm replaced in place."""
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.RMSNorm):
                setattr(module, name, PlainRMSNorm(child))
    return network
