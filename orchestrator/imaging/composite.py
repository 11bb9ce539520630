"""Pictures laid over each other, and the result some rows at a time: a large one is never held whole."""

from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from orchestrator.arrays import Floats, Pixels
from orchestrator.imaging.boxes import Box
from orchestrator.imaging.enhancing.hidden import seen_colours
from orchestrator.imaging.layers import over, placed, resized
from orchestrator.imaging.spread import with_change

Size = tuple[int, int]

BAND = 128
"""Rows of a band."""
SUPPORT = 3
"""Pixels on each side that Lanczos of three lobes reads, at the coarser of the two scales."""


@dataclass(frozen=True, slots=True)
class Layer:
    """A picture, uint8 RGB or RGBA, and where it is in the result; it is resampled where the sizes differ.

    Of RGBA the colours under transparent pixels must be those of their neighbours (see `lazy`).
    """

    picture: Pixels
    box: Box

    @classmethod
    def eager(cls, picture: Pixels, box: Box) -> "Layer":
        """Resized at once: for pictures that are not large."""
        return cls(resized(picture, (box.width, box.height)), box)

    @classmethod
    def lazy(cls, picture: Pixels, box: Box) -> "Layer":
        """Resized row by row, as it is asked for."""
        if picture.shape[2] == 4 and picture.shape[1::-1] != (box.width, box.height):
            picture = np.dstack([seen_colours(picture), picture[..., 3]])
        return cls(picture, box)

    def covers(self, size: Size) -> bool:
        """Whether it covers all of a result of `size`."""
        box = self.box
        return box.left <= 0 and box.top <= 0 and box.right >= size[0] and box.bottom >= size[1]

    def rows(self, top: int, bottom: int, width: int) -> tuple[Pixels, Box]:
        """What of it is in a band of the result, and where that is in the band."""
        shown = Box(self.box.left, self.box.top - top, self.box.width, self.box.height).within(width, bottom - top)
        if not shown.width or not shown.height:
            return np.zeros((shown.height, shown.width, self.picture.shape[2]), np.uint8), shown
        first_row, first_column = shown.top + top - self.box.top, shown.left - self.box.left
        part = Box(first_column, first_row, shown.width, shown.height)
        if self.picture.shape[1::-1] == (self.box.width, self.box.height):
            return self.picture[part.rows, part.columns], shown
        return _resampled(self.picture, (self.box.width, self.box.height), part), shown


@dataclass(frozen=True, slots=True)
class Composite:
    """Layers, the lowest first, in a result of `size` (width, height).

    Attributes:
        change: of a small square, spread over the result (spread.with_change); None for none.
    """

    size: Size
    layers: tuple[Layer, ...]
    change: Floats | None = None

    @property
    def channels(self) -> int:
        """3 for RGB, where an opaque layer covers everything, or 4 for RGBA."""
        return 3 if any(each.picture.shape[2] == 3 and each.covers(self.size) for each in self.layers) else 4

    def band(self, top: int, bottom: int) -> Pixels:
        """Rows of the result, uint8 (bottom - top, width, channels)."""
        width = self.size[0]
        result: Pixels | None = None
        for layer in self.layers:
            picture, shown = layer.rows(top, bottom, width)
            front = picture
            if shown != Box(0, 0, width, bottom - top):
                front = placed(picture, (width, bottom - top), shown.left, shown.top)
            result = front if result is None else over(front, result)
        if result is None:
            raise ValueError("a composite has at least one layer")
        return result if self.change is None else with_change(result, self.change, top, self.size[1])

    def whole(self) -> Pixels:
        """All of the result."""
        return self.band(0, self.size[1])

    def changed(self, change: Floats) -> "Composite":
        """The same with a change spread over it; at once where it is one whole picture."""
        if len(self.layers) == 1 and self.layers[0].picture.shape[1::-1] == self.size:
            return Composite(self.size, (replace(self.layers[0], picture=with_change(self.whole(), change)),))
        return replace(self, change=change)

    def reduced(self, side: int) -> "Composite":
        """The same with a longer side of `side` pixels at most."""
        scale = side / max(self.size)
        if scale >= 1:
            return self
        layers = tuple(replace(each, box=_scaled(each.box, scale)) for each in self.layers)
        size = max(1, round(self.size[0] * scale)), max(1, round(self.size[1] * scale))
        return Composite(size, layers, self.change)


def _scaled(box: Box, scale: float) -> Box:
    left, top, right, bottom = (round(each * scale) for each in (box.left, box.top, box.right, box.bottom))
    return Box(left, top, max(1, right - left), max(1, bottom - top))


def _resampled(picture: Pixels, size: Size, part: Box) -> Pixels:
    """A part of a picture as it would be at `size`; the parts fit together without seams.

    Colours by Lanczos, opacity linearly, as `layers.resized` has it; the rows that it reads are cut out first.
    """
    height, width = picture.shape[:2]
    across, down = width / size[0], height / size[1]
    wanted = part.left * across, part.top * down, part.right * across, part.bottom * down
    margin = SUPPORT * max(1.0, across, down) + 1
    left, top = max(0, int(wanted[0] - margin)), max(0, int(wanted[1] - margin))
    right, bottom = min(width, int(wanted[2] + margin) + 1), min(height, int(wanted[3] + margin) + 1)
    cut = np.ascontiguousarray(picture[top:bottom, left:right])
    columns = wanted[0] - left, min(wanted[2] - left, right - left)
    rows = wanted[1] - top, min(wanted[3] - top, bottom - top)

    def stretched(image: Image.Image, kernel: Image.Resampling) -> Pixels:
        # Columns first, always: Pillow would choose by the shape, and intermediate values are rounded and clipped.
        wide = image.resize((part.width, image.height), kernel, (columns[0], 0, columns[1], image.height))
        return np.asarray(wide.resize((part.width, part.height), kernel, (0, rows[0], part.width, rows[1])))

    colours = stretched(Image.fromarray(cut[..., :3]), Image.Resampling.LANCZOS)
    if picture.shape[2] == 3:
        return colours
    return np.dstack([colours, stretched(Image.fromarray(cut[..., 3]), Image.Resampling.BILINEAR)])
