"""Blur."""

from collections.abc import Callable

import cv2
import numpy as np

from orchestrator.arrays import Floats, Pixels

Change = Callable[[Floats], Floats]

RADIUS, AMOUNT = 1.2, 1.5
"""Of the unsharp mask: standard deviation of its Gauss, pixels, and how much is added at level 1."""
QUIET = 3.0
"""Differences below this many grey levels are taken for noise, and not sharpened."""
LEAST_BLUR, MOST_BLUR, ROUNDS = 0.7, 1.8, 12
"""Of the deconvolution: standard deviation of the blur that is taken back, pixels, at level 0 and 1; its iterations."""


def unsharp(picture: Pixels, level: float) -> Pixels:
    """Unsharp masking of the brightness: what a Gaussian blur removes is added."""
    amount = np.float32(AMOUNT * level)
    return _brightness(picture, level, lambda light: light + amount * _quietened(light - _blur(light, RADIUS)))


def deconvolve(picture: Pixels, level: float) -> Pixels:
    """Richardson-Lucy deconvolution (Richardson 1972, Lucy 1974) of the brightness, by a Gauss."""
    sigma = LEAST_BLUR + level * (MOST_BLUR - LEAST_BLUR)

    def restore(light: Floats) -> Floats:
        observed = light + np.float32(1)  # ratios near black stay finite
        estimate = observed.copy()
        for _ in range(ROUNDS):
            estimate *= _blur(observed / _blur(estimate, sigma), sigma)
        return light + np.float32(level) * _quietened(estimate - observed)

    return _brightness(picture, level, restore)


def _brightness(picture: Pixels, level: float, change: Change) -> Pixels:
    if level <= 0:
        return picture
    planes = cv2.cvtColor(picture, cv2.COLOR_RGB2YCrCb)
    changed = change(planes[..., 0].astype(np.float32))
    planes[..., 0] = np.rint(np.clip(changed, 0, 255)).astype(np.uint8)
    return np.asarray(cv2.cvtColor(planes, cv2.COLOR_YCrCb2RGB), np.uint8)


def _quietened(difference: Floats) -> Floats:
    """Without what is too small to be an edge (soft threshold)."""
    return np.asarray(np.sign(difference) * np.maximum(np.abs(difference) - QUIET, 0), np.float32)


def _blur(light: Floats, sigma: float) -> Floats:
    return np.asarray(cv2.GaussianBlur(light, (0, 0), sigma, borderType=cv2.BORDER_REFLECT), np.float32)
