"""Sizes of pictures."""

import numpy as np

from orchestrator.arrays import Pixels
from orchestrator.imaging.layers import resized

MARGIN = 4
"""Pixels on each side of a point that Lanczos over 8 x 8 takes into account."""


def cover(picture: Pixels, width: int, height: int) -> Pixels:
    """Resize to cover width x height with the aspect ratio kept, and cut the middle out: uint8 (height, width, C).

    Enlarging is by Lanczos over 8 x 8 pixels; shrinking averages areas, where Lanczos of a fixed support would alias.
    """
    scale = max(width / picture.shape[1], height / picture.shape[0])
    picture = _trim(_trim(picture, width / scale, axis=1), height / scale, axis=0)
    have_height, have_width = picture.shape[:2]
    size = (max(width, round(have_width * scale)), max(height, round(have_height * scale)))
    picture = resized(picture, size)
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    return np.ascontiguousarray(picture[top : top + height, left : left + width])


def _trim(picture: Pixels, needed: float, axis: int) -> Pixels:
    """The middle of an axis, at least `needed` pixels and the margin that resampling reads.

    What a later cut drops anyway is not resized: 64 x 4096 of a square would pass through 4096 x 4096.
    """
    have = picture.shape[axis]
    drop = max(0, (have - int(np.ceil(needed))) // 2 - MARGIN)
    return np.take(picture, range(drop, have - drop), axis=axis) if drop else picture


def fitting(picture: Pixels, side: int) -> tuple[int, int]:
    """The picture's size (width, height), with a longer side of `side` at most."""
    height, width = picture.shape[:2]
    scale = min(1.0, side / max(height, width))
    return max(1, round(width * scale)), max(1, round(height * scale))
