"""Pictures on a white canvas, at the sizes that the family serves."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# Width and height of each aspect size. The first is native, the others keep the pixel count near it.
ASPECT_SIZES: tuple[tuple[int, int], ...] = (
    (128, 128),
    (160, 128),
    (128, 160),
    (160, 96),
    (96, 160),
    (192, 96),
    (96, 192),
    (256, 64),
    (64, 256),
)
# The part of the canvas's shorter side that the source picture takes.
FILL = 0.92
# Width and height of an image prompt.
PROMPT_SIDE = 128


def place(rgba: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """The picture, scaled and centred on a white canvas: uint8 RGB [height, width, 3].

    Canvases of any shape show the object once: that is what teaches the network one scene for wide and tall sizes.
    """
    side = round(min(width, height) * FILL)
    picture = Image.fromarray(rgba, "RGBA").resize((side, side), Image.Resampling.LANCZOS)
    canvas = Image.new("RGBA", (width, height), (255, 255, 255, 255))
    canvas.alpha_composite(picture, ((width - side) // 2, (height - side) // 2))
    return np.asarray(canvas.convert("RGB"), dtype=np.uint8)


def place_all(pictures: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """`place` over [N, 256, 256, 4]: uint8 [N, height, width, 3]."""
    return np.stack([place(rgba, width, height) for rgba in pictures])
