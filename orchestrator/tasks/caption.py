"""A picture laid over the result."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from orchestrator.arrays import Pixels
from orchestrator.diffusion.latents import Size
from orchestrator.imaging.boxes import Box
from orchestrator.imaging.composite import Layer
from orchestrator.imaging.layers import with_alpha
from orchestrator.params import Caption, HorizontalPlace, VerticalPlace
from orchestrator.tasks.frame import contained
from orchestrator.tasks.pictures import size_of

_SHARES = {
    HorizontalPlace.LEFT: 0.0,
    HorizontalPlace.CENTER: 0.5,
    HorizontalPlace.RIGHT: 1.0,
    VerticalPlace.TOP: 0.0,
    VerticalPlace.CENTER: 0.5,
    VerticalPlace.BOTTOM: 1.0,
}


def caption_layer(image: Pixels, caption: Caption, result: Size, layer: Callable[[Pixels, Box], Layer]) -> Layer:
    """The caption in its place in a result of size `result`; `layer` resizes it."""
    width, height = result
    padding = _padding(caption, width, height)
    room = max(1, min(round(caption.width_share * width), width - 2 * padding)), height - 2 * padding
    size = contained(size_of(image), room)
    left = _place(caption.horizontal, width, size[0], padding)
    top = _place(caption.vertical, height, size[1], padding)
    laid = layer(with_alpha(image), Box(left, top, *size))
    if caption.opacity == 1:
        return laid
    shown = laid.picture
    faded = np.asarray(shown[..., 3] * (caption.opacity / 255), np.float32)
    return replace(laid, picture=with_alpha(shown[..., :3], faded))


def _padding(caption: Caption, width: int, height: int) -> int:
    asked = round(caption.padding_share * width) if caption.padding_pixels is None else caption.padding_pixels
    return min(asked, (min(width, height) - 1) // 2)


def _place(where: HorizontalPlace | VerticalPlace, side: int, own: int, padding: int) -> int:
    """Its first pixel along an axis."""
    free = side - own - 2 * padding
    return padding + round(free * _SHARES[where])
