"""Inputs of a checkpoint's networks: what they are traced with, which dimensions are free, random ones to verify."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from model_tools.export.controlled import CONTROL
from model_tools.export.graphs import BATCH, PICTURE, PROMPT, Graph

if TYPE_CHECKING:
    from collections.abc import Sequence

Case = dict[str, Tensor]
Shape = tuple[int, int, int]
"""Batch, height, width."""

PIXELS = 8
"""Of a latent position, along a side."""
TIME_IDS = 6
"""Original height and width, top and left of the crop, target height and width."""


@dataclass(frozen=True, slots=True)
class Denoiser:
    """Shapes of a UNet's inputs.

    Attributes:
        channels: of its sample.
        multiple: what latent sides are multiples of, 2 for each downsampling.
        text: length and width of the prompt's hidden states.
        pooled: width of the pooled embedding, 0 where it takes none (and no sizes).
        controls: number of ControlNets.
        tokens: of the image prompt, 0 where it takes none.
        guided: whether it takes the guidance scale.
    """

    channels: int
    multiple: int
    text: tuple[int, int]
    pooled: int = 0
    controls: int = 0
    tokens: int = 0
    guided: bool = False

    def inputs(self, shape: Shape, random: torch.Generator, chunks: int = 1) -> Case:
        """Random inputs by name, in the order of the contract; scales of the first row are 0 where it is not alone.

        Args:
            shape: of the latents.
            random: what they are drawn from.
            chunks: of the text encoder's length that the prompt is joined of.
        """
        batch, height, width = shape
        length, text_width = self.text
        inputs = {
            "sample": torch.randn(batch, self.channels, height, width, generator=random),
            "timestep": torch.randint(0, 1000, (batch, 1), generator=random).float(),
            "encoder_hidden_states": torch.randn(batch, chunks * length, text_width, generator=random),
        }
        if self.controls:
            picture = (3 * self.controls, PIXELS * height, PIXELS * width)
            inputs["control_image"] = torch.rand(batch, *picture, generator=random)
            inputs["control_scale"] = _scales(batch, self.controls, random)
        if self.tokens:
            inputs["image_embeds"] = torch.randn(batch, self.tokens, self.text[1], generator=random)
            inputs["image_scale"] = _scales(batch, 1, random)
        if self.pooled:
            inputs["text_embeds"] = torch.randn(batch, self.pooled, generator=random)
            inputs["time_ids"] = torch.randint(0, 1024, (batch, TIME_IDS), generator=random).float()
        if self.guided:
            inputs["guidance"] = 1 + 9 * torch.rand(batch, 1, generator=random)
        return inputs

    def graph(self) -> Graph:
        """For tracing."""
        inputs = self.inputs((2, 2 * self.multiple, 3 * self.multiple), torch.Generator().manual_seed(0))
        sided = {"sample": PICTURE, "control_image": CONTROL, "encoder_hidden_states": PROMPT}
        return Graph(inputs, ("out_sample",), {name: sided.get(name, BATCH) for name in inputs})

    def cases(self) -> list[Case]:
        """For verifying: three batches, three shapes, prompts of three lengths."""
        random, side = torch.Generator().manual_seed(1), self.multiple
        shapes = (1, 2 * side, 2 * side), (3, side, 2 * side), (2, 2 * side, side)
        return [self.inputs(shape, random, chunks) for chunks, shape in enumerate(shapes, 1)]


def text_graph(length: int, outputs: Sequence[str]) -> Graph:
    """Of a text encoder for prompts of `length` tokens."""
    inputs = {"input_ids": torch.randint(1, 100, (2, length), dtype=torch.int32)}
    return Graph(inputs, tuple(outputs), {"input_ids": BATCH})


def text_cases(length: int, words: int, end: int) -> list[Case]:
    """Random token ids below `end`, then it, then zeros; of three batches.

    `end`: id of the token that ends a prompt, the highest of `words` where configurations say what they said once (2).
    """
    random = torch.Generator().manual_seed(1)
    last = words - 1 if end == 2 else end  # as transformers' CLIPTextModel reads it
    cases = []
    for batch in (1, 3, 2):
        ids = torch.randint(0, max(last, 1), (batch, length), generator=random)
        ends, places = torch.randint(1, length, (batch, 1), generator=random), torch.arange(length)
        ids = torch.where(places < ends, ids, torch.where(places == ends, last, 0))
        cases.append({"input_ids": ids.int()})
    return cases


def latent_graph(channels: int) -> Graph:
    """Of a VAE's decoder."""
    inputs = {"latents": torch.randn(2, channels, 8, 12)}
    return Graph(inputs, ("image",), {"latents": PICTURE})


def latent_cases(channels: int) -> list[Case]:
    """Random latents of several batches and shapes."""
    random = torch.Generator().manual_seed(1)
    return [{"latents": torch.randn(batch, channels, *sides, generator=random)} for batch, *sides in _SHAPES]


def picture_graph() -> Graph:
    """Of a VAE's encoder."""
    inputs = {"image": torch.randn(2, 3, 8 * PIXELS, 12 * PIXELS)}
    return Graph(inputs, ("latents",), {"image": PICTURE})


def picture_cases() -> list[Case]:
    """Random pictures of several batches and shapes."""
    return [_pictures(batch, PIXELS * height, PIXELS * width) for batch, height, width in _SHAPES]


def likeness_graph(side: int) -> Graph:
    """Of an image encoder for pictures of that side."""
    inputs = {"image": torch.randn(2, 3, side, side)}
    return Graph(inputs, ("image_embeds", "negative_image_embeds"), {"image": BATCH})


def likeness_cases(side: int) -> list[Case]:
    """Random pictures of that side."""
    return [_pictures(batch, side, side) for batch in (1, 3)]


_SHAPES = ((1, 8, 8), (3, 4, 8), (2, 8, 4))


def _pictures(batch: int, height: int, width: int) -> Case:
    random = torch.Generator().manual_seed(1)
    return {"image": torch.rand(batch, 3, height, width, generator=random) * 2 - 1}


def _scales(batch: int, count: int, random: torch.Generator) -> Tensor:
    scales = torch.rand(batch, count, generator=random) + 0.25
    if batch > 1:
        scales[0] = 0
    return scales
