"""Masks: which pixels may change, which latents that concerns, and how old and new pixels are blended.

A mask is float32 (H, W) in [0, 1], 1 = change. What counts as masked is 0.5 and more, as in diffusers. Pictures are
uint8 (H, W, C).
"""

import cv2
import numpy as np
import numpy.typing as npt

from orchestrator.arrays import Pixels
from orchestrator.errors import PreconditionError
from orchestrator.imaging.boxes import Box

Mask = npt.NDArray[np.float32]

CHANGED = 0.5
"""A pixel is masked from this value on."""


def read_mask(picture: Pixels, size: tuple[int, int], *, by_opacity: bool = False) -> Mask:
    """A mask from a picture, white = change, at `size` (width, height): float32 (height, width) in [0, 1].

    The picture is uint8 (H, W) grey, (H, W, 3) RGB or (H, W, 4) RGBA; colours count by their luma, and what is
    transparent is black. By opacity colours do not count: what is transparent changes, what is opaque stays. A mask of
    another size is stretched to `size`, whatever its aspect ratio, by area where it shrinks and linearly where it
    grows. All white is a mask too: everything may change.

    Raises:
        PreconditionError: the mask selects nothing.
    """
    mask = (_transparency(picture) if by_opacity else _luma(picture)) / np.float32(255)
    if mask.shape[::-1] != size:
        shrinks = mask.shape[1] >= size[0] and mask.shape[0] >= size[1]
        mask = _resize(mask, size, cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    if not (mask >= CHANGED).any():
        raise PreconditionError(
            f"selects nothing: none of its pixels is {'transparent' if by_opacity else 'white'} at the picture's size"
        )
    return np.asarray(np.clip(mask, 0, 1), np.float32)


def outpainting_mask(size: tuple[int, int], box: Box, feather: int) -> Mask:
    """The mask of a canvas of `size` (width, height) in which `box` holds the picture: 1 where it is to be painted.

    Along the picture's sides that are not on the canvas's edge, `feather` pixels of the picture are masked too, so
    that its border is painted again and `blend` with a band of the same width fades from old to new. Where the picture
    is narrower than that, it keeps its middle row or column.
    """
    width, height = size
    mask = np.ones((height, width), np.float32)
    inside = box.within(width, height)
    columns = _kept(inside.left, inside.right, width, feather)
    rows = _kept(inside.top, inside.bottom, height, feather)
    mask[rows, columns] = 0
    return mask


def to_latents(mask: Mask, latent_size: tuple[int, int]) -> Mask:
    """The mask at the latents' size (w, h): float32 (1, 1, h, w) of 0 and 1.

    A latent is 1 as soon as one of its pixels is masked. diffusers takes one sample of each cell ("nearest"): a latent
    whose cell is masked in part may then be held back, and the old picture shows inside the mask's border. Here the
    latent is painted, and `blend` puts the cell's unmasked pixels back. On masks whose borders are between latents both
    agree.
    """
    w, h = latent_size
    changed = (mask >= CHANGED).astype(np.float32)
    if mask.shape[0] < h or mask.shape[1] < w:
        changed = _resize(changed, (max(w, mask.shape[1]), max(h, mask.shape[0])), cv2.INTER_NEAREST)
    for axis, count in ((0, h), (1, w)):
        starts = np.arange(count) * changed.shape[axis] // count
        changed = np.maximum.reduceat(changed, starts, axis=axis)
    return changed[None, None]


def blend(original: Pixels, generated: Pixels, mask: Mask, band: int) -> Pixels:
    """The generated picture inside the mask, the original outside: uint8 (H, W, C), all of one size.

    Pixels that are not masked are the original's, bit for bit. Inside the mask the new picture's weight rises with the
    distance d to the nearest unmasked pixel (Euclidean, in pixels): d / (band + 1), so the blend takes `band` pixels,
    all on the changed side. Band 0 is a hard border. In RGBA colours count by their opacity too, so that what hides
    under transparent pixels does not come out.
    """
    weight = blend_weights(mask, band)[..., None]
    difference = generated.astype(np.float32) - original
    mixed = original + weight * difference
    if original.shape[2] == 4:
        opacity = mixed[..., 3:]
        share = np.divide(weight * generated[..., 3:], opacity, out=np.zeros_like(opacity), where=opacity > 0)
        mixed[..., :3] = original[..., :3] + share * difference[..., :3]
    return np.where(weight > 0, np.rint(mixed), original).astype(np.uint8)


def blend_weights(mask: Mask, band: int) -> Mask:
    """The new picture's weight in `blend`: float32 (H, W) in [0, 1], 0 exactly outside of the mask."""
    changed = (mask >= CHANGED).astype(np.uint8)
    distance = cv2.distanceTransform(changed, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(np.clip(distance / (band + 1), 0, 1), np.float32)


def _transparency(picture: Pixels) -> Mask:
    """0 where it is opaque, 255 where nothing of it is seen."""
    if picture.ndim == 2 or picture.shape[2] == 3:
        return np.zeros(picture.shape[:2], np.float32)
    return np.asarray(255 - picture[..., 3].astype(np.float32), np.float32)


def _luma(picture: Pixels) -> Mask:
    if picture.ndim == 2:
        return picture.astype(np.float32)
    luma = np.asarray(cv2.cvtColor(np.ascontiguousarray(picture[..., :3]), cv2.COLOR_RGB2GRAY), np.float32)
    return np.asarray(luma * (picture[..., 3] / 255), np.float32) if picture.shape[2] == 4 else luma


def _kept(start: int, stop: int, side: int, feather: int) -> slice:
    """What of [start, stop) stays unpainted when its ends that are not the canvas's give `feather` pixels away."""
    first = start + feather if start > 0 else start
    last = stop - feather if stop < side else stop
    if first < last:
        return slice(first, last)
    middle = (start + stop) // 2
    return slice(middle, min(middle + 1, stop))


def _resize(mask: Mask, size: tuple[int, int], interpolation: int) -> Mask:
    return np.asarray(cv2.resize(mask, size, interpolation=interpolation), np.float32)
