"""An invisible mark of 32 bits, which survives what takes metadata out of files: other formats, sizes and small crops.

RivaGAN (Zhang et al. 2019, arXiv 1909.01285) works on a square of one size; what it changes there is enlarged and added
to the picture, so that neither the picture's size nor its later size matters.
"""

import asyncio

import numpy as np

from orchestrator.arrays import Floats, Pixels
from orchestrator.imaging.spread import squared, with_change
from orchestrator.models.tools import WatermarkDecoder, WatermarkEncoder

BITS = 32
MOST_WRONG = 5
"""Bits that may be wrong where a mark is recognised: of random bits one pattern in 17,687 is as near."""
PASSES, MOST_WRONG_WRITTEN = 3, 1
"""How often a mark is written, until at most this many bits are wrong."""
SET = 0.52
"""From here on the decoder's answer is a one, as its publisher has it."""


async def change_of(encoder: WatermarkEncoder, decoder: WatermarkDecoder, picture: Pixels, mark: int) -> Floats:
    """The change by which a picture carries a mark: (3, S, S) in [-2, 2], for imaging.spread.with_change.

    Some pictures, flat white ones above all, take the mark badly: it is written up to PASSES times, until it is read.

    Args:
        encoder: writes a mark into a square.
        decoder: reads it.
        picture: uint8 (H, W, 3) RGB or (H, W, 4) RGBA, in any size: the picture itself, or a smaller copy.
        mark: 0 to 2^32 - 1.
    """
    bits = np.array([[mark >> (BITS - 1 - place) & 1 for place in range(BITS)]], np.float32)
    change = np.zeros((3, encoder.side, encoder.side), np.float32)
    for _ in range(PASSES):
        small = await asyncio.to_thread(squared, picture, encoder.side)
        step = np.clip((await encoder(small[None], bits))[0], -1, 1) - small
        change += step
        picture = await asyncio.to_thread(with_change, picture, step)
        if (await read(decoder, picture) ^ mark).bit_count() <= MOST_WRONG_WRITTEN:
            break
    return change


async def read(network: WatermarkDecoder, picture: Pixels) -> int:
    """The 32 bits that a picture shows, whether it is marked or not; of a mark at most MOST_WRONG differ."""
    small = await asyncio.to_thread(squared, picture, network.side)
    answer = await network(small[None])
    return int("".join("1" if bit > SET else "0" for bit in answer[0]), 2)
