"""A contact sheet: several pictures on one page, each with its caption."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]

_CELL_WIDTH, _CELL_HEIGHT = 480, 360  # pixels, the picture's part
_CAPTION = 30  # pixels below it
_MARGIN = 10  # pixels around each cell
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_FONT_SCALE = 0.45
_INK = (60, 60, 60)


def draw(pictures: Sequence[Pixels], captions: Sequence[str], columns: int = 3) -> Pixels:
    """Return the sheet, uint8 (height, width, 3) in the pictures' own channel order.

    Args:
        pictures: uint8 (height, width, 3), of any sizes; each is scaled to fit its cell.
        captions: one for each picture; what does not fit is cut. OpenCV's font knows ASCII only.
        columns: pictures in a row.
    """
    rows = -(-len(pictures) // columns)
    height = _MARGIN + rows * (_CELL_HEIGHT + _CAPTION + _MARGIN)
    width = _MARGIN + columns * (_CELL_WIDTH + _MARGIN)
    sheet: Pixels = np.full((height, width, 3), 255, np.uint8)
    for index, (picture, caption) in enumerate(zip(pictures, captions, strict=True)):
        row, column = divmod(index, columns)
        top = _MARGIN + row * (_CELL_HEIGHT + _CAPTION + _MARGIN)
        left = _MARGIN + column * (_CELL_WIDTH + _MARGIN)
        small = _fit(picture)
        y = top + (_CELL_HEIGHT - small.shape[0]) // 2
        x = left + (_CELL_WIDTH - small.shape[1]) // 2
        sheet[y : y + small.shape[0], x : x + small.shape[1]] = small
        place = (left, top + _CELL_HEIGHT + _CAPTION - 10)
        cv2.putText(sheet, _cut(caption), place, _FONT, _FONT_SCALE, _INK, 1, cv2.LINE_AA)
    return sheet


def _fit(picture: Pixels) -> Pixels:
    height, width = picture.shape[:2]
    scale = min(_CELL_WIDTH / width, _CELL_HEIGHT / height)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def _cut(caption: str) -> str:
    """Return as much of the caption as a cell is wide."""
    shown = caption
    while cv2.getTextSize(shown, _FONT, _FONT_SCALE, 1)[0][0] > _CELL_WIDTH:
        shown = shown.removesuffix("...")[:-1] + "..."
    return shown
