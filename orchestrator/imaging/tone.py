"""Colours and light of one picture taken over by another."""

import cv2
import numpy as np
import numpy.typing as npt

from orchestrator.arrays import Pixels

CELL = 16
"""Pixels along a side over which colours are compared: what is finer than this stays as it was painted."""
MATCH_SIDE = 512
"""Longer side at which colours around a border are compared, pixels: they are smooth."""
LEAST_WEIGHT = 1e-3
"""So that nothing is carried to where nothing is known nearby."""


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


def match_around(picture: Pixels, reference: Pixels, known: npt.NDArray[np.bool_], reach: float) -> Pixels:
    """The picture with the reference's colours and light at the border of what is known, and less of them away from it.

    What the two differ by where the reference is known is averaged nearby (normalised convolution, Knutsson and Westin
    1993), carried beyond, and falls with the distance. So no frame shows where new is laid next to old.

    Args:
        picture: uint8 (H, W, 3).
        reference: the same; what is not known of it does not count.
        known: (H, W).
        reach: pixels along which the change falls to a third.
    """
    height, width = known.shape
    scale = min(1.0, MATCH_SIDE / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    weight = known.astype(np.float32)
    difference = (reference.astype(np.float32) - picture) * weight[..., None]
    small, share = (np.asarray(cv2.resize(each, size, interpolation=cv2.INTER_AREA)) for each in (difference, weight))
    sigma = max(1.0, reach * scale / 4)
    shift = cv2.GaussianBlur(small, (0, 0), sigma) / (cv2.GaussianBlur(share, (0, 0), sigma) + LEAST_WEIGHT)[..., None]
    distance = cv2.distanceTransform((share < 1 / 2).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    fading = shift * np.exp(-distance / max(1.0, reach * scale))[..., None].astype(np.float32)
    smooth = cv2.resize(fading, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(np.rint(np.clip(picture + smooth, 0, 255)), np.uint8)


def _means(picture: Pixels, size: tuple[int, int]) -> npt.NDArray[np.float32]:
    return np.asarray(cv2.resize(picture.astype(np.float32), size, interpolation=cv2.INTER_AREA), np.float32)
