"""Objects with a known opacity, drawn here, over photographs and patterns: what a matting network is measured on."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from local.settings import ROOT
from orchestrator.arrays import Pixels
from orchestrator.imaging import decode, geometry, layers

Color = tuple[int, int, int]

SIDE, FINE = 512, 4
"""Side of a composite, and how much finer its object is drawn, so that its opacity is smooth."""
PHOTOGRAPHS = ("coffee.jpg", "chelsea.jpg", "rocket.jpg")
BLUR = 6
"""Standard deviation, pixels, by which photographs are out of focus: their own objects are then no second answer."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Something filled, in thousandths of the side: an ellipse (its middle, its half axes), or a polygon."""

    color: Color
    points: Sequence[tuple[int, int]]
    is_ellipse: bool = False


def _ellipse(color: Color, x: int, y: int, a: int, b: int) -> Shape:
    return Shape(color, ((x, y), (a, b)), is_ellipse=True)


def _star(color: Color) -> Shape:
    turn = np.arange(10) * np.pi / 5 - np.pi / 2
    radius = np.where(np.arange(10) % 2 == 0, 360, 160)
    corners = np.column_stack([500 + radius * np.cos(turn), 510 + radius * np.sin(turn)])
    return Shape(color, [(round(x), round(y)) for x, y in corners])


OBJECTS: dict[str, tuple[Shape, ...]] = {
    "apple": (
        _ellipse((200, 30, 40), 420, 560, 190, 240),
        _ellipse((200, 30, 40), 580, 560, 190, 240),
        _ellipse((235, 90, 90), 370, 480, 50, 90),
        Shape((110, 70, 30), ((490, 380), (520, 220), (550, 230), (520, 390))),
        _ellipse((80, 160, 60), 620, 250, 90, 40),
    ),
    "ball": (
        _ellipse((30, 90, 200), 500, 500, 330, 330),
        _ellipse((240, 240, 240), 500, 500, 330, 90),
        _ellipse((120, 170, 240), 390, 330, 90, 60),
    ),
    "star": (_star((250, 200, 40)),),
    "mushroom": (
        Shape((240, 225, 200), ((420, 500), (580, 500), (610, 820), (390, 820))),
        _ellipse((210, 50, 40), 500, 420, 340, 210),
        _ellipse((250, 240, 230), 380, 380, 60, 50),
        _ellipse((250, 240, 230), 600, 350, 70, 55),
        _ellipse((250, 240, 230), 520, 510, 50, 40),
    ),
    "fish": (
        Shape((230, 120, 30), ((690, 500), (880, 350), (850, 500), (880, 650))),
        _ellipse((250, 150, 50), 460, 500, 300, 190),
        _ellipse((255, 255, 255), 310, 450, 50, 50),
        _ellipse((20, 20, 20), 300, 450, 24, 24),
        Shape((230, 120, 30), ((430, 500), (560, 450), (560, 560))),
    ),
    "house": (
        Shape((230, 200, 150), ((260, 450), (740, 450), (740, 820), (260, 820))),
        Shape((170, 60, 50), ((190, 470), (500, 180), (810, 470))),
        Shape((100, 70, 50), ((440, 600), (560, 600), (560, 820), (440, 820))),
        Shape((140, 200, 230), ((310, 520), (400, 520), (400, 610), (310, 610))),
    ),
    "tree": (
        Shape((110, 75, 40), ((450, 600), (550, 600), (570, 860), (430, 860))),
        _ellipse((50, 130, 60), 400, 450, 210, 200),
        _ellipse((60, 150, 70), 600, 450, 210, 200),
        _ellipse((70, 165, 80), 500, 310, 210, 190),
    ),
    "smile": (
        _ellipse((250, 205, 60), 500, 500, 350, 350),
        _ellipse((70, 45, 20), 380, 420, 45, 70),
        _ellipse((70, 45, 20), 620, 420, 45, 70),
        _ellipse((120, 50, 30), 500, 640, 180, 90),
        _ellipse((250, 205, 60), 500, 590, 200, 70),
    ),
    "cup": (
        _ellipse((60, 140, 170), 740, 520, 140, 150),
        _ellipse((0, 0, 0), 740, 520, 80, 90),
        Shape((70, 160, 190), ((250, 300), (730, 300), (680, 800), (300, 800))),
        _ellipse((230, 240, 240), 490, 300, 240, 70),
        _ellipse((90, 55, 30), 490, 305, 200, 50),
    ),
    "heart": (
        _ellipse((220, 30, 80), 380, 400, 170, 160),
        _ellipse((220, 30, 80), 620, 400, 170, 160),
        Shape((220, 30, 80), ((222, 455), (778, 455), (500, 830))),
        _ellipse((245, 120, 150), 340, 350, 60, 40),
    ),
}
"""Ten, of the kinds that the starter's set has. Black shapes of the cup's handle are holes."""


def draw(name: str) -> Pixels:
    """RGBA (SIDE, SIDE) of an object, with a shade from the upper left to the lower right."""
    side = SIDE * FINE
    picture = np.zeros((side, side, 4), np.uint8)
    for shape in OBJECTS[name]:
        points = np.array(shape.points) * side // 1000
        filling = (0, 0, 0, 0) if shape.color == (0, 0, 0) else (*shape.color, 255)
        if shape.is_ellipse:
            cv2.ellipse(picture, points[0].tolist(), points[1].tolist(), 0, 0, 360, filling, cv2.FILLED)
        else:
            cv2.fillPoly(picture, [points.astype(np.int32)], filling)
    shade = np.linspace(1.1, 0.7, side)[:, None] * np.linspace(1.05, 0.85, side)
    picture[..., :3] = np.clip(picture[..., :3] * shade[..., None], 0, 255)
    return layers.resized(picture, (SIDE, SIDE))


def backgrounds() -> Iterator[Pixels]:
    """RGB (SIDE, SIDE), without end: photographs, also out of focus, and patterns."""
    grid_y, grid_x = np.mgrid[:SIDE, :SIDE]
    while True:
        for name in PHOTOGRAPHS:
            data = (ROOT / "local/pictures" / name).read_bytes()
            photograph = geometry.cover(decode.decode(data, decode.DecodeLimits(), name), SIDE, SIDE)
            yield np.asarray(cv2.GaussianBlur(photograph, (0, 0), BLUR), np.uint8)
        yield np.dstack([grid_y // 3, grid_x // 4 + 60, 220 - grid_y // 4]).astype(np.uint8)
        yield np.where((grid_y // 64 + grid_x // 64)[..., None] % 2, (215, 205, 190), (160, 170, 180)).astype(np.uint8)
        noise = np.random.default_rng(5).integers(90, 200, (SIDE // 4, SIDE // 4, 3), np.uint8)
        yield layers.resized(noise, (SIDE, SIDE))
        yield layers.filled((SIDE, SIDE), (70, 110, 90))


def composites(count: int) -> Iterator[tuple[Pixels, npt.NDArray[np.float32]]]:
    """Pictures uint8 (SIDE, SIDE, 3), and the true opacity (SIDE, SIDE) of the object in each, in [0, 1]."""
    for index, behind in zip(range(count), backgrounds(), strict=False):
        item = draw(list(OBJECTS)[index % len(OBJECTS)])
        yield layers.over(item, behind), np.asarray(item[..., 3] / np.float32(255), np.float32)
