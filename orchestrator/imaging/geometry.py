"""Sizes of pictures."""

import cv2
import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]


def cover(picture: Pixels, width: int, height: int) -> Pixels:
    """Resize to cover width x height with the aspect ratio kept, and cut the middle out: uint8 (height, width, 3).

    Enlarging is by Lanczos over 8 x 8 pixels; shrinking averages areas, where Lanczos of a fixed support would alias.
    """
    have_height, have_width = picture.shape[:2]
    scale = max(width / have_width, height / have_height)
    size = (max(width, round(have_width * scale)), max(height, round(have_height * scale)))
    if size != (have_width, have_height):
        kernel = cv2.INTER_LANCZOS4 if scale > 1 else cv2.INTER_AREA
        picture = np.asarray(cv2.resize(picture, size, interpolation=kernel), np.uint8)
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    return np.ascontiguousarray(picture[top : top + height, left : left + width])
