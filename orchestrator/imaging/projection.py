"""An enlargement that stays true to its source: iterative back projection (Irani and Peleg 1991)."""

import cv2
import numpy as np

from orchestrator.arrays import Pixels

ROUNDS = 2
SMOOTHING = 9
"""Pixels of the source over which colours are compared where detail is left as it was enlarged."""


def project(enlarged: Pixels, source: Pixels, times: int, kept: float | None) -> Pixels:
    """An enlargement, uint8 (H, W, 3), of a source (h, w, 3), at `times` the source's size.

    Args:
        enlarged: at least `times` as large as the source.
        source: what was enlarged.
        times: of the result.
        kept: how much of the source's detail is put back, from 0 to 1: with 1 the result, shrunk again, is the source.
            Colours and light are put back in any case. With None nothing is.
    """
    height, width = source.shape[:2]
    size = width * times, height * times
    large = np.asarray(cv2.resize(enlarged, size, interpolation=cv2.INTER_AREA), np.uint8)
    if kept is None:
        return large
    result = large.astype(np.float32)
    for _ in range(ROUNDS):
        missing = source - np.asarray(cv2.resize(result, (width, height), interpolation=cv2.INTER_AREA), np.float32)
        if kept < 1:
            missing = kept * missing + (1 - kept) * np.asarray(cv2.blur(missing, (SMOOTHING, SMOOTHING)), np.float32)
        result += np.asarray(cv2.resize(missing, size, interpolation=cv2.INTER_CUBIC), np.float32)
    return np.asarray(np.rint(np.clip(result, 0, 255)), np.uint8)
