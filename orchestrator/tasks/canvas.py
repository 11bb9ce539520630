"""A picture in one of the family's sizes and back again, without moving anything by a fraction of a pixel.

The picture is resized to a whole number of pixels, put into the middle of the nearest bucket, and its own reflection
fills the rest. The same whole pixels are cut out of the answer and resized to the size that is wanted: so what the
network keeps in its place comes back to its place.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from orchestrator.arrays import Pixels
from orchestrator.diffusion.latents import Size, choose_aspect_size
from orchestrator.imaging import masks
from orchestrator.imaging.boxes import Box
from orchestrator.imaging.layers import placed, resized
from orchestrator.imaging.masks import Mask


@dataclass(frozen=True, slots=True)
class Canvas:
    """Where a picture is placed at the network.

    Attributes:
        size: of the network, pixels.
        box: the picture's part of it.
    """

    size: Size
    box: Box

    @classmethod
    def choose(cls, sizes: Sequence[Size], width: int, height: int) -> "Canvas":
        """The bucket of nearest ratio, the picture in its middle, as large as it fits."""
        return cls.inside(choose_aspect_size(sizes, width, height), width, height)

    @classmethod
    def inside(cls, size: Size, width: int, height: int) -> "Canvas":
        """A picture of width x height in the middle of `size`, as large as it fits, and at least one pixel."""
        scale = min(size[0] / width, size[1] / height)
        keep = (
            min(size[0], max(1, round(width * scale))),
            min(size[1], max(1, round(height * scale))),
        )
        return cls(size, Box((size[0] - keep[0]) // 2, (size[1] - keep[1]) // 2, *keep))

    def put(self, picture: Pixels) -> Pixels:
        """The picture at the network's size, its reflection around it: uint8 (H, W, 3), as `picture` is RGB."""
        inner = resized(picture, (self.box.width, self.box.height))
        return np.pad(inner, (*self._margins, (0, 0)), mode="symmetric")

    def put_object(self, item: Pixels) -> Pixels:
        """RGBA at the network's size, transparent around the picture."""
        inner = resized(item, (self.box.width, self.box.height))
        return placed(inner, self.size, self.box.left, self.box.top)

    def put_mask(self, mask: Mask) -> Mask:
        """A mask at the network's size: a pixel may change where any of its pixels may, and the margins may not."""
        inner = masks.to_latents(mask, (self.box.width, self.box.height))[0, 0]
        return np.pad(inner, self._margins)

    def put_edges(self, edges: Pixels) -> Pixels:
        """An edge picture, uint8 (h, w) of the box's size, on black at the network's size."""
        return np.pad(edges, self._margins)

    def cut(self, pixels: Pixels, size: Size) -> Pixels:
        """The picture's part of what the network generated, at `size`."""
        return resized(pixels[self.box.rows, self.box.columns], size)

    @property
    def _margins(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Pixels above and below, left and right."""
        (width, height), box = self.size, self.box
        return (box.top, height - box.bottom), (box.left, width - box.right)
