"""Colours and light of one picture taken over by another."""

import cv2
import numpy as np
import numpy.typing as npt

from orchestrator.arrays import Pixels

CELL = 16
"""Pixels along a side over which colours are compared: what is finer than this stays as it was painted."""


def match_low_frequencies(picture: Pixels, reference: Pixels, cell: int = CELL) -> Pixels:
    """The picture with the reference's colours and light, and its own detail; both uint8 (H, W, 3) of one size.

    The means of cells of about `cell` x `cell` pixels are compared, and their difference, interpolated smoothly, is
    added. Diffusion drifts in just these low frequencies.
    """
    height, width = picture.shape[:2]
    small = max(1, round(width / cell)), max(1, round(height / cell))
    shift = _means(reference, small) - _means(picture, small)
    smooth = cv2.resize(shift, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray(np.rint(np.clip(picture + smooth, 0, 255)), np.uint8)


def _means(picture: Pixels, size: tuple[int, int]) -> npt.NDArray[np.float32]:
    return np.asarray(cv2.resize(picture.astype(np.float32), size, interpolation=cv2.INTER_AREA), np.float32)
