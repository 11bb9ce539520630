"""Where an object is placed that a photograph's own edge has cut: its cut edge is on the canvas's edge."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from orchestrator.imaging.boxes import Box
from orchestrator.imaging.closed_form import Matte

VISIBLE = 0.1
"""Opacity from which on a pixel counts as one of the object's: a cut edge shows though it is half transparent."""
CUT_SHARE, CUT_PIXELS = 0.01, 3
"""A side of the picture cuts an object that touches it along this share of its own extent there, and these pixels."""
Size = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Sides:
    """Sides of a picture."""

    left: bool = False
    top: bool = False
    right: bool = False
    bottom: bool = False


@dataclass(frozen=True, slots=True)
class Placement:
    """What of a picture is shown, and where.

    Attributes:
        part: of the source, pixels.
        box: where that part is in the canvas, pixels.
    """

    part: Box
    box: Box


def cut_sides(matte: Matte) -> Sides:
    """The sides of a photograph at which its object, of a matte (H, W), is cut."""
    solid = matte >= VISIBLE
    wide, high = int(np.count_nonzero(solid.any(axis=0))), int(np.count_nonzero(solid.any(axis=1)))

    def is_cut(line: npt.NDArray[np.bool_], extent: int) -> bool:
        return bool(np.count_nonzero(line) >= max(CUT_PIXELS, CUT_SHARE * extent))

    return Sides(
        left=is_cut(solid[:, 0], high),
        top=is_cut(solid[0], wide),
        right=is_cut(solid[:, -1], high),
        bottom=is_cut(solid[-1], wide),
    )


def offset(length: int, canvas: int, *, first: bool, last: bool) -> int:
    """Where something of a length begins in a canvas: at the edge at which it is cut, else in the middle."""
    if first != last:
        return 0 if first else canvas - length
    return (canvas - length) // 2


def place(item: Box, size: Size, canvas: Size, cut: Sides) -> Placement:
    """Place an object in a canvas.

    Where it is cut at one side, it is at that side; where it is cut at two opposite ones, it is enlarged until it
    spans the canvas between them. What is then larger than the canvas is left out: below, where the object's lower edge
    is cut as well or nothing is, so that heads stay; above, where its upper edge alone is cut; on both sides across.

    Args:
        item: the object in its picture, not empty.
        size: width and height at which it would be in the middle, at most those of the canvas.
        canvas: width and height.
        cut: at which sides the object is cut.
    """
    scale = size[0] / item.width
    if cut.left and cut.right:
        scale = max(scale, canvas[0] / item.width)
    if cut.top and cut.bottom:
        scale = max(scale, canvas[1] / item.height)
    if scale > size[0] / item.width:
        size = max(1, round(item.width * scale)), max(1, round(item.height * scale))
    left, width, columns = _along(item.width, size[0], canvas[0], first=cut.left, last=cut.right, keeps_first=False)
    top, height, rows = _along(item.height, size[1], canvas[1], first=cut.top, last=cut.bottom, keeps_first=True)
    part = Box(item.left + columns.start, item.top + rows.start, len(columns), len(rows))
    return Placement(part, Box(left, top, width, height))


def _along(own: int, length: int, canvas: int, *, first: bool, last: bool, keeps_first: bool) -> tuple[int, int, range]:
    """Of one axis: where it begins in the canvas, its length there, and which pixels of the object are shown."""
    if length <= canvas:
        return offset(length, canvas, first=first, last=last), length, range(own)
    kept = max(1, round(own * canvas / length))
    if keeps_first:
        start = own - kept if first and not last else 0
    else:
        start = 0 if first and not last else own - kept if last and not first else (own - kept) // 2
    return 0, canvas, range(start, start + kept)
