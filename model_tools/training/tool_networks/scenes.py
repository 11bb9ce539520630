"""Backgrounds without an object: made up, so that there are as many as training wants.

Every function gives RGB [SIDE, SIDE, 3] in about [0, 1].
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from model_tools.training.photographs import TEXTURES, load

SIDE = 256
Scene = NDArray[np.floating]
Random = np.random.Generator
Kind = Callable[[Random], Scene]


def colour(random: Random) -> Scene:
    """A colour [3]: half of the time any, else a grey, a pastel, white or black."""
    kind = random.random()
    if kind < 0.5:
        return random.random(3, dtype=np.float32)
    if kind < 0.65:
        return np.full(3, random.random(), np.float32)
    if kind < 0.8:
        return 0.7 + 0.3 * random.random(3, dtype=np.float32)
    return np.full(3, 1.0 if kind < 0.95 else 0.0, np.float32)


def enlarge(grid: Scene, side: int = SIDE) -> Scene:
    """A small grid [h, w] or [h, w, 3] as a smooth picture [side, side, ...]."""
    planes = [grid] if grid.ndim == 2 else list(np.moveaxis(grid, 2, 0))
    large = [
        np.asarray(Image.fromarray(np.ascontiguousarray(p)).resize((side, side), Image.Resampling.BICUBIC))
        for p in planes
    ]
    return large[0] if grid.ndim == 2 else np.stack(large, 2)


def noise(random: Random, finest: int = 128) -> Scene:
    """Fractal noise [SIDE, SIDE] in about [0, 1]: grids from coarse to fine, each weighted by chance."""
    total, weight = np.zeros((SIDE, SIDE), np.float32), 0.0
    steepness = random.uniform(0.4, 1.1)
    for octave in range(2, int(np.log2(finest)) + 1):
        share = steepness**octave
        total += share * enlarge(random.random((2**octave, 2**octave), dtype=np.float32))
        weight += share
    return total / weight


def plain(random: Random) -> Scene:
    """One colour."""
    return np.broadcast_to(colour(random), (SIDE, SIDE, 3)).astype(np.float32)


def gradient(random: Random) -> Scene:
    """Two to nine colours that run into each other."""
    height, width = random.integers(1, 4, 2)
    grid = np.stack([colour(random) for _ in range(max(2, height * width))])
    return enlarge(grid[: height * width].reshape(height, width, 3) if height * width > 1 else grid.reshape(2, 1, 3))


def texture(random: Random) -> Scene:
    """Noise between two colours, at any scale; at times stretched to grain."""
    field = noise(random, int(2 ** random.integers(3, 8)))
    if random.random() < 0.3:
        stretched = field[:: int(random.integers(2, 9))]
        field = np.asarray(Image.fromarray(stretched).resize((SIDE, SIDE), Image.Resampling.BILINEAR))
    field = np.clip((field - 0.5) * random.uniform(1, 4) + 0.5, 0, 1)[..., None]
    return colour(random) * (1 - field) + colour(random) * field


def shapes(random: Random) -> Scene:
    """Many overlapping boxes, discs and lines that run out of the picture."""
    picture = Image.new("RGB", (SIDE, SIDE), tuple((255 * colour(random)).astype(int)))
    draw = ImageDraw.Draw(picture)
    for _ in range(int(random.integers(4, 30))):
        fill = tuple((255 * colour(random)).astype(int))
        x, y = random.integers(-100, SIDE, 2)
        w, h = random.integers(10, 250, 2)
        kind = random.integers(3)
        if kind == 0:
            draw.rectangle((x, y, x + w, y + h), fill=fill)
        elif kind == 1:
            draw.ellipse((x, y, x + w, y + h), fill=fill)
        else:
            draw.line((x, y, *random.integers(0, SIDE, 2)), fill=fill, width=int(random.integers(1, 16)))
    return np.asarray(picture, np.float32) / 255


def one_of(kinds: Sequence[Kind], random: Random) -> Kind:
    """One of them, by chance."""
    return kinds[int(random.integers(len(kinds)))]


def room(random: Random) -> Scene:
    """A wall above a floor, each a gradient or a texture, the floor at times with boards; lit from a side."""
    wall, floor = (one_of((gradient, texture, plain), random)(random) for _ in range(2))
    horizon = int(SIDE * random.uniform(0.3, 0.85))
    scene = wall.copy()
    scene[horizon:] = floor[horizon:]
    picture = Image.fromarray((255 * np.clip(scene, 0, 1)).astype(np.uint8))
    draw = ImageDraw.Draw(picture)
    line = tuple((255 * colour(random)).astype(int))
    if random.random() < 0.4:
        centre = int(random.uniform(0, SIDE))
        for x in range(-3 * SIDE, 4 * SIDE, int(random.integers(20, 90))):
            draw.line((centre + (x - centre) // 4, horizon, x, SIDE), fill=line, width=int(random.integers(1, 3)))
    for _ in range(int(random.integers(0, 4))):
        x, y = random.integers(-40, SIDE, 2)
        w, h = random.integers(20, 140, 2)
        draw.rectangle((x, min(y, horizon), x + w, min(y + h, horizon)), fill=tuple((255 * colour(random)).astype(int)))
    light = enlarge(random.uniform(0.6, 1.2, (2, 2)).astype(np.float32))[..., None]
    return np.asarray(picture, np.float32) / 255 * light


class Backgrounds:
    """Draws backgrounds: the kinds above, pieces of photographed textures, and collages of enlarged pictures."""

    def __init__(self, pictures: NDArray[np.uint8]) -> None:
        """`pictures`: uint8 RGBA [N, 256, 256, 4], what collages are made of."""
        self.pictures = pictures
        self.textures = [load(name) for name in TEXTURES]
        self.kinds: list[tuple[float, Kind]] = [
            (0.14, plain),
            (0.16, gradient),
            (0.16, texture),
            (0.05, shapes),
            (0.16, room),
            (0.14, self.photograph),
            (0.12, self.collage),
        ]

    def draw(self, random: Random) -> Scene:
        """One background; one in eight is a mixture of two, one in three is blurred, most have some grain."""
        shares = np.array([share for share, _ in self.kinds])
        scene = self.kinds[random.choice(len(shares), p=shares / shares.sum())][1](random)
        if random.random() < 0.12:
            other = self.kinds[random.choice(len(shares), p=shares / shares.sum())][1](random)
            share = np.clip((noise(random, 8) - 0.5) * 6 + 0.5, 0, 1)[..., None]
            scene = scene * share + other * (1 - share)
        if random.random() < 0.35:
            scene = blur(scene, random.uniform(1, 8))
        return np.clip(scene, 0, 1)

    def photograph(self, random: Random) -> Scene:
        """A piece of a photographed texture, tinted."""
        source = self.textures[random.integers(len(self.textures))]
        side = int(random.uniform(80, min(source.shape[:2])))
        y, x = (int(random.integers(0, size - side + 1)) for size in source.shape[:2])
        piece = Image.fromarray(source[y : y + side, x : x + side]).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        scene = np.asarray(piece, np.float32) / 255
        return scene if random.random() < 0.3 else scene * (0.4 + 1.0 * colour(random))

    def collage(self, random: Random) -> Scene:
        """Pictures enlarged until they overlap and run out of the frame, mostly out of focus."""
        canvas = Image.fromarray((255 * one_of((plain, gradient), random)(random)).astype(np.uint8)).convert("RGBA")
        for _ in range(int(random.integers(2, 7))):
            side = int(SIDE * random.uniform(0.8, 3.0))
            picture = Image.fromarray(self.pictures[random.integers(len(self.pictures))], "RGBA").resize((side, side))
            at = [int(random.integers(-side * 3 // 4, SIDE - side // 4)) for _ in range(2)]
            canvas.paste(picture, (at[0], at[1]), picture)
        scene = np.asarray(canvas.convert("RGB"), np.float32) / 255
        return blur(scene, random.uniform(1.5, 7)) if random.random() < 0.9 else scene


def blur(scene: Scene, radius: float) -> Scene:
    """Out of focus by `radius` pixels."""
    picture = Image.fromarray((255 * np.clip(scene, 0, 1)).astype(np.uint8))
    return np.asarray(picture.filter(ImageFilter.GaussianBlur(radius)), np.float32) / 255
