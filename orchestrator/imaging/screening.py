"""Pictures as the NSFW network was trained to see them: squashed, through JPEG, the middle cut out.

The steps are those of Yahoo's classify_nsfw.py (github.com/yahoo/open_nsfw), which the network's scores depend on:
bilinear to 256 x 256, JPEG of Pillow's default quality, the middle 224 x 224.
"""

import io
from collections.abc import Iterator

import numpy as np
from PIL import Image

from orchestrator.arrays import Floats, Pixels
from orchestrator.imaging.layers import filled, over

RESIZED = 256
MOST_SQUARES = 4
LONG = 2.0
"""Longer side in shorter ones, from which squares along it are checked too: squashing would hide what they show."""


def views(picture: Pixels, side: int) -> Floats:
    """What the network is given of a picture: (V, 3, side, side) RGB in [-1, 1], V from 1 to 10.

    Whatever a viewer lays behind a picture with transparency decides what is seen: black and white are both tried. Of
    a long picture squares along it are views too.

    Args:
        picture: uint8 (H, W, 3) RGB or (H, W, 4) RGBA with straight alpha.
        side: that the network takes, pixels, at most 256.
    """
    return np.stack([_prepared(square, side) for shown in _visible(picture) for square in _squares(shown)])


def _visible(picture: Pixels) -> Iterator[Pixels]:
    if picture.shape[2] == 3:
        yield picture
        return
    size = picture.shape[1], picture.shape[0]
    colors = [(255, 255, 255)] if picture[..., 3].min() == 255 else [(255, 255, 255), (0, 0, 0)]
    for color in colors:
        yield over(picture, filled(size, color))


def _squares(picture: Pixels) -> Iterator[Pixels]:
    yield picture
    height, width = picture.shape[:2]
    short, long = min(height, width), max(height, width)
    if long <= LONG * short:
        return
    count = min(MOST_SQUARES, -(-long // short))
    # Where more squares would be needed than are checked, each is longer than wide, and is squashed.
    length = max(short, -(-long // count))
    for start in np.linspace(0, long - length, count).astype(int):
        part = slice(start, start + length)
        yield picture[:, part] if width == long else picture[part]


def _prepared(picture: Pixels, side: int) -> Floats:
    resized = Image.fromarray(np.ascontiguousarray(picture)).resize((RESIZED, RESIZED), Image.Resampling.BILINEAR)
    file = io.BytesIO()
    resized.save(file, "JPEG")
    with Image.open(file) as decoded:
        pixels = np.asarray(decoded.convert("RGB"), np.float32)
    start = (RESIZED - side) // 2
    middle = pixels[start : start + side, start : start + side]
    return np.asarray(middle.transpose(2, 0, 1) / 127.5 - 1, np.float32)
