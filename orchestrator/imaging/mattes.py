"""Mattes: the matting network's coarse opacity drawn to the picture's own borders, the object's own colours, its parts.

Pictures are uint8 (H, W, 3) RGB; mattes are float32 (H, W) in [0, 1].
"""

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from orchestrator.arrays import Floats, Pixels
from orchestrator.imaging import closed_form
from orchestrator.imaging.boxes import Box
from orchestrator.imaging.closed_form import Flags, Matte
from orchestrator.imaging.foreground import estimate
from orchestrator.imaging.geometry import fitting

WORK_SIDES = (384, 256, 160)
"""Longer sides at which the band is solved, pixels: the first at which it is no larger than MOST_UNKNOWN."""
MOST_UNKNOWN = 30_000
"""Pixels that are solved for, which bounds the time: more than the least of WORK_SIDES has, where all may be unsure."""
COLOR_SIDE = 256
"""Longer side at which the object's colours are estimated, pixels: they are smooth where the matte is not."""
STRIP = 1 << 18
"""Pixels whose colours are worked out at a time: what they take in addition to the picture does not grow with it."""
MOST_PIXELS = 4_000_000
"""Larger pictures have their matte computed at this many pixels, and stretched."""
SURE = 0.05
"""Opacity nearer than this to 0 or 1 is 0 or 1: the inside of an object is opaque, and stays as it is."""
REACH = 1.5
"""The band holds what is nearer than this to something unsure: pixels of the network's own picture."""
FIT_RADIUS, FIT_EPSILON = 2, 5e-4
"""Windows, and the variance that counts as flat, of the affine functions that carry a matte to full size."""
LEAST_SHARE, LEAST_OPACITY = 1e-4, 0.5
"""An object is there if it makes up this share of the picture at least, and any of it is as opaque as this."""
SEEN = 0.02
"""What is less opaque is not counted to an object's extent."""
SPECK = 0.05
"""Parts smaller than this share of the largest are not objects of their own."""
HOLE = 0.2
"""What an object encloses belongs to it, where that is nowhere less opaque than this."""


def refine(picture: Pixels, coarse: Matte) -> Matte:
    """The matte (H, W) of a picture, from a network's one of any size, which is stretched over it.

    Where the network is sure (within SURE of 0 or 1, and REACH of its pixels away from all that is not) the matte is 0
    or 1. The band between is solved by closed-form matting at one of WORK_SIDES and carried to full size by the affine
    functions of colour that it consists of there. Where the solver does not converge it is what the network said,
    stretched linearly.
    """
    height, width = picture.shape[:2]
    if height * width > MOST_PIXELS:
        scale = (MOST_PIXELS / (height * width)) ** 0.5
        return _linear(refine(_shrunk(picture, (int(width * scale), int(height * scale))), coarse), (width, height))
    starts = (_linear(coarse, fitting(picture, side)) for side in WORK_SIDES)
    bands = ((start, _band(start, coarse.shape)) for start in starts)
    start, unknown = next(pair for pair in bands if np.count_nonzero(pair[1]) <= MOST_UNKNOWN)
    return _refined(picture, coarse, np.where(unknown, start, np.rint(start)), unknown)


def foreground(picture: Pixels, matte: Matte) -> Pixels:
    """The object's own colours, uint8 (H, W, 3), also where the picture shows them mixed with what is behind.

    They are estimated at COLOR_SIDE. At full size they, and those behind, change by the least that makes
    matte F + (1 - matte) B the picture. Where the matte is 0 or 1 the picture's pixels stay exactly.
    """
    mixed = (matte > 0) & (matte < 1)
    if not mixed.any():
        return picture
    size = fitting(picture, COLOR_SIDE)
    image = np.asarray(_shrunk(picture, size) / np.float32(255), np.float32)
    small = np.asarray(cv2.resize(matte, size, interpolation=cv2.INTER_AREA), np.float32)
    shape = picture.shape[1], picture.shape[0]
    front, back = (cv2.resize(colours, shape, interpolation=cv2.INTER_LINEAR) for colours in estimate(image, small))
    own = picture.copy()
    rows = max(1, STRIP // shape[0])
    for part in (slice(top, top + rows) for top in range(0, shape[1], rows)):
        here = mixed[part]
        share, behind, before = matte[part][here][:, None], 255 * back[part][here], 255 * front[part][here]
        left = picture[part][here] - share * before - (1 - share) * behind
        colours = before + left * share / (share**2 + (1 - share) ** 2)
        own[part][here] = np.rint(np.clip(colours, 0, 255)).astype(np.uint8)
    return own


def has_object(matte: Matte) -> bool:
    """Whether there is anything that could be called an object."""
    return float(matte.mean()) >= LEAST_SHARE and float(matte.max()) >= LEAST_OPACITY


def close(matte: Matte) -> Matte:
    """The matte with what an object encloses as opaque as what encloses it, where it is nowhere under HOLE.

    Each pixel is raised to the least height of a wall around it: a greyscale reconstruction by erosion (Vincent 1993),
    from the picture's edge. A hole that something is seen through stays, whole.
    """
    wall = np.full_like(matte, 1)
    wall[[0, -1]], wall[:, [0, -1]] = matte[[0, -1]], matte[:, [0, -1]]
    around = np.ones((3, 3), np.uint8)
    while True:
        lower = np.maximum(cv2.erode(wall, around), matte)
        if np.array_equal(lower, wall):
            break
        wall = np.asarray(lower, np.float32)
    count, labels = cv2.connectedComponents((wall > matte).astype(np.uint8), connectivity=8)
    least = np.ones(count, np.float32)
    np.minimum.at(least, np.asarray(labels, np.intp).ravel(), matte.ravel())
    is_filled = least >= HOLE
    is_filled[0] = False
    return np.where(is_filled[labels], wall, matte)


def without_strays(matte: Matte) -> Matte:
    """The matte without connected parts that are SPECK of the largest, or less: what they are is seldom an object."""
    count, labels = cv2.connectedComponents((matte > SEEN).astype(np.uint8), connectivity=8)
    if count <= 2:
        return matte
    weights = np.bincount(labels.ravel(), weights=matte.ravel(), minlength=count)
    weights[0] = 0
    is_kept = weights > SPECK * weights.max()
    is_kept[0] = True
    return np.where(is_kept[labels], matte, np.float32(0))


def object_box(matte: Matte) -> Box:
    """The least box around what is seen of an object, without strays; of no size, at the corner, if nothing is seen."""
    seen = without_strays(matte) > SEEN
    rows, columns = (np.flatnonzero(seen.any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return Box(0, 0, 0, 0)
    left, top = int(columns[0]), int(rows[0])
    return Box(left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top)


def keep_parts(matte: Matte, points: Sequence[tuple[float, float]], *, holding: bool) -> Matte | None:
    """The matte of those connected parts that hold one of the points (x, y), or that hold none; None if no part does.

    Parts are connected (8 neighbours) where the matte is 0.5 or more; what is less belongs to the nearest one. A point
    outside every part belongs to the nearest one too, and so do specks, which are not parts of their own.
    """
    solid = (matte >= LEAST_OPACITY).astype(np.uint8)
    count, found, stats, _ = cv2.connectedComponentsWithStats(solid, connectivity=8)
    labels = np.asarray(found, np.int32)
    if count < 2:
        return None
    areas = stats[1:, cv2.CC_STAT_AREA]
    parts = {part + 1 for part in np.flatnonzero(areas >= SPECK * areas.max()).tolist()}
    nearest = _nearest(labels, parts)
    height, width = matte.shape
    held = {int(nearest[min(max(0, round(y)), height - 1), min(max(0, round(x)), width - 1)]) for x, y in points}
    kept = parts & held if holding else parts - held
    return np.where(np.isin(nearest, sorted(kept)), matte, np.float32(0)) if kept else None


def _nearest(labels: npt.NDArray[np.int32], parts: set[int]) -> npt.NDArray[np.int32]:
    """For each pixel, the part (of `labels`) that is nearest to it."""
    others = (~np.isin(labels, sorted(parts))).astype(np.uint8)
    _, cells = cv2.distanceTransformWithLabels(others, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    part_of_cell = np.zeros(int(cells.max()) + 1, np.int32)
    part_of_cell[cells[others == 0]] = labels[others == 0]
    return np.asarray(part_of_cell[cells], np.int32)


def _band(matte: Matte, network: tuple[int, ...]) -> Flags:
    """What is to be solved of a network's matte, stretched from that shape."""
    unsure = ((matte > SURE) & (matte < 1 - SURE)).astype(np.uint8)
    reach = [max(1, round(REACH * have / had)) for have, had in zip(matte.shape, network, strict=True)]
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach[1] + 1, 2 * reach[0] + 1))
    return np.asarray(cv2.dilate(unsure, disc) > 0)


def _refined(picture: Pixels, coarse: Matte, start: Matte, unknown: Flags) -> Matte:
    """See refine; `start` and `unknown` are of the size at which the band is solved."""
    small = np.asarray(_shrunk(picture, start.shape[::-1]) / np.float32(255), np.float32)
    solved = closed_form.solve(small, start, unknown)
    size = picture.shape[1], picture.shape[0]
    if solved is None:
        return _snapped(_linear(coarse, size))
    if solved.shape == picture.shape[:2]:
        return _snapped(solved)
    matte = _linear(solved, size)
    rows, columns = np.nonzero(cv2.resize(unknown.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST))
    functions = cv2.resize(_affine(small, solved, unknown), size, interpolation=cv2.INTER_LINEAR)[rows, columns]
    colours = picture[rows, columns].astype(np.float32) / 255
    matte[rows, columns] = np.einsum("nc,nc->n", functions[:, :3], colours) + functions[:, 3]
    return _snapped(matte)


def _affine(image: Floats, matte: Matte, band: Flags) -> Floats:
    """(h, w, 4): slopes a and offset b with matte = a . image + b around each pixel of the band and next to it.

    Fitted as in He, Sun, Tang 2010, "Guided image filtering"; carried to full size as in He, Sun 2015.
    """
    pairs = [image[..., first] * image[..., second] for first, second in _PAIRS]
    layers = np.dstack([image, matte, image * matte[..., None], *pairs])
    window = 2 * FIT_RADIUS + 1
    means = np.dstack([cv2.blur(layers[..., part], (window, window)) for part in (_FOUR, _MORE, _LAST, slice(12, 13))])
    where = cv2.dilate(band.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    inside = means[where].astype(np.float64)
    colour, level = inside[:, :3], inside[:, 3]
    spread = inside[:, 7:][:, _SQUARE] - colour[:, :, None] * colour[:, None] + FIT_EPSILON * np.eye(3)
    slope = np.linalg.solve(spread, (inside[:, 4:7] - colour * level[:, None])[..., None])[..., 0]
    functions = np.zeros((*matte.shape, 4), np.float32)
    functions[..., 3] = matte
    functions[where] = np.column_stack([slope, level - (slope * colour).sum(axis=1)])
    return functions


_PAIRS = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))
_SQUARE = np.array([[0, 1, 2], [1, 3, 4], [2, 4, 5]])
_FOUR, _MORE, _LAST = slice(0, 4), slice(4, 8), slice(8, 12)  # OpenCV filters four channels at once


def _snapped(matte: Matte) -> Matte:
    return np.asarray(np.clip((matte - SURE) / (1 - 2 * SURE), 0, 1), np.float32)


def _shrunk(picture: Pixels, size: tuple[int, int]) -> Pixels:
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def _linear(matte: Matte, size: tuple[int, int]) -> Matte:
    return np.asarray(cv2.resize(matte, size, interpolation=cv2.INTER_LINEAR), np.float32)
