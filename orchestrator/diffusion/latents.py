"""Latents and pixels: which size the networks run at, and what their numbers mean as a picture.

Pictures are uint8 (height, width, 3) RGB; latents are float32 (1, C, height / 8, width / 8).
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from orchestrator.arrays import Floats, Pixels

if TYPE_CHECKING:
    from collections.abc import Sequence

Size = tuple[int, int]
"""(width, height) in pixels."""

STRIP = 128
"""Rows of a picture that are converted at once, so that large pictures need no several copies in float32."""


def choose_aspect_size(sizes: Sequence[Size], width: int, height: int) -> Size:
    """The size whose aspect ratio is nearest to width : height, then whose pixel count is; the first of equals.

    Nearness of ratios a and b is |log a - log b|, which orders as max(a/b, b/a) does: kept as an exact fraction, so
    that a square between two mirrored sizes is a tie and not a matter of rounding.
    """

    def distance(size: Size) -> tuple[Fraction, int]:
        size_width, size_height = size
        ratio = Fraction(width * size_height, height * size_width)
        return max(ratio, 1 / ratio), abs(size_width * size_height - width * height)

    return min(sizes, key=distance)


def latent_shape(size: Size, channels: int, factor: int) -> tuple[int, int, int, int]:
    """(1, C, h, w) of a picture of `size` behind a VAE that shrinks by `factor`.

    Raises:
        ValueError: a side is not a multiple of factor.
    """
    width, height = size
    if width % factor or height % factor:
        raise ValueError(f"{width} x {height} is not a multiple of {factor}")
    return 1, channels, height // factor, width // factor


def unscale(latents: Floats, scaling_factor: float, shift_factor: float = 0.0) -> Floats:
    """Latents as the VAE decoder takes them, from the UNet's unit-variance ones: z = x / scaling_factor + shift."""
    return latents / scaling_factor + shift_factor


def rescale(mean: Floats, scaling_factor: float, shift_factor: float = 0.0) -> Floats:
    """Latents of unit variance, from the VAE encoder's: the inverse of `unscale`, x = (z - shift) · scaling_factor."""
    return (mean - shift_factor) * scaling_factor


def from_pixels(pixels: Pixels) -> Floats:
    """A picture uint8 (H, W, 3) as an encoder takes it, (1, 3, H, W) in [-1, 1]: as diffusers' VaeImageProcessor."""
    image = np.empty((1, 3, *pixels.shape[:2]), np.float32)
    for top in range(0, len(pixels), STRIP):
        strip = pixels[top : top + STRIP].astype(np.float32) / 255 * 2 - 1
        image[0, :, top : top + STRIP] = strip.transpose(2, 0, 1)
    return image


def to_pixels(image: Floats) -> Pixels:
    """A decoder's (1, 3, H, W) or (3, H, W) picture in [-1, 1], clipped, as uint8 (H, W, 3).

    In float32 and with halves rounded to even, as diffusers' VaeImageProcessor does it: equal to its bytes.

    Raises:
        FloatingPointError: NaN or infinity among the values: the network overflowed.
    """
    height, width = image.shape[-2:]
    chw = image.reshape(3, height, width)
    pixels = np.empty((height, width, 3), np.uint8)
    for top in range(0, height, STRIP):
        strip = chw[:, top : top + STRIP]
        if not np.isfinite(strip).all():
            raise FloatingPointError("the decoded picture is not finite")
        unit = np.clip(strip * 0.5 + 0.5, 0, 1)
        pixels[top : top + STRIP] = (unit * 255).round().astype(np.uint8).transpose(1, 2, 0)
    return pixels


def preview(x0: Floats, factors: Floats, bias: Floats) -> Pixels:
    """A rough picture of predicted latents, one pixel for each: uint8 (h, w, 3).

    The decoder is near to a linear map of each latent's channels: rgb in [-1, 1] = factors^T · x0 + bias, where
    factors is (C, 3) and bias (3,), fitted by least squares for each family.
    """
    channels = x0.shape[-3]
    rgb = np.tensordot(factors.reshape(channels, 3), x0.reshape(x0.shape[-3:]), axes=(0, 0))
    return to_pixels(np.nan_to_num(rgb + bias.reshape(3, 1, 1)))
