"""Enlargement of text and line drawings: strokes stay sharp.

An enlargement blurs a stroke, a plain one over as many pixels as it enlarges. Text has few colours with sharp edges
between them, which can be put back: a pixel is moved towards the darkest or the brightest of its neighbourhood,
whichever is nearer, and the result is held to the original by iterative back projection (Irani and Peleg 1991): shrunk
again, it is the original.

Pictures are uint8 (H, W, C); sizes are (width, height).
"""

import math

import cv2
import numpy as np

from orchestrator.arrays import Floats, Pixels
from orchestrator.imaging.layers import resized

MOST_TIMES = 4
"""Of each side: what is larger is enlarged plainly from there."""
TILE, MARGIN = 256, 12
"""Pixels of the original that are worked on at a time, and around them, so that memory stays bounded."""
ROUNDS, PROJECTIONS = 2, 4
GAIN = 1.5
"""How much steeper an edge becomes in a round."""
FLAT, CLEAR = 24.0, 64.0
"""Differences of a neighbourhood, grey levels, up to which nothing is sharpened, and from which on everything is: noise
and gradients stay as they are."""


def times_of(picture: Pixels, size: tuple[int, int]) -> int:
    """How many times as large text is drawn before it is resampled to `size`; 1 where that is no larger."""
    height, width = picture.shape[:2]
    return max(1, min(MOST_TIMES, math.ceil(min(size[0] / int(width), size[1] / int(height)))))


def visible_colours(picture: Pixels) -> Pixels:
    """RGB: white where nothing is seen, since what hides under transparent pixels does not take part."""
    if picture.shape[2] == 3:
        return picture
    return np.where(picture[..., 3:] > 0, picture[..., :3], 255).astype(np.uint8)


def enlarge(picture: Pixels, size: tuple[int, int], first: Pixels | None = None) -> Pixels:
    """RGB or RGBA at `size`; opacity is sharpened as colours are. A size that is no larger is resampled plainly.

    Args:
        picture: what is enlarged.
        size: width and height of the result.
        first: `visible_colours` of the picture, `times_of` as large, by a network; by Lanczos if there is none.
    """
    if picture.shape[2] == 4:
        alpha = np.repeat(picture[..., 3:], 3, axis=2)
        return np.concatenate([enlarge(visible_colours(picture), size, first), enlarge(alpha, size)[..., :1]], axis=2)
    height, width = picture.shape[:2]
    times = times_of(picture, size)
    if times < 2:
        return resized(picture, size)
    result = np.empty((height * times, width * times, picture.shape[2]), np.uint8)
    padded, first_padded = _padded(picture, MARGIN), None if first is None else _padded(first, times * MARGIN)
    for top in range(0, height, TILE):
        for left in range(0, width, TILE):
            rows, columns = min(TILE, height - top), min(TILE, width - left)
            part = padded[top : top + rows + 2 * MARGIN, left : left + columns + 2 * MARGIN]
            start = None if first_padded is None else first_padded[times * top :, times * left :]
            done = _sharp(part.astype(np.float32), times, start)
            inner = done[times * MARGIN : -times * MARGIN, times * MARGIN : -times * MARGIN]
            place = np.s_[times * top : times * (top + rows), times * left : times * (left + columns)]
            result[place] = np.rint(inner)
    return resized(result, size)


def _padded(picture: Pixels, margin: int) -> Pixels:
    return np.pad(picture, ((margin, margin), (margin, margin), (0, 0)), mode="edge")


def _sharp(small: Floats, times: int, start: Pixels | None) -> Floats:
    """A part of the picture, float32 (h, w, C) from 0 to 255, a whole number of times as large.

    `start` begins with a network's enlargement of it, which is sharp already: one round is enough.
    """
    size = small.shape[1] * times, small.shape[0] * times
    around = np.ones((3, 3), np.uint8)
    low, high = (
        _stretched(np.asarray(extreme(small, around), np.float32), size, cv2.INTER_LINEAR)
        for extreme in (cv2.erode, cv2.dilate)
    )
    span = np.maximum(high - low, 1)
    share = np.clip((span - FLAT) / (CLEAR - FLAT), 0, 1)
    if start is None:
        large = _stretched(small, size, cv2.INTER_LANCZOS4)
    else:
        large = start[: size[1], : size[0]].astype(np.float32)
    if not share.any():
        return np.asarray(np.clip(large, low, high), np.float32)
    for _ in range(ROUNDS if start is None else 1):
        large = np.clip(_projected(large, small, PROJECTIONS), low, high)
        steep = low + span * np.clip(((large - low) / span - 0.5) * GAIN + 0.5, 0, 1)
        large = large + share * (steep - large)
    return np.asarray(np.clip(_projected(large, small, ROUNDS), low, high), np.float32)


def _projected(large: Floats, small: Floats, times: int) -> Floats:
    """What of `large` differs from `small`, once it is shrunk, is put back `times` times."""
    size, own = large.shape[1::-1], small.shape[1::-1]
    for _ in range(times):
        large = large + _stretched(small - _stretched(large, own, cv2.INTER_AREA), size, cv2.INTER_CUBIC)
    return large


def _stretched(picture: Floats, size: tuple[int, ...], kernel: int) -> Floats:
    stretched = cv2.resize(picture, (size[0], size[1]), interpolation=kernel)
    return np.asarray(stretched, np.float32).reshape(size[1], size[0], -1)
