"""Colours under pixels that nobody sees."""

import cv2
import numpy as np
import numpy.typing as npt

from orchestrator.arrays import Pixels
from orchestrator.imaging.geometry import fitting

SMALL = 256
"""Side at which colours are spread, pixels."""
LEAST_SEEN = 0.25
"""Share of a small pixel that must be seen for its colour to be spread."""
FAINT = 1e-3
"""Weights below this are too small to divide by."""


def seen_colours(picture: Pixels) -> Pixels:
    """RGB of an RGBA picture: under fully transparent pixels the colours of the nearest seen ones, spread smoothly.

    So whatever reads neighbours or the whole picture finds nothing there that nobody sees.
    """
    colours = np.ascontiguousarray(picture[..., :3])
    hidden = picture[..., 3] == 0
    if not hidden.any():
        return colours
    colours[hidden] = 0
    height, width = hidden.shape
    spread = _spread(colours, hidden, fitting(picture, SMALL))
    np.copyto(colours, cv2.resize(spread, (width, height)).reshape(colours.shape), where=hidden[..., None])
    return colours


def _spread(colours: Pixels, hidden: npt.NDArray[np.bool_], size: tuple[int, int]) -> Pixels:
    """Return a small picture of the seen colours, without holes.

    Normalised convolution (Knutsson and Westin 1993), wider and wider until every hole is filled.
    """
    share = cv2.resize((~hidden).astype(np.float32), size, interpolation=cv2.INTER_AREA)
    known = (share >= min(LEAST_SEEN, float(share.max()))) & (share > 0)
    small = cv2.resize(colours, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    filled = np.zeros_like(small)
    filled[known] = small[known] / share[known][:, None]
    weights, premultiplied = known.astype(np.float32), filled.copy()
    sigma, missing = 1.0, ~known
    while missing.any() and sigma < 4 * SMALL:
        near = cv2.GaussianBlur(weights, (0, 0), sigma)
        found = missing & (near > FAINT)
        filled[found] = cv2.GaussianBlur(premultiplied, (0, 0), sigma)[found] / near[found][:, None]
        missing &= ~found
        sigma *= 2
    return np.rint(np.clip(filled, 0, 255)).astype(np.uint8)
