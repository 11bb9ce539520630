"""Line drawings that are in no data set, as control pictures: what a hand would draw for a few captions."""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
SIDE = 128
LINE = 2


def polygons(*outlines: list[tuple[int, int]]) -> Bytes:
    """Closed lines through corners, white on black, uint8 [128, 128]."""
    canvas = np.zeros((SIDE, SIDE), np.uint8)
    for outline in outlines:
        cv2.polylines(canvas, [np.array(outline, np.int32)], isClosed=True, color=255, thickness=LINE)
    return canvas


def circles(*rounds: tuple[int, int, int]) -> Bytes:
    """Circles of (x, y, radius)."""
    canvas = np.zeros((SIDE, SIDE), np.uint8)
    for x, y, radius in rounds:
        cv2.circle(canvas, (x, y), radius, 255, LINE)
    return canvas


def house() -> Bytes:
    """A wall, a roof, a door."""
    wall, roof = [(30, 60), (98, 60), (98, 112), (30, 112)], [(22, 60), (64, 22), (106, 60)]
    return polygons(wall, roof, [(56, 82), (72, 82), (72, 112), (56, 112)])


def star() -> Bytes:
    """Five points."""
    angles = np.arange(10) * np.pi / 5 - np.pi / 2
    radii = np.where(np.arange(10) % 2 == 0, 48, 20)
    points = zip(64 + radii * np.cos(angles), 66 + radii * np.sin(angles), strict=True)
    return polygons([(round(x), round(y)) for x, y in points])


def heart() -> Bytes:
    """The cardioid-like curve of many textbooks."""
    t = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    x = 16 * np.sin(t) ** 3
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return polygons([(round(64 + 2.6 * u), round(60 - 2.6 * v)) for u, v in zip(x, y, strict=True)])


HAND_DRAWN: dict[str, Callable[[], Bytes]] = {
    "house": house,
    "star": star,
    "red heart": heart,
    "snowman": lambda: circles((64, 34, 18), (64, 82, 32)),
    "red apple": lambda: circles((58, 70, 40)),
    "sailboat": lambda: polygons([(20, 92), (108, 92), (92, 112), (36, 112)], [(62, 16), (62, 86), (26, 86)]),
    "Christmas tree": lambda: polygons([(64, 14), (100, 98), (28, 98)], [(56, 98), (72, 98), (72, 116), (56, 116)]),
    "pizza": lambda: polygons([(24, 30), (104, 30), (64, 110)]),
}
"""Captions, and what is drawn for them."""
