"""What a checkpoint of a transformer becomes: graphs of its text encoder, denoiser and autoencoder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from model_tools.checkpoints.dit.vae import Decoder, Encoder
from model_tools.export.graphs import BATCH, PICTURE, Graph, TinyDecoder
from model_tools.export.parts import Part

if TYPE_CHECKING:
    from torch import Tensor, nn

    from model_tools.checkpoints.dit.checkpoint import TransformerCheckpoint

Case = dict[str, "Tensor"]
WARM_PIXELS = 256
"""Sides to warm an autoencoder up with, at most."""
SHAPES = ((1, 4, 4), (3, 3, 5), (2, 6, 2))
"""Batch, and rows and columns of tokens, to verify with."""


def plan(checkpoint: TransformerCheckpoint, size: tuple[int, int]) -> tuple[Part, ...]:
    """The parts of a checkpoint, the text encoder first; warmed up for pictures of that width and height."""
    return (_text_part(checkpoint), _denoiser_part(checkpoint, size), *_vae_parts(checkpoint))


def _text_part(checkpoint: TransformerCheckpoint) -> Part:
    length = sum(text.length for text in checkpoint.texts)
    outputs = ("hidden_states", "text_embeds") if checkpoint.pooled else ("hidden_states",)
    graph = Graph({"input_ids": text_ids(checkpoint, 2)}, outputs, {"input_ids": BATCH})
    assert graph.inputs["input_ids"].shape[1] == length  # noqa: S101  # of text_ids
    return Part(
        "text_encoder",
        checkpoint.text_encoder,
        graph,
        [{"input_ids": text_ids(checkpoint, rows, seed=rows)} for rows in (1, 3)],
        wide=True,
    )


def text_ids(checkpoint: TransformerCheckpoint, rows: int, seed: int = 0) -> Tensor:
    """Random prompts of several lengths [rows, L], each text padded at its end."""
    random = torch.Generator().manual_seed(seed)
    found = []
    for text, words, pad in zip(checkpoint.texts, checkpoint.vocabularies, checkpoint.pad_ids, strict=True):
        ids = torch.randint(0, words, (rows, text.length), generator=random)
        ids = torch.where(ids == pad, (pad + 1) % words, ids)
        ends = torch.randint(text.length // 4, text.length, (rows, 1), generator=random)
        found.append(torch.where(torch.arange(text.length) < ends, ids, pad))
    return torch.cat(found, 1).int()


def _denoiser_part(checkpoint: TransformerCheckpoint, size: tuple[int, int]) -> Part:
    width, height = (side // checkpoint.factor for side in size)
    inputs = denoiser_inputs(checkpoint, (2, 4, 6))
    free = {name: PICTURE if name == "sample" else BATCH for name in inputs}
    cases = [denoiser_inputs(checkpoint, shape) for shape in SHAPES]
    return Part("unet", checkpoint.transformer, Graph(inputs, ("out_sample",), free), cases, (height, width))


def denoiser_inputs(checkpoint: TransformerCheckpoint, shape: tuple[int, int, int]) -> Case:
    """Random inputs by name, of so many rows, and rows and columns of tokens; prompts of several lengths."""
    random = torch.Generator().manual_seed(sum(shape))
    batch, height, width = shape
    patch, (length, wide) = checkpoint.patch, checkpoint.text_shape
    hidden = torch.randn(batch, length, wide, generator=random)
    if checkpoint.masked:
        ends = torch.randint(1, length, (batch, 1, 1), generator=random)
        hidden = hidden * (torch.arange(length)[None, :, None] < ends)
    inputs = {
        "sample": torch.randn(batch, checkpoint.channels, patch * height, patch * width, generator=random),
        "timestep": torch.rand(batch, 1, generator=random) * 1000,
        "encoder_hidden_states": hidden,
    }
    if checkpoint.pooled:
        inputs["text_embeds"] = torch.randn(batch, checkpoint.pooled_width, generator=random)
    if checkpoint.guidance == "embedding":
        inputs["guidance"] = torch.rand(batch, 1, generator=random) * 5
    return inputs


def _vae_parts(checkpoint: TransformerCheckpoint) -> tuple[Part, Part]:
    factor, channels = checkpoint.factor, checkpoint.channels
    side = max(1, WARM_PIXELS // factor)

    def latents(batch: int, height: int, width: int) -> Case:
        random = torch.Generator().manual_seed(batch)
        return {"latents": torch.randn(batch, channels, height, width, generator=random)}

    def picture(batch: int, height: int, width: int) -> Case:
        random = torch.Generator().manual_seed(batch)
        return {"image": torch.rand(batch, 3, factor * height, factor * width, generator=random) * 2 - 1}

    return (
        Part(
            "vae_encoder",
            lambda: Encoder(checkpoint.vae()),
            Graph(picture(2, 4, 6), ("latents",), {"image": PICTURE}),
            [picture(*shape) for shape in SHAPES],
            (factor * side, factor * side),
        ),
        Part(
            "vae_decoder",
            lambda: _decoder(checkpoint),
            Graph(latents(2, 4, 6), ("image",), {"latents": PICTURE}),
            [latents(*shape) for shape in SHAPES],
            (side, side),
        ),
    )


def _decoder(checkpoint: TransformerCheckpoint) -> nn.Module:
    tiny = checkpoint.tiny_vae()
    return Decoder(checkpoint.vae()) if tiny is None else TinyDecoder(tiny)
