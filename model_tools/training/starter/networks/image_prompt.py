"""The image prompt: a picture in place of words, as IP-Adapter gives it (Ye et al. 2023, arXiv:2308.06721).

A small network turns the picture into tokens. Each cross-attention of the frozen UNet attends to them next to the
caption's, with keys and values of its own, and adds the result times the row's image scale. The draft, which decides on
the layout, is corrected from the tokens in the same way. Tokens of zeros stand for no picture: they change nothing,
at any scale.
"""

import torch
from diffusers.models.attention_processor import Attention
from torch import Tensor, nn
from torch.nn import functional

from model_tools.training.starter.networks.autoencoder import LATENT_CHANNELS, Block
from model_tools.training.starter.networks.control import zero
from model_tools.training.starter.networks.denoiser import PLACE_CHANNELS
from model_tools.training.starter.networks.draft import SIDE as DRAFT_SIDE
from model_tools.training.starter.networks.text import WIDTH

TOKENS = 16
NARROW = 32
HIDDEN = 512
FILMED = 96


def stage(inputs: int, outputs: int) -> nn.Sequential:
    """Two convolutions, the first halving the map. Their norms become part of the convolutions in the graph."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
        nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


class ImageEncoder(nn.Module):
    """RGB in [-1, 1] [B, 3, 128, 128] to 16 tokens [B, 16, 384], of mean 0 and deviation 1 each.

    Without the norms between its convolutions it gave every picture the same tokens, and stayed there.
    """

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.PixelUnshuffle(4),
            nn.Conv2d(48, 64, 3, padding=1, bias=False),
            nn.BatchNorm2d(64),
            nn.ReLU(),
            stage(64, 96),
            stage(96, 160),
            stage(160, 256),
        )
        self.out = nn.Linear(256, WIDTH)
        self.norm = nn.LayerNorm(WIDTH, elementwise_affine=False)

    def forward(self, image: Tensor) -> Tensor:
        return self.norm(self.out(self.body(image).flatten(2).transpose(1, 2)).float())


def presence(tokens: Tensor) -> Tensor:
    """1 where the tokens are an encoder's, 0 where they are zeros, [B, 1]."""
    return tokens.square().mean((1, 2)).clamp(max=1.0)[:, None]


class PromptDraft(nn.Module):
    """Tokens and the pooled caption to a correction of the draft, [B, 8, 16, 16]; zero for tokens of zeros."""

    def __init__(self) -> None:
        super().__init__()
        self.narrow = nn.Linear(WIDTH, NARROW)
        self.first = nn.Linear(TOKENS * NARROW + 2 * WIDTH, HIDDEN)
        self.second = nn.Linear(HIDDEN, HIDDEN)
        self.last = zero(nn.Linear(HIDDEN, LATENT_CHANNELS * DRAFT_SIDE**2))

    def forward(self, tokens: Tensor, pooled: Tensor) -> Tensor:
        hidden = functional.silu(self.first(torch.cat([self.narrow(tokens).flatten(1), pooled], 1)))
        hidden = hidden + functional.silu(self.second(hidden))
        correction = self.last(hidden).float() * presence(tokens)
        return correction.unflatten(1, (LATENT_CHANNELS, DRAFT_SIDE, DRAFT_SIDE))


class Recolour(nn.Module):
    """A draft on its canvas and tokens to a further correction [B, 8, h, w]; zero for tokens of zeros.

    The caption's draft in the prompt's colours is a product of the two, which a perceptron of both learns slowly;
    convolutions over the draft whose channels the tokens scale and shift (FiLM, Perez et al. 2018, arXiv:1709.07871)
    learn it in minutes.
    """

    def __init__(self) -> None:
        super().__init__()
        self.narrow = nn.Linear(WIDTH, NARROW)
        self.film = nn.Sequential(nn.Linear(TOKENS * NARROW, 256), nn.SiLU(), nn.Linear(256, 4 * FILMED))
        self.first = nn.Conv2d(LATENT_CHANNELS + PLACE_CHANNELS, FILMED, 3, padding=1)
        self.blocks = nn.ModuleList([Block(FILMED), Block(FILMED)])
        self.last = zero(nn.Conv2d(FILMED, LATENT_CHANNELS, 3, padding=1))

    def forward(self, given: Tensor, tokens: Tensor) -> Tensor:
        film = self.film(self.narrow(tokens).flatten(1))[:, :, None, None].chunk(4, 1)
        hidden = functional.silu(self.first(given))
        for block, scale, shift in zip(self.blocks, film[:2], film[2:], strict=True):
            hidden = block(functional.silu(hidden * (1 + scale) + shift))
        return self.last(hidden).float() * presence(tokens)[:, :, None, None]


def heads(attention: Attention, values: Tensor) -> Tensor:
    """[B, T, C] to [B, heads, T, C / heads]."""
    return values.unflatten(2, (attention.heads, -1)).transpose(1, 2)


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Plain attention, [B, T, C] from heads. Torch's fused one takes twice as long on a CPU at these sizes."""
    weights = (query @ key.transpose(2, 3) * query.shape[3] ** -0.5).softmax(3)
    return (weights.to(value.dtype) @ value).transpose(1, 2).flatten(2)


class PromptedAttention(nn.Module):
    """An attention processor for diffusers' Attention. Where `context` is given it attends to image tokens too.

    The tokens and their scales come as the processor's argument `image_prompt`: [B, 16, 384] and [B, 1].
    """

    def __init__(self, channels: int, context: int | None) -> None:
        super().__init__()
        if context is not None:
            self.to_k_ip = nn.Linear(context, channels, bias=False)
            self.to_v_ip = zero(nn.Linear(context, channels, bias=False))
        self.prompted = context is not None

    # Not `forward`: diffusers reads the arguments off the processor's __call__, and drops what it does not find there.
    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,  # noqa: ARG002 -- diffusers gives it; the starter has no masks
        *,
        image_prompt: tuple[Tensor, Tensor],
    ) -> Tensor:
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        query = heads(attn, attn.to_q(hidden_states))
        result = attend(query, heads(attn, attn.to_k(context)), heads(attn, attn.to_v(context)))
        if self.prompted:
            tokens, scale = image_prompt
            found = attend(query, heads(attn, self.to_k_ip(tokens)), heads(attn, self.to_v_ip(tokens)))
            result = result + found * scale[:, :, None].to(found.dtype)
        output: Tensor = attn.to_out[1](attn.to_out[0](result))
        return output
