"""Plain enlargement: the upscaling network in tiles, and resampling for the rest."""

import asyncio
import math
from collections.abc import Sequence

import numpy as np

from orchestrator.diffusion.latents import Pixels, Size, from_pixels, to_pixels
from orchestrator.diffusion.stages import Steps
from orchestrator.diffusion.tiles import batches
from orchestrator.errors import EngineFaultError
from orchestrator.imaging.layers import resized
from orchestrator.models.contracts import Floats
from orchestrator.models.tools import Tools, Upscaler
from orchestrator.tasks.pictures import size_of

TILE, MARGIN = 256, 16
"""Side of a tile, pixels, and how much of it on each side only shows the network what surrounds the rest."""
ROWS = 4
"""Tiles of one request."""
WORTH = 1.5
"""Enlargements below this are resampled: the network has little to add."""


async def enlarge(picture: Pixels, size: Size, tools: Tools, steps: Steps) -> Pixels:
    """An RGB picture, uint8 (H, W, 3), at `size`, which may be smaller as well.

    The network enlarges it once, and resampling does the rest: of its own answer the network would make nothing new.

    Raises:
        EngineUnavailableError: the upscaling network is named and not ready.
        EngineFaultError: from the network.
        Whatever the listener raises.
    """
    upscaler = tools.upscaler if "upscaler" not in tools.waiting else tools.need("upscaler")
    have = size_of(picture)
    if upscaler is not None and max(size[0] / have[0], size[1] / have[1]) >= WORTH:
        picture = await _double(picture, upscaler, steps)
    return await asyncio.to_thread(resized, picture, size)


async def _double(picture: Pixels, upscaler: Upscaler, steps: Steps) -> Pixels:
    """The picture upscaler.scale times as large. Tiles overlap by margins that are thrown away: no seams."""
    scale, inner = upscaler.scale, TILE - 2 * MARGIN
    width, height = size_of(picture)
    columns, rows = math.ceil(width / inner), math.ceil(height / inner)
    beyond = (MARGIN, rows * inner - height + MARGIN), (MARGIN, columns * inner - width + MARGIN), (0, 0)
    padded = await asyncio.to_thread(np.pad, picture, beyond, mode="symmetric")
    result = np.empty((rows * inner * scale, columns * inner * scale, 3), np.uint8)
    places = [(row * inner, column * inner) for row in range(rows) for column in range(columns)]
    for some in batches(places, ROWS):
        tiles = await asyncio.to_thread(_tensor, padded, some)
        await steps.call()
        answer = await upscaler(tiles)
        made = await asyncio.to_thread(_checked, answer, len(some), scale * TILE)
        for (top, left), tile in zip(some, made, strict=True):
            kept = tile[scale * MARGIN : -scale * MARGIN, scale * MARGIN : -scale * MARGIN]
            result[scale * top : scale * (top + inner), scale * left : scale * (left + inner)] = kept
    return result[: scale * height, : scale * width]


def _tensor(padded: Pixels, places: Sequence[tuple[int, int]]) -> Floats:
    """The tiles whose first rows and columns are named, as the network takes them."""
    return np.concatenate([from_pixels(padded[top : top + TILE, left : left + TILE]) for top, left in places])


def _checked(answer: Floats, rows: int, side: int) -> list[Pixels]:
    """The network's tiles as pixels."""
    if answer.shape != (rows, 3, side, side):
        raise EngineFaultError(f"the upscaler answered a tensor of shape {answer.shape}, not {(rows, 3, side, side)}")
    try:
        return [to_pixels(tile) for tile in answer]
    except FloatingPointError as error:
        raise EngineFaultError(f"the upscaler: {error}") from error
