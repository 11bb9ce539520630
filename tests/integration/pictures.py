"""Pictures for tests, and what became of them."""

import cv2
import numpy as np

from orchestrator.arrays import Pixels

SKY = (200, 220, 240)
FACE_RED = (255, 0, 0)


def scene(width: int = 96, height: int = 64, *, faces: int = 0) -> Pixels:
    """(height, width, 3) RGB: a textured disc in the middle of an even sky; or faces in a row, pure red."""
    picture = np.full((height, width, 3), SKY, np.uint8)
    if faces:
        side = min(width // (2 * faces), height // 2)
        for number in range(faces):
            left = (2 * number + 1) * width // (2 * faces) - side // 2
            picture[(height - side) // 2 : (height + side) // 2, left : left + side] = FACE_RED
        return picture
    grey = np.random.default_rng(3).integers(0, 120, (height, width, 1), np.uint8)
    disc = cv2.circle(np.zeros((height, width), np.uint8), (width // 2, height // 2), min(width, height) // 3, 1, -1)
    return np.where(disc[..., None] > 0, grey, picture)


def box_mask(width: int, height: int, left: int, top: int, right: int, bottom: int) -> Pixels:
    """(height, width, 3): white in the box, black around it."""
    mask = np.zeros((height, width, 3), np.uint8)
    mask[top:bottom, left:right] = 255
    return mask


def encode(pixels: Pixels, extension: str = ".png") -> bytes:
    """A file of RGB or RGBA pixels."""
    code = cv2.COLOR_RGBA2BGRA if pixels.shape[2] == 4 else cv2.COLOR_RGB2BGR
    done, data = cv2.imencode(extension, cv2.cvtColor(pixels, code))
    assert done
    return bytes(data)


def decode(data: bytes) -> Pixels:
    """RGB or RGBA pixels of a file."""
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert pixels is not None
    code = cv2.COLOR_BGRA2RGBA if pixels.shape[2] == 4 else cv2.COLOR_BGR2RGB
    return np.asarray(cv2.cvtColor(pixels, code), np.uint8)
