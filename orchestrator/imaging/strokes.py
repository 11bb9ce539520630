"""Thin lines of drawings: found by their width, thinned to one pixel, taken out of the picture. All is uint8 (H, W)."""

from itertools import pairwise

import cv2
import numpy as np
import numpy.typing as npt

from orchestrator.arrays import Pixels

WIDTH_SHARE = 1 / 80
"""A line is what is narrower than this share of the picture's longer side, and anything up to LEAST_WIDTH pixels."""
LEAST_WIDTH = 6
MIN_UPSCALE_STRENGTH = 20
"""Grey levels between a line and its surroundings, at least."""
CONTRAST_SHARE = 0.25
"""... and at least this share of the picture's range."""


def strip_strokes(grey: Pixels, *, dark_first: bool) -> tuple[Pixels, Pixels]:
    """Lines of both polarities as one-pixel strokes (0 and 255), and the picture without them.

    A closing by a disc removes what is dark and narrower than the disc, and so shows it (the black top-hat); an opening
    does the same with what is light (Serra 1982, Soille 2003). The polarity of the ink goes first, and the other is
    searched for in the picture without those lines, so that the gaps between two lines are not lines themselves.
    """
    width = max(LEAST_WIDTH, round(WIDTH_SHARE * max(grey.shape)))
    first, second = (cv2.MORPH_CLOSE, cv2.MORPH_OPEN) if dark_first else (cv2.MORPH_OPEN, cv2.MORPH_CLOSE)
    least = max(MIN_UPSCALE_STRENGTH, CONTRAST_SHARE * float(np.ptp(grey)))
    lines, grey = _strip(grey, width, least, first)
    others, grey = _strip(grey, width, least, second)
    return thin(lines) | thin(others), grey


def _strip(grey: Pixels, width: int, least: float, operation: int) -> tuple[Pixels, Pixels]:
    """(mask of lines 0 and 255, the picture with the closing or opening in their place)."""
    narrow = cv2.absdiff(_morph(grey, width, operation), grey) >= least
    without = _morph(grey, width * 3 // 2, operation)
    lines = _whole_lines(narrow, cv2.absdiff(without, grey) >= least, 2 * width)
    # The soft flanks of a line go with it, or they would stay as a ridge.
    flanks = cv2.dilate(lines, np.ones((5, 5), np.uint8)) > 0
    return lines, np.where(flanks, without, grey)


def _whole_lines(narrow: npt.NDArray[np.bool_], wider: npt.NDArray[np.bool_], length: int) -> Pixels:
    """Connected pieces (8 neighbours) of `wider` that are mostly `narrow` too, as 0 and 255.

    A line about as wide as the limit is so taken whole or not at all. Pieces whose bounding box is shorter than
    `length` are left out: the corners of filled shapes are narrow as well.
    """
    _, labels, stats, _ = cv2.connectedComponentsWithStats(wider.astype(np.uint8), connectivity=8)
    covered = np.bincount(labels[narrow], minlength=len(stats))
    long = np.maximum(stats[:, cv2.CC_STAT_WIDTH], stats[:, cv2.CC_STAT_HEIGHT]) >= length
    lines = long & (2 * covered >= stats[:, cv2.CC_STAT_AREA])
    lines[0] = False  # what is not wider either
    return np.where(lines[labels], 255, 0).astype(np.uint8)


def _morph(grey: Pixels, width: int, operation: int) -> Pixels:
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width + 1 | 1, width + 1 | 1))
    return np.asarray(cv2.morphologyEx(grey, operation, disc), np.uint8)


def thin(mask: Pixels) -> Pixels:
    """The skeleton of a mask (non-zero is set), 0 and 255, one pixel wide and connected as the mask is.

    Guo and Hall 1989, "Parallel thinning with two-subiteration algorithms": pixels are deleted, in two alternating
    passes, while they are on the border, do not end a line, and hold nothing together. A pixel's 8 neighbours are one
    byte, so each pass is one filter and one table.
    """
    left = cv2.copyMakeBorder((mask > 0).astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=[0])
    while True:
        before = left
        for table in _TABLES:
            code = cv2.filter2D(left, cv2.CV_8U, _WEIGHTS, borderType=cv2.BORDER_CONSTANT)
            left = cv2.bitwise_and(left, cv2.LUT(code, table))
        if np.array_equal(left, before):
            return np.ascontiguousarray(left[1:-1, 1:-1] * 255).astype(np.uint8)


# Neighbours p2 to p9 of the paper: north, then clockwise; their bits.
_WEIGHTS = np.array([[128, 1, 2], [64, 0, 4], [32, 16, 8]], np.float32)


def _keeps(code: int, step: int) -> int:
    """1 where a pixel with these neighbours stays in this sub-iteration."""
    p2, p3, p4, p5, p6, p7, p8, p9 = (code >> bit & 1 for bit in range(8))
    ring = (p2, p3, p4, p5, p6, p7, p8, p9, p2)
    components = sum(1 - a & (b | c) for a, b, c in ((p2, p3, p4), (p4, p5, p6), (p6, p7, p8), (p8, p9, p2)))
    pairs = [a | b for a, b in pairwise(ring)]
    neighbours = min(sum(pairs[1::2]), sum(pairs[0::2]))
    side = (p6 | p7 | 1 - p9) & p8 if step == 0 else (p2 | p3 | 1 - p5) & p4
    return 0 if components == 1 and 2 <= neighbours <= 3 and side == 0 else 1


_TABLES = tuple(np.array([_keeps(code, step) for code in range(256)], np.uint8) for step in (0, 1))
