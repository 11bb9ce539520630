"""Noise, and what JPEG leaves."""

import math

import cv2
import numpy as np

from orchestrator.arrays import Pixels

PATCH, SEARCH = 5, 15
"""Sides of the patches that are compared, and of the window in which they are searched for, pixels."""
STRONG = 1.8
"""How much more than the noise that is measured the strong way takes for noise."""
SHIFTS = (0, 2, 4, 6)
"""Of the grid of blocks, in both directions, pixels."""
BEST_QUALITY, WORST_QUALITY = 80, 25
"""Of the JPEG that is applied again, at level 0 and at level 1."""

_NOISE = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)


def measure_noise(picture: Pixels, opacity: Pixels | None = None) -> float:
    """Standard deviation of the noise, in grey levels (Immerkaer 1996): blind to what is flat or a straight edge.

    Pixels count by their `opacity`, uint8 (H, W), where one is given.
    """
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32)
    height, width = grey.shape
    if min(height, width) < 3:
        return 0.0
    inside = np.abs(cv2.filter2D(grey, -1, _NOISE)[1:-1, 1:-1])
    weights = None if opacity is None else opacity[1:-1, 1:-1]
    if weights is not None and not weights.any():
        return 0.0
    return float(math.sqrt(math.pi / 2) * np.average(inside, weights=weights)) / 6


def denoise(picture: Pixels, level: float, opacity: Pixels | None = None, *, strong: bool = False) -> Pixels:
    """Non-local means (Buades, Coll and Morel 2005), as strong as the noise that is measured asks for."""
    strength = level * measure_noise(picture, opacity) * (STRONG if strong else 1.0)
    if strength < 0.1:
        return picture
    bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    smooth = cv2.fastNlMeansDenoisingColored(bgr, None, strength, strength, PATCH, SEARCH)
    return np.asarray(cv2.cvtColor(smooth, cv2.COLOR_BGR2RGB), np.uint8)


def clean(picture: Pixels, level: float) -> Pixels:
    """Blocks and rings of JPEG, by JPEG applied again on shifted grids, and the mean of all (Nosratinia 2001)."""
    if level <= 0:
        return picture
    quality = round(BEST_QUALITY + level * (WORST_QUALITY - BEST_QUALITY))
    height, width = picture.shape[:2]
    wide = cv2.copyMakeBorder(picture, 8, 16, 8, 16, cv2.BORDER_REFLECT)
    total = np.zeros((height, width, 3), np.uint16)
    for top in SHIFTS:
        for left in SHIFTS:
            shifted = np.ascontiguousarray(wide[top : top + height + 16, left : left + width + 16])
            _, file = cv2.imencode(".jpg", shifted, [cv2.IMWRITE_JPEG_QUALITY, quality])
            again = cv2.imdecode(file, cv2.IMREAD_COLOR)
            assert again is not None  # noqa: S101  # what imencode wrote
            total += np.asarray(again, np.uint8)[8 - top : 8 - top + height, 8 - left : 8 - left + width]
    count = len(SHIFTS) ** 2
    return ((total + count // 2) // count).astype(np.uint8)
