"""Colours."""

import cv2
import numpy as np
import numpy.typing as npt

from orchestrator.arrays import Pixels
from orchestrator.imaging.geometry import fitting

SMALL, SMOOTH = 768, 2.0
"""Side at which the light is estimated, pixels, and the standard deviation of the Gauss before."""
LEAST_EDGE = 0.05
"""Mean gradient, grey levels a pixel, below which there is nothing to see."""
CLIPPED = 250
"""From here on a channel says nothing about the light."""
MOST_GAIN = 2.0
STRONGER = 0.5
"""How much stronger colours become at level 1: their chroma is multiplied by 1.5."""
FULL_CHROMA = 90.0
"""Chroma, in Lab, from which on vibrance adds nothing."""
SKIN_HUE, SKIN_WIDTH, SKIN_KEPT = np.deg2rad(50), np.deg2rad(25), 0.7
"""Hue of skin in Lab, the width around it, and how much of the change is kept from it."""
BAND = 256


def balance(picture: Pixels, level: float, opacity: Pixels | None = None) -> Pixels:
    """White balance by grey edges (van de Weijer, Gevers and Gijsenij 2007): differences between neighbours are grey.

    The light is what the channels' mean first derivatives say. A picture without edges says nothing, and stays.
    Pixels count by their `opacity`, uint8 (H, W), where one is given.
    """
    if level <= 0:
        return picture
    edges = _edges(picture, opacity)
    if edges.min() < LEAST_EDGE:
        return picture
    gains = np.clip(edges.mean() / edges, 1 / MOST_GAIN, MOST_GAIN) ** level
    tables = np.rint(np.clip(np.arange(256)[:, None] * gains, 0, 255)).astype(np.uint8)
    return np.asarray(cv2.LUT(picture, tables[None]), np.uint8)


def _edges(picture: Pixels, opacity: Pixels | None) -> npt.NDArray[np.float64]:
    """Mean length of the gradient of each channel, of a picture reduced and smoothed, where nothing is clipped."""
    size = fitting(picture, SMALL)
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    weights = np.asarray((small < CLIPPED).all(axis=2), np.float64)
    if opacity is not None:
        weights *= cv2.resize(opacity, size, interpolation=cv2.INTER_AREA)
    smooth = cv2.GaussianBlur(small.astype(np.float32), (0, 0), SMOOTH)
    lengths = np.hypot(cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1))
    return np.average(lengths, axis=(0, 1), weights=weights) if weights.any() else np.zeros(3)


def strengthen(picture: Pixels, level: float, *, vibrance: bool = False, keep_skin: bool = False) -> Pixels:
    """Chroma in Lab, increased; with vibrance the less the stronger it is already, skin spared or not."""
    if level <= 0:
        return picture
    result = np.empty_like(picture)
    for top in range(0, picture.shape[0], BAND):
        planes = np.asarray(cv2.cvtColor(picture[top : top + BAND] / np.float32(255), cv2.COLOR_RGB2Lab), np.float32)
        a, b = planes[..., 1], planes[..., 2]
        more = np.full(a.shape, STRONGER * level, np.float32)
        if vibrance:
            more *= np.clip(1 - np.hypot(a, b) / FULL_CHROMA, 0, 1) * 1.6
        if keep_skin:
            more *= 1 - SKIN_KEPT * np.exp(-(((np.arctan2(b, a) - SKIN_HUE) / SKIN_WIDTH) ** 2))
        planes[..., 1:] *= (1 + more)[..., None]
        colours = cv2.cvtColor(planes, cv2.COLOR_Lab2RGB)
        result[top : top + BAND] = np.rint(np.clip(colours * 255, 0, 255))
    return result
