"""Edge pictures for control networks: Canny's edges of a picture, a drawing's strokes, and how alike two of them are.

Pictures are uint8 (H, W, 3) RGB or (H, W, 4) RGBA, alpha straight. Edge pictures are uint8 (H, W), 255 on edges.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from orchestrator.arrays import Pixels
from orchestrator.imaging.geometry import cover
from orchestrator.imaging.strokes import strip_strokes, thin

LOW_SHARE = 0.4
"""low = LOW_SHARE · high. Canny (1986) advises high : low between 2 : 1 and 3 : 1; this is the middle."""
WEAKEST = 48.0
"""The least high threshold that is chosen: a step of 12 grey levels (Sobel answers 4 for each), above JPEG's noise."""
WORK_SIDE = 1024
"""Drawings are read at this longer side at most; see drawing_edges."""
PAPER_SHARE = 0.25
"""A drawing has paper: this share of its pixels is within PAPER_SPREAD grey levels of the commonest one."""
PAPER_SPREAD = 12


@dataclass(frozen=True, slots=True)
class Edges:
    """An edge picture, uint8 (H, W) of 0 and 255, and the thresholds that cv2.Canny computed it with."""

    image: Pixels
    low: float
    high: float


def canny(picture: Pixels, low: float | None = None, high: float | None = None) -> Edges:
    """cv2.Canny of the picture in grey (`grey` below), 3 x 3 Sobel, its norm |gx| + |gy| (L2gradient off).

    A threshold that is not given is chosen from the picture's own gradients: `high` is Otsu's threshold over the
    magnitudes |gx| + |gy| of all pixels, which splits them where the variance between the two classes is largest (Otsu
    1979; for Canny: Fang, Yue, Yu 2009, "The study on an application of Otsu method in Canny operator"), WEAKEST at
    least; `low` is LOW_SHARE of it. A flat picture so has no edges.

    Raises:
        ValueError: low above high, or one below 0.
    """
    plain = grey(picture)
    if high is None:
        high = max(WEAKEST, _otsu_of_gradients(plain), low or 0.0)
    if low is None:
        low = LOW_SHARE * high
    if not 0 <= low <= high:
        raise ValueError(f"Canny's thresholds are 0 <= low <= high, not {low} and {high}")
    return Edges(np.asarray(cv2.Canny(plain, low, high), np.uint8), low, high)


def drawing_edges(picture: Pixels, size: tuple[int, int]) -> Edges:
    """Edges of a drawing: one stroke for each thin line, dark or light, and the outlines of filled shapes.

    Canny sees the two sides of a line. So lines are found first, by their width (strokes.py), thinned to one pixel and
    taken out of the picture; Canny's edges of the rest, the outlines of filled shapes, are added. What has no paper
    (PAPER_SHARE), a photograph, gets Canny's edges alone.

    The result has `size` (width, height) and is framed as geometry.cover does it: the middle of the longer axis. A
    drawing is read at its own size, if its longer side is not above WORK_SIDE; of a larger one each area's pixel that
    differs most from the paper is kept, so that thin lines stay.
    """
    width, height = size
    paper = _paper(grey(picture))
    if paper is None:
        return canny(cover(picture, width, height))
    plain = _shrink_ink(_frame(grey(picture), size), paper)
    lines, rest = strip_strokes(plain, dark_first=paper >= 128)
    outlines = canny(np.repeat(rest[..., None], 3, axis=2))
    return Edges(_to_size(lines | outlines.image, size), outlines.low, outlines.high)


def control_picture(edges: Pixels, size: tuple[int, int]) -> npt.NDArray[np.float32]:
    """The control network's input: float32 (3, height, width), 1 on edges, of size (width, height) in pixels.

    Canny's edges are best computed at this size already, from the resized picture, as such networks are trained: then
    nothing is changed here. Edges of another size are framed as geometry.cover does it (the middle of the longer axis)
    and mapped edge pixel by edge pixel, which loses no line in shrinking (an average would fade it, a sample would
    break it), then thinned to one pixel. Enlarged edges are nearest pixels, thinned.
    """
    return np.repeat((_to_size(_frame(edges, size), size) > 0).astype(np.float32)[None], 3, axis=0)


def edge_agreement(a: Pixels, b: Pixels, tolerance: float = 2.0) -> float:
    """F1 of two edge pictures of one size, 0 to 1; 1 where both are empty, 0 where one is.

    The harmonic mean of two shares: that of a's edge pixels with one of b's within `tolerance` pixels (Euclidean), and
    the same the other way (as in Martin et al. 2004, but every pixel may match any number of others).
    """
    if not a.any() or not b.any():
        return float(a.any() == b.any())
    precision, recall = _near(a, b, tolerance), _near(b, a, tolerance)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def grey(picture: Pixels) -> Pixels:
    """Luma by cv2.COLOR_RGB2GRAY, uint8 (H, W).

    Transparent pixels are laid over white, or over black where what is opaque is light on average, so that the shape
    shows.
    """
    luma = np.asarray(cv2.cvtColor(np.ascontiguousarray(picture[..., :3]), cv2.COLOR_RGB2GRAY), np.uint8)
    if picture.shape[2] == 3:
        return luma
    alpha = picture[..., 3].astype(np.float32) / 255
    opaque = float(alpha.sum())
    light = opaque > 0 and float((luma * alpha).sum()) / opaque >= 128
    return np.rint(luma * alpha + (0 if light else 255) * (1 - alpha)).astype(np.uint8)


def _otsu_of_gradients(plain: Pixels) -> float:
    gx = cv2.Sobel(plain, cv2.CV_16S, 1, 0, borderType=cv2.BORDER_REPLICATE)
    gy = cv2.Sobel(plain, cv2.CV_16S, 0, 1, borderType=cv2.BORDER_REPLICATE)
    counts = np.bincount((np.abs(gx) + np.abs(gy)).ravel(), minlength=2)
    below = np.cumsum(counts)
    above = below[-1] - below
    sums = np.cumsum(counts * np.arange(counts.size))
    with np.errstate(divide="ignore", invalid="ignore"):  # a class without pixels: 0 / 0, which nanargmax passes over
        between = below * above * (sums / below - (sums[-1] - sums) / above) ** 2
    return float(np.nanargmax(between[:-1])) if counts[1:].any() and np.isfinite(between[:-1]).any() else 0.0


def _paper(plain: Pixels) -> int | None:
    """The grey level of the paper, or None where no level and its neighbours are common enough."""
    counts = np.bincount(plain.ravel(), minlength=256)
    level = int(counts.argmax())
    near = counts[max(0, level - PAPER_SPREAD) : level + PAPER_SPREAD + 1].sum()
    return level if near >= PAPER_SHARE * plain.size else None


def _shrink_ink(plain: Pixels, paper: int) -> Pixels:
    height, width = plain.shape
    scale = WORK_SIDE / max(height, width)
    if scale >= 1:
        return plain
    size = max(1, round(width * scale)), max(1, round(height * scale))
    over = _max_pool(np.maximum(plain, paper).astype(np.uint8), size).astype(np.int16) - paper
    under = _max_pool((255 - np.minimum(plain, paper)).astype(np.uint8), size).astype(np.int16) - (255 - paper)
    return (paper + np.where(over > under, over, -under)).astype(np.uint8)


def _frame(plain: Pixels, size: tuple[int, int]) -> Pixels:
    """The middle of a picture, cut to the aspect ratio of size."""
    height, width = plain.shape
    scale = max(size[0] / width, size[1] / height)
    keep_width, keep_height = max(1, round(size[0] / scale)), max(1, round(size[1] / scale))
    top, left = (height - keep_height) // 2, (width - keep_width) // 2
    return plain[top : top + keep_height, left : left + keep_width]


def _to_size(edges: Pixels, size: tuple[int, int]) -> Pixels:
    """Edges stretched to another size, one pixel wide."""
    height, width = edges.shape
    if (width, height) == size:
        return edges
    if width < size[0] or height < size[1]:
        larger = max(width, size[0]), max(height, size[1])
        edges = np.asarray(cv2.resize(edges, larger, interpolation=cv2.INTER_NEAREST), np.uint8)
    return thin(_max_pool(edges, size))


def _max_pool(plain: Pixels, size: tuple[int, int]) -> Pixels:
    """The maximum of each of width x height areas that share the picture out; no side grows."""
    for axis, count in ((1, size[0]), (0, size[1])):
        starts = np.arange(count) * plain.shape[axis] // count
        plain = np.maximum.reduceat(plain, starts, axis=axis)
    return plain


def _near(a: Pixels, b: Pixels, tolerance: float) -> float:
    distance = cv2.distanceTransform((b == 0).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return float((distance[a > 0] <= tolerance).mean())
