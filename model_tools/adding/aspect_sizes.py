"""Sizes at which a family's UNet runs: one for each usual aspect ratio, near its native number of pixels."""

from __future__ import annotations

import math

STEP = 64
RATIOS = (1.0, 5 / 4, 3 / 2, 16 / 9, 2.0, 7 / 3)
"""Width by height; each upright as well."""
FARTHEST = 0.3
"""Natural logarithm of how far a size's ratio may be from the one that it represents."""
MOST = {"sd": 1.125, "sdxl": 1.0}
"""Of the native number of pixels. SDXL was trained at sizes up to it (Podell et al. 2023, appendix I); Stable Diffusion
1.x at its square alone, and 768 x 384 is usual."""
LEAST = 0.7

Size = tuple[int, int]


def aspect_sizes(native: int, low: int, high: int, *, architecture: str, grain: int = STEP) -> list[Size]:
    """Widths and heights, the square first; multiples of 64, or of `grain` if that is larger.

    Args:
        native: side, in pixels, of the pictures that the UNet was trained with.
        low: the smallest side; a smaller native one is taken as this.
        high: the largest, likewise.
        architecture: "sd" or "sdxl".
        grain: what sides must be multiples of.

    Raises:
        ValueError: no multiple is within the bounds.
    """
    step = STEP if STEP % grain == 0 else math.lcm(STEP, grain)
    sides = range(-(-low // step) * step, high + 1, step)
    if not sides:
        raise ValueError(f"no side from {low} to {high} is a multiple of {step}")
    base = min(sides, key=lambda side: (abs(side - native), side))
    found: dict[Size, None] = {(base, base): None}
    for ratio in RATIOS[1:]:
        wide = _nearest(ratio, base * base, MOST.get(architecture, 1.0), sides)
        if wide:
            found |= {wide: None, wide[::-1]: None}
    return list(found)


def _nearest(ratio: float, pixels: int, most: float, sides: range) -> Size | None:
    """The size that misses the ratio and the number of pixels least."""
    allowed = [
        (width, height)
        for width in sides
        for height in sides
        if LEAST * pixels <= width * height <= most * pixels and abs(math.log(width / height / ratio)) < FARTHEST
    ]
    return min(allowed, key=lambda size: _missed(size, ratio, pixels), default=None)


def _missed(size: Size, ratio: float, pixels: int) -> float:
    width, height = size
    return abs(math.log(width / height / ratio)) + abs(math.log(width * height / pixels))


def parse_sizes(text: str) -> Size:
    """LOW..HIGH, in pixels.

    Raises:
        ValueError: it is something else, or does not rise.
    """
    low, dots, high = text.partition("..")
    bounds = int(low), int(high if dots else low)
    if not 64 <= bounds[0] <= bounds[1] <= 4096:
        raise ValueError(f"{text}: sides are from 64 to 4096 pixels, the lower first")
    return bounds
