"""Enlargement without diffusion: the upscaling network in tiles, and resampling for the rest."""

import asyncio
import math

import numpy as np

from orchestrator.arrays import Floats, Pixels
from orchestrator.diffusion.latents import Size, from_pixels, to_pixels
from orchestrator.diffusion.stages import Steps
from orchestrator.errors import EngineFaultError
from orchestrator.imaging import projection
from orchestrator.imaging.layers import resized
from orchestrator.models.tools import Tools, Upscaler

TILE, MARGIN = 256, 20
"""Longest side of a tile, pixels, and how much of it on each side only shows the network what surrounds the rest: more
than the 18 pixels that Real-ESRGAN's small network sees, so that its tiles join without a seam."""
GRAIN = 32
"""Sides of tiles are multiples of this: an engine prepares itself for each shape that it has not seen before."""
WORTH = 1.5
"""Enlargements below this are resampled: the network has little to add."""
MAX_PIXELS = 2_000_000
"""Larger pictures are resampled: on a CPU the network takes some five seconds for each million of pixels."""
MAX_PASSES = 2
"""Passes of the network over a generated picture."""


async def enlarge(picture: Pixels, size: Size, tools: Tools, steps: Steps, *, kept: float = 1.0) -> Pixels:
    """A client's RGB picture, uint8 (H, W, 3), at `size`, which may be smaller as well.

    The network enlarges it once, and resampling does the rest. The result is held to the picture by iterative back
    projection (Irani and Peleg 1991): shrunk again, it is the picture. The network alone would smooth what it takes for
    noise, and change colours by some levels.

    Args:
        picture: what is enlarged.
        size: width and height of the result.
        tools: the upscaling network.
        steps: of the stage.
        kept: how much of the picture's detail the projection puts back, from 0 to 1; colours and light in any case.

    Raises:
        EngineUnavailableError: the upscaling network is named and not ready.
        EngineFaultError: from the network.
        Whatever the listener raises.
    """
    upscaler = _upscaler(tools)
    if upscaler is not None and _is_worth(picture, size):
        picture = await _by_network(picture, _times(picture, size, upscaler), upscaler, steps, kept)
    return await asyncio.to_thread(resized, picture, size)


async def grow(picture: Pixels, size: Size, tools: Tools, steps: Steps) -> Pixels:
    """A generated RGB picture, a whole number of times as large and at least as large as `size`, if that is worth it.

    Without back projection: what the network removes are the traces of the autoencoder. Raises as `enlarge` does.
    """
    upscaler = _upscaler(tools)
    for _ in range(MAX_PASSES):
        if upscaler is None or not _is_worth(picture, size):
            break
        picture = await _by_network(picture, _times(picture, size, upscaler), upscaler, steps)
    return picture


async def multiply(picture: Pixels, times: int, tools: Tools, steps: Steps) -> Pixels | None:
    """An RGB picture `times` as large by the network alone; None where it has none or cannot. Raises as `enlarge`."""
    upscaler = _upscaler(tools)
    if upscaler is None or not 2 <= times <= upscaler.scale or picture.shape[0] * picture.shape[1] > MAX_PIXELS:
        return None
    return await _by_network(picture, times, upscaler, steps)


def _upscaler(tools: Tools) -> Upscaler | None:
    return tools.upscaler if "upscaler" not in tools.waiting else tools.need("upscaler")


def _ratio(picture: Pixels, size: Size) -> float:
    height, width = picture.shape[:2]
    return float(max(size[0] / width, size[1] / height))


def _is_worth(picture: Pixels, size: Size) -> bool:
    return _ratio(picture, size) >= WORTH and picture.shape[0] * picture.shape[1] <= MAX_PIXELS


def _times(picture: Pixels, size: Size, upscaler: Upscaler) -> int:
    """How many times as large the network returns it: enough for the size, so that resampling shrinks, if it can."""
    return min(upscaler.scale, math.ceil(_ratio(picture, size)))


async def _by_network(
    picture: Pixels, times: int, upscaler: Upscaler, steps: Steps, kept: float | None = None
) -> Pixels:
    """The picture `times` as large; with `kept`, back projected.

    Tiles overlap by margins that are dropped; beyond the picture it is reflected. Besides picture and result, a tile
    is held.
    """
    height, width = picture.shape[:2]
    sides = _tile_side(width), _tile_side(height)
    inner = sides[0] - 2 * MARGIN, sides[1] - 2 * MARGIN
    columns, rows = math.ceil(width / inner[0]), math.ceil(height / inner[1])
    beyond = (MARGIN, rows * inner[1] - height + MARGIN), (MARGIN, columns * inner[0] - width + MARGIN), (0, 0)
    padded = await asyncio.to_thread(np.pad, picture, beyond, mode="reflect")
    result = np.empty((height * times, width * times, 3), np.uint8)
    for row in range(rows):
        for column in range(columns):
            top, left = row * inner[1], column * inner[0]
            tile = padded[top : top + sides[1], left : left + sides[0]]
            await steps.call()
            answer = await upscaler(await asyncio.to_thread(from_pixels, tile))
            enlarged = await asyncio.to_thread(_reduced, answer, tile, upscaler.scale, times, kept)
            part = result[times * top : times * (top + inner[1]), times * left : times * (left + inner[0])]
            part[...] = enlarged[times * MARGIN :, times * MARGIN :][: part.shape[0], : part.shape[1]]
    return result


def _tile_side(length: int) -> int:
    """Side of the tiles along an axis: enough for the whole picture, if TILE is."""
    return min(TILE, math.ceil((length + 2 * MARGIN) / GRAIN) * GRAIN)


def _reduced(answer: Floats, tile: Pixels, scale: int, times: int, kept: float | None) -> Pixels:
    """The network's answer, scale times as large as the tile, at `times`; with `kept`, back projected."""
    height, width = tile.shape[:2]
    expected = 1, 3, scale * height, scale * width
    if answer.shape != expected:
        raise EngineFaultError(f"the upscaler answered a tensor of shape {answer.shape}, not {expected}")
    try:
        enlarged = to_pixels(answer)
    except FloatingPointError as error:
        raise EngineFaultError(f"the upscaler: {error}") from error
    return projection.project(enlarged, tile, times, kept)
