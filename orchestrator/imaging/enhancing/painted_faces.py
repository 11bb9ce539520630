"""Faces that were painted over."""

import cv2
import numpy as np
import numpy.typing as npt

from orchestrator.arrays import Pixels
from orchestrator.imaging.layers import resized
from orchestrator.imaging.tone import match_low_frequencies

FADE = 0.35
"""Share of an ellipse's radius over which it fades out."""
SKIN_TONES = 28
"""Differences of grey levels below which skin is smoothed."""
SKIN_CELLS = 60
"""Smoothing reaches over this part of the crop's side."""


def blend(crop: Pixels, unpainted: Pixels, painted: Pixels, smoothing: float, detail: float = 1.0) -> Pixels:
    """The detail that painting has changed of a face, in a soft ellipse. Light and colours stay: detail is brightness.

    Args:
        crop: around the face, RGB.
        unpainted: the crop as it comes out of the autoencoder alone, at the network's size: so what that one loses is
            lost to nobody, and what is finer than the network sees stays as it is.
        painted: the same, painted over.
        smoothing: how smooth skin becomes by a bilateral filter (Tomasi and Manduchi 1998), 0 to 1.
        detail: how much of the changed detail is taken, 0 to 1.
    """
    height, width = crop.shape[:2]
    after, before = (_brightness(resized(each, (width, height))) for each in (painted, unpainted))
    toned = match_low_frequencies(np.clip(crop + detail * (after - before), 0, 255).astype(np.uint8), crop)
    if smoothing > 0:
        smooth = cv2.bilateralFilter(toned, 0, SKIN_TONES, max(2.0, height / SKIN_CELLS))
        toned = np.asarray(cv2.addWeighted(smooth, smoothing, toned, 1 - smoothing, 0), np.uint8)
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    mask = np.clip((1 - np.hypot(x, y)) / FADE, 0, 1)[..., None].astype(np.float32)
    return np.asarray(np.rint(crop + mask * (toned.astype(np.float32) - crop)), np.uint8)


def _brightness(picture: Pixels) -> npt.NDArray[np.int16]:
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)[..., None], np.int16)
