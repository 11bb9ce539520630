"""Brightness and contrast."""

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from orchestrator.arrays import Floats, Pixels
from orchestrator.imaging.geometry import fitting

CLIP, TILES = 3.0, 8
"""Of the equalisation: how far a histogram is raised above its mean, and tiles along a side."""
EXPOSURES, MANY_EXPOSURES = (0.45, 1.0, 2.2), (0.35, 0.6, 1.0, 1.7, 2.8)
"""Gammas of the renderings that are fused."""
SMALL, SMOOTH, FINER = 768, 12.0, 5.0
"""Side at which light is measured, pixels, and how smooth what is added is there."""
MOST_GAIN = 2.5
MIDDLE, LEAST_GAMMA, MOST_GAMMA = 0.46, 0.45, 2.2
"""Where the median brightness goes to, of 1, and the bounds of the gamma that takes it there."""
DETAIL_SIGMA, DETAIL_BAND, DETAIL_MARGIN = 10, 1024, 80
"""Of lifting detail: its radius, pixels; rows at a time (100 bytes a pixel), and rows around them for context."""
BAND = 256
"""Rows that are worked on at a time, so that the numbers need little room."""


def contrast(picture: Pixels, level: float) -> Pixels:
    """Contrast-limited adaptive histogram equalisation (Zuiderveld 1994) of the lightness."""
    if level <= 0:
        return picture
    planes = cv2.cvtColor(picture, cv2.COLOR_RGB2Lab)
    light = planes[..., 0]
    equal = cv2.createCLAHE(CLIP, (TILES, TILES)).apply(light)
    planes[..., 0] = cv2.addWeighted(equal, level, light, 1 - level, 0)
    return np.asarray(cv2.cvtColor(planes, cv2.COLOR_Lab2RGB), np.uint8)


def fuse(picture: Pixels, level: float, *, advanced: bool = False) -> Pixels:
    """Exposure fusion (Mertens, Kautz and Van Reeth 2007) of renderings of the one picture: light where it was dark.

    The fusion is done small, and what it adds to the light is applied smoothly, so that detail stays as it is. The
    advanced way fuses more renderings, follows the picture more finely, and lifts detail (Gastal and Oliveira 2011).
    """
    if level <= 0:
        return picture
    gammas, smooth = (MANY_EXPOSURES, FINER) if advanced else (EXPOSURES, SMOOTH)
    lit = _with_gain(picture, _gain(picture, gammas, smooth), level)
    if not advanced:
        return lit
    result = np.empty_like(lit)
    for top in range(0, lit.shape[0], DETAIL_BAND):
        first, last = max(0, top - DETAIL_MARGIN), min(lit.shape[0], top + DETAIL_BAND + DETAIL_MARGIN)
        detailed = cv2.detailEnhance(lit[first:last], sigma_s=DETAIL_SIGMA, sigma_r=0.08)[top - first :]
        rows = lit[top : top + DETAIL_BAND]
        result[top : top + DETAIL_BAND] = cv2.addWeighted(detailed[: len(rows)], level / 2, rows, 1 - level / 2, 0)
    return result


def expose(picture: Pixels, level: float, opacity: Pixels | None = None) -> Pixels:
    """The gamma that brings the median brightness to the middle, within bounds.

    Pixels count by their `opacity`, uint8 (H, W), where one is given.
    """
    if level <= 0:
        return picture
    median = _median(picture, opacity) / 255
    if not 0 < median < 1:
        return picture
    gamma = float(np.clip(np.log(MIDDLE) / np.log(median), LEAST_GAMMA, MOST_GAMMA)) ** level
    table = np.rint(255 * (np.arange(256) / 255) ** gamma).astype(np.uint8)
    return np.asarray(cv2.LUT(picture, table), np.uint8)


def _median(picture: Pixels, opacity: Pixels | None) -> float:
    """The median brightness of what is seen, a grey level; 0 where nothing is."""
    counts = np.zeros(256)
    for top in range(0, picture.shape[0], BAND):
        rows = slice(top, top + BAND)
        grey = np.asarray(cv2.cvtColor(picture[rows], cv2.COLOR_RGB2GRAY), np.uint8)
        counts += np.bincount(grey.ravel(), None if opacity is None else opacity[rows].ravel(), 256)
    return float(np.searchsorted(counts.cumsum(), counts.sum() / 2)) if counts.any() else 0.0


def _gain(picture: Pixels, gammas: Sequence[float], smooth: float) -> Floats:
    """By what the brightness is multiplied, small: logarithms."""
    small = cv2.resize(picture, fitting(picture, SMALL), interpolation=cv2.INTER_AREA)
    tables = [np.rint(255 * (np.arange(256) / 255) ** gamma).astype(np.uint8) for gamma in gammas]
    fused = cv2.createMergeMertens().process([cv2.LUT(small, table) for table in tables])
    before, after = (_grey(each) for each in (small / 255, np.clip(np.asarray(fused, np.float32), 0, 1)))
    bounded = np.clip(np.log((after + 0.02) / (before + 0.02)), -np.log(MOST_GAIN), np.log(MOST_GAIN))
    return np.asarray(cv2.GaussianBlur(bounded, (0, 0), smooth), np.float32)


def _with_gain(picture: Pixels, gain: Floats, level: float) -> Pixels:
    height, width = picture.shape[:2]
    result = np.empty_like(picture)
    whole = cv2.resize(gain, (width, height), interpolation=cv2.INTER_CUBIC)
    for top in range(0, height, BAND):
        rows = slice(top, top + BAND)
        lit = picture[rows] * np.exp(level * whole[rows])[..., None]
        result[rows] = np.rint(np.clip(lit, 0, 255))
    return result


def _grey(picture: npt.NDArray[np.floating]) -> Floats:
    return np.asarray(cv2.cvtColor(np.asarray(picture, np.float32), cv2.COLOR_RGB2GRAY), np.float32)
