"""Small copies of pictures, for lists of many."""

import cv2
import numpy as np

from orchestrator.arrays import Pixels
from orchestrator.imaging.codec import encode
from orchestrator.imaging.geometry import fitting
from orchestrator.params import ImageFormat, OutputParams

SIDE = 256
"""Longest side, pixels: twice the size at which the playground shows it, for dense screens."""
QUALITY = 75


def thumbnail(picture: Pixels) -> bytes:
    """A copy as WebP whose longer side is SIDE at most; opacity stays. `picture` is uint8 RGB or RGBA.

    It is reduced by the mean over areas, and never enlarged.
    """
    size = fitting(picture, SIDE)
    small: Pixels = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
    return encode(small, OutputParams(format=ImageFormat.WEBP, quality=QUALITY)).data
