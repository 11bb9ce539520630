"""Which part of a picture is kept where it is cut to another aspect ratio."""

import cv2
import numpy as np
import numpy.typing as npt

from orchestrator.arrays import Pixels
from orchestrator.imaging.boxes import Box
from orchestrator.imaging.edges import grey
from orchestrator.imaging.geometry import fitting

VIEW_SIDE = 256
"""A picture is examined with this longer side, pixels: detail is what is seen of it, not its grain."""


def central(picture: Pixels, size: tuple[int, int]) -> Box:
    """The middle: a box of size (width, height), which is not larger than the picture."""
    height, width = picture.shape[:2]
    return Box((width - size[0]) // 2, (height - size[1]) // 2, *size)


def most_detailed(picture: Pixels, size: tuple[int, int]) -> Box:
    """The box of size (width, height) with the largest sum of gradients, nearest to the middle where several are equal.

    The gradients are |gx| + |gy| of Scharr's 3 x 3 filter over the picture in grey.
    """
    height, width = picture.shape[:2]
    small = fitting(picture, VIEW_SIDE)
    plain = np.asarray(cv2.resize(grey(picture), small, interpolation=cv2.INTER_AREA), np.float32)
    detail = np.abs(cv2.Scharr(plain, cv2.CV_32F, 1, 0)) + np.abs(cv2.Scharr(plain, cv2.CV_32F, 0, 1))
    left = _best(detail.sum(axis=0), size[0], width)
    return Box(left, _best(detail.sum(axis=1), size[1], height), *size)


def around(alpha: npt.NDArray[np.floating], size: tuple[int, int]) -> Box:
    """The box of size (width, height) with an object in its middle, as far as the picture reaches.

    `alpha` is (H, W) in [0, 1], of the object; its middle is that of the rows and columns that hold its inner 90 %.
    """
    sides = []
    for axis, length in ((0, size[0]), (1, size[1])):
        share = np.cumsum(alpha.sum(axis=axis, dtype=np.float64))
        first, last = np.searchsorted(share, [0.05 * share[-1], 0.95 * share[-1]])
        sides.append(int(np.clip((first + last + 1 - length) // 2, 0, alpha.shape[1 - axis] - length)))
    return Box(sides[0], sides[1], *size)


def _best(detail: npt.NDArray[np.floating], length: int, whole: int) -> int:
    """Where a window of `length` out of `whole` pixels begins; `detail` is along the axis, at another scale."""
    free = whole - length
    if free == 0:
        return 0
    edges = np.linspace(0, whole, len(detail) + 1)
    total = np.concatenate([[0.0], np.cumsum(detail, dtype=np.float64)])
    starts = np.unique(np.linspace(0, free, 2 * len(detail) + 1).astype(int))
    sums = np.interp(starts + length, edges, total) - np.interp(starts, edges, total)
    good = starts[sums >= sums.max() * (1 - 1e-6)]
    return int(good[np.argmin(np.abs(good - free / 2))])
