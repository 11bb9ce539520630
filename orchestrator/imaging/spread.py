"""A picture as a small square, and a change of that square spread over the picture."""

import cv2
import numpy as np

from orchestrator.arrays import Floats, Pixels

BAND = 512
"""Rows that are changed at a time: bounds the memory of large pictures."""


def squared(picture: Pixels, side: int) -> Floats:
    """(3, side, side) RGB in [-1, 1]; what is transparent counts as its colour."""
    rgb = np.ascontiguousarray(picture[..., :3])
    shrinks = min(picture.shape[:2]) > side
    resized = cv2.resize(rgb, (side, side), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return np.asarray(resized.transpose(2, 0, 1).astype(np.float32) / 127.5 - 1, np.float32)


def with_change(picture: Pixels, change: Floats, top: int = 0, height: int | None = None) -> Pixels:
    """The picture, or a band of it, with a change of a small square enlarged over all of the picture, bilinearly.

    Args:
        picture: uint8 (rows, width, 3) RGB or (rows, width, 4) RGBA, whose opacity stays.
        change: (3, S, S), in units of `squared`: 2 is the whole range.
        top: row of the picture that the band begins with.
        height: of the picture; None where the band is all of it.
    """
    rows, width = picture.shape[:2]
    height, side = rows if height is None else height, change.shape[1]
    source = np.ascontiguousarray(change.transpose(1, 2, 0) * 127.5)
    result = picture.copy()
    x_scale, y_scale = side / width, side / height
    for start in range(0, rows, BAND):
        count = min(BAND, rows - start)
        # As cv2.resize does it, for some rows: where each pixel's centre is in the square.
        first = (top + start + 0.5) * y_scale - 0.5
        place = np.array([[x_scale, 0, 0.5 * x_scale - 0.5], [0, y_scale, first]], np.float64)
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        band = cv2.warpAffine(source, place, (width, count), flags=flags, borderMode=cv2.BORDER_REPLICATE)
        old = picture[start : start + count, :, :3]
        result[start : start + count, :, :3] = np.clip(np.rint(old + band), 0, 255).astype(np.uint8)
    return result
