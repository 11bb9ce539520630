"""Pictures larger than the networks run at: overlapping views of latents, and tiles for the VAE.

Latents are denoised as MultiDiffusion does it (Bar-Tal et al. 2023, formula 5): at each step the network sees every
view on its own, and their predictions are averaged where views overlap. The weights are those of a tent, as in Mixture
of Diffusers (Jiménez 2023), which takes a Gaussian: 1 in a view's middle, falling linearly to its border, so that no
view's border shows. Every sampler is affine in the prediction, so averaging predictions is averaging its steps.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import groupby
from typing import TypeVar

import numpy as np

from orchestrator.arrays import Floats

Item = TypeVar("Item")

VIEW_OVERLAP = Fraction(1, 4)
"""Least share of a view that its neighbour sees too."""
VAE_OVERLAP = Fraction(1, 4)
"""Share of a VAE tile that is blended with its neighbour: diffusers' tile_overlap_factor."""


@dataclass(frozen=True, slots=True)
class View:
    """A rectangle of latents."""

    top: int
    left: int
    height: int
    width: int

    def cut(self, array: Floats, factor: int = 1) -> Floats:
        """Its part of (..., h, w) latents, or of a picture with `factor` pixels for each latent."""
        rows = slice(factor * self.top, factor * (self.top + self.height))
        return array[..., rows, factor * self.left : factor * (self.left + self.width)]


def views(height: int, width: int, tile_height: int, tile_width: int) -> tuple[View, ...]:
    """Views of one size that cover latents of height x width, row by row, evenly spread; as few as overlap by 1/4.

    A view is as large as a tile, or as the latents along a side where those are smaller.
    """
    tops, leftmost = _starts(height, tile_height), _starts(width, tile_width)
    size = min(height, tile_height), min(width, tile_width)
    return tuple(View(top, left, *size) for top in tops for left in leftmost)


def _starts(length: int, tile: int) -> list[int]:
    if length <= tile:
        return [0]
    stride = tile - math.ceil(tile * VIEW_OVERLAP)
    gaps = math.ceil((length - tile) / stride)
    return [(length - tile) * i // gaps for i in range(gaps + 1)]


def tent(height: int, width: int) -> Floats:
    """Weights (height, width) of a view: the product of two tents, each up to 1 in the middle, above 0 everywhere."""

    def ramp(length: int) -> Floats:
        distance = np.minimum(np.arange(length) + 0.5, length - np.arange(length) - 0.5)
        return np.asarray(distance / (length / 2), np.float32)

    return np.outer(ramp(height), ramp(width))


class Average:
    """The weighted average of views' predictions, gathered one after another."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._total = np.zeros(shape, np.float32)
        self._weights = np.zeros(shape[2:], np.float32)

    def add(self, view: View, prediction: Floats) -> None:
        """Add the prediction (1, C, view.height, view.width) of a view."""
        weights = tent(view.height, view.width)
        view.cut(self._total)[...] += weights * prediction
        view.cut(self._weights)[...] += weights

    def result(self) -> Floats:
        """(1, C, h, w), once every place was seen."""
        return self._total / self._weights


Run = Callable[[Floats], Awaitable[Floats]]
"""A network call: (n, C, h, w) to (n, C', scale·h, scale·w), n equal shapes at once."""


async def in_tiles(array: Floats, run: Run, *, tile: int, scale: Fraction, channels: int, max_rows: int) -> Floats:
    """Run a VAE over (1, C, H, W) in overlapping tiles of side `tile`, blended linearly: (1, C', scale·H, scale·W).

    The arithmetic of diffusers' AutoencoderKL.tiled_decode and tiled_encode: tiles begin every 3/4 of their side, the
    last ones are cut off by the array's edge; each is blended over a quarter with the finished tile above it, then with
    that to its left. Up to max_rows tiles of one shape share a call. In addition to the result, two rows of tiles are
    held.

    Args:
        array: latents to decode, or a picture to encode.
        run: the network.
        tile: a multiple of 4, and of 4 / scale where that is more.
        scale: sides of the result for each of the array.
        channels: C', of the result.
        max_rows: most tiles of a call.
    """
    stride, side = tile - int(tile * VAE_OVERLAP), int(tile * scale)
    extent = int(side * VAE_OVERLAP)
    limit = side - extent
    height, width = (int(length * scale) for length in array.shape[2:])
    result = np.empty((1, channels, height, width), np.float32)
    above: list[Floats] = []
    for y, top in enumerate(range(0, array.shape[2], stride)):
        pieces = [array[:, :, top : top + tile, left : left + tile] for left in range(0, array.shape[3], stride)]
        row = [piece async for piece in _run_all(pieces, run, max_rows)]
        for x, piece in enumerate(row):
            if above:
                _blend(above[x], piece, extent, axis=2)
            if x:
                _blend(row[x - 1], piece, extent, axis=3)
            part = piece[:, :, :limit, :limit]
            View(y * limit, x * limit, *part.shape[2:]).cut(result)[...] = part
        above = row
    return result


def batches(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    """Items in their order, `size` at a time and the rest."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


async def _run_all(pieces: Sequence[Floats], run: Run, max_rows: int) -> AsyncIterator[Floats]:
    """The network's answer to each piece, in order; neighbours of one shape share calls."""
    for _, equal in groupby(pieces, key=lambda piece: piece.shape):
        for batch in batches(list(equal), max_rows):
            for answer in await run(np.concatenate(batch)):
                yield answer[None].copy()  # written to, and an engine's own memory is not ours to write


def _blend(before: Floats, piece: Floats, extent: int, axis: int) -> None:
    """Fade from the end of `before` into the beginning of `piece` (1, C, H, W), in place, along an axis."""
    extent = min(before.shape[axis], piece.shape[axis], extent)
    old, new = np.moveaxis(before, axis, -1), np.moveaxis(piece, axis, -1)
    share = np.arange(extent) / extent
    fading = old[..., -extent:] * (1 - share).astype(np.float32)
    new[..., :extent] = fading + new[..., :extent] * share.astype(np.float32)
