"""Pictures with opacity: resized, placed and laid over each other.

Pictures are uint8 (H, W, 3) RGB or (H, W, 4) RGBA with straight alpha.
"""

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from orchestrator.arrays import Pixels

WHITE = (255, 255, 255)
STRIP = 1 << 20
"""Pixels that are worked on at a time where numbers need more room than pixels."""
FRAME_SHARE, FRAME_LEVELS = 0.9, 16
"""How much of a picture's border has one colour where there is a frame, and how far it may vary, grey levels."""
SHARP_ALPHA = 64
"""From this opacity on, of 255, colours are enlarged by Lanczos; below it the weights would be small and noisy."""


def resized(picture: Pixels, size: tuple[int, int]) -> Pixels:
    """Stretched to `size` (width, height); the picture itself where it has that size.

    Enlarging is by Lanczos over 8 x 8 pixels, shrinking by area. Colours are weighted with their opacity, so that what
    hides under transparent pixels does not come out at the border of what is seen. Opacity is enlarged linearly:
    Lanczos would ring, and turn the inside of an object slightly transparent.
    """
    height, width = picture.shape[:2]
    if (width, height) == size:
        return picture
    if picture.shape[2] == 3:
        return np.asarray(_stretch(picture, size), np.uint8)
    alpha = picture[..., 3].astype(np.float32)
    smooth_alpha, sharp_alpha = _stretch(alpha, size, cv2.INTER_LINEAR), _stretch(alpha, size)
    result = np.empty((size[1], size[0], 4), np.uint8)
    result[..., 3] = _bytes(smooth_alpha)
    for channel in range(3):  # one after the other: floats of a large picture take much room
        weighted = picture[..., channel] * (alpha / 255)
        smooth = _stretch(weighted, size, cv2.INTER_LINEAR) * 255
        colours = np.divide(smooth, smooth_alpha, out=np.zeros_like(smooth), where=smooth_alpha > 0)
        sharp = _stretch(weighted, size) * 255
        np.divide(sharp, sharp_alpha, out=colours, where=sharp_alpha >= SHARP_ALPHA)
        result[..., channel] = _bytes(colours)
    return result


def with_alpha(picture: Pixels, alpha: npt.NDArray[np.floating] | None = None) -> Pixels:
    """RGBA: the picture's colours with opacity from 0 to 1, (H, W); its own, or opaque, where none is given."""
    if alpha is not None:
        opacity = _bytes(np.asarray(alpha, np.float32)[..., None] * 255)
    elif picture.shape[2] == 4:
        return picture
    else:
        opacity = np.full((*picture.shape[:2], 1), 255, np.uint8)
    return np.concatenate([picture[..., :3], opacity], axis=2)


def placed(picture: Pixels, size: tuple[int, int], left: int, top: int) -> Pixels:
    """RGBA of `size`, transparent but for the picture, whose first pixel is at (left, top); what is outside is cut."""
    width, height = size
    canvas = np.zeros((height, width, 4), np.uint8)
    rows, columns = _overlap(top, picture.shape[0], height), _overlap(left, picture.shape[1], width)
    inside = picture[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    canvas[rows, columns] = with_alpha(inside)
    return canvas


def over(front: Pixels, back: Pixels) -> Pixels:
    """RGBA `front` over `back` of one size (Porter and Duff 1984), RGB where back is; opaque pixels stay exactly."""
    if front.shape[2] == 3:
        return front
    result = np.empty_like(back)
    rows = max(1, STRIP // front.shape[1])
    for top in range(0, front.shape[0], rows):
        strip = slice(top, top + rows)
        result[strip] = _over(front[strip], back[strip])
    return result


def _over(front: Pixels, back: Pixels) -> Pixels:
    """The same, of a few rows: floats of a large picture take much room."""
    front_alpha = front[..., 3:].astype(np.float32) / 255
    if back.shape[2] == 3:
        mixed = back + front_alpha * (front[..., :3].astype(np.float32) - back)
        return np.where(front[..., 3:] == 255, front[..., :3], _bytes(mixed))
    back_share = back[..., 3:].astype(np.float32) / 255 * (1 - front_alpha)
    alpha = front_alpha + back_share
    colours = front[..., :3] * front_alpha + back[..., :3] * back_share
    colours = np.divide(colours, alpha, out=np.zeros_like(colours), where=alpha > 0)
    mixed_rgba = _bytes(np.concatenate([colours, alpha * 255], axis=2))
    return np.where(front[..., 3:] == 255, front, mixed_rgba)


def filled(size: tuple[int, int], color: tuple[int, ...]) -> Pixels:
    """One colour, of three or four channels, at `size` (width, height)."""
    return np.full((size[1], size[0], len(color)), color, np.uint8)


def opaque(picture: Pixels, behind: tuple[int, int, int] = WHITE) -> Pixels:
    """RGB: the picture over a colour, or as it is."""
    return over(picture, filled((picture.shape[1], picture.shape[0]), behind)) if picture.shape[2] == 4 else picture


def _stretch(picture: npt.NDArray[Any], size: tuple[int, int], enlarging: int = cv2.INTER_LANCZOS4) -> npt.NDArray[Any]:
    """Of the same type. Where one axis grows and the other shrinks, each goes by its own kernel."""
    height, width = picture.shape[:2]
    mixed = (size[0] > width) != (size[1] > height)
    for target in ((size[0], height), size) if mixed else (size,):
        grows = target[0] * target[1] > picture.shape[0] * picture.shape[1]
        picture = cv2.resize(picture, target, interpolation=enlarging if grows else cv2.INTER_AREA)
    return picture


def _bytes(values: npt.NDArray[Any]) -> Pixels:
    return np.asarray(np.rint(np.clip(values, 0, 255)), np.uint8)


def _overlap(start: int, length: int, side: int) -> slice:
    first = min(max(0, start), side)
    return slice(first, max(first, min(start + length, side)))


def frame_color(picture: Pixels) -> tuple[int, int, int]:
    """The colour of the frame around a picture's object, as photographs of products have it; white without a frame.

    A frame is where FRAME_SHARE of the outermost rows and columns is opaque and within FRAME_LEVELS of one colour: the
    median, channel by channel.
    """
    border = np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])
    seen = border[border[:, 3] >= 128] if picture.shape[2] == 4 else border
    if not len(seen):
        return WHITE
    median = np.median(seen[:, :3], axis=0)
    near = (np.abs(seen[:, :3] - median).max(axis=1) <= FRAME_LEVELS).sum()
    if near < FRAME_SHARE * len(border):
        return WHITE
    red, green, blue = median.round().astype(int).tolist()
    return red, green, blue
