"""Backgrounds to put objects before: drawn from gradients, hills and the sets' own pictures, one for each style.

A scene is data (scenes.json): what people call it, bands of colour from top to bottom, round hills on them, then props
by their labels. Everything is placed in parts of the canvas, so that the same caption always has the same layout, which
a regression can learn; seeds move the props a little and change the light.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from model_tools.training.starter.data.augment import Bytes, move, over
from model_tools.training.starter.data.words import packaged

SIDE = 128
Colour = tuple[int, int, int]
# From, to (parts of the height), and the colours there.
Band = tuple[float, float, Colour, Colour]
# Middle across and down, radii across and down, colour.
Hill = tuple[float, float, float, float, Colour]
# Label of a concept, middle across and down, side in parts of the canvas.
Prop = tuple[str, float, float, float]


@dataclass(frozen=True, slots=True)
class Scene:
    """`names` are nouns without an article; `places` say where in the scene something is."""

    names: tuple[str, ...]
    places: tuple[str, ...]
    bands: tuple[Band, ...]
    hills: tuple[Hill, ...] = ()
    props: tuple[Prop, ...] = ()


def load_scenes() -> dict[str, Scene]:
    """The scenes of scenes.json, in its order."""
    raw = packaged("scenes.json")
    return {
        key: Scene(
            tuple(scene["names"]),
            tuple(scene["places"]),
            tuple((top, bottom, tuple(first), tuple(last)) for top, bottom, first, last in scene["bands"]),
            tuple((x, y, wide, high, tuple(colour)) for x, y, wide, high, colour in scene["hills"]),
            tuple((label, x, y, side) for label, x, y, side in scene["props"]),
        )
        for key, scene in raw.items()
    }


SCENES = load_scenes()


def paint(scene: Scene, style: str, random: np.random.Generator) -> NDArray[np.float32]:
    """Bands and hills, float RGB [128, 128, 3]. The flat style has steps of colour, the solid one shades."""
    down, across = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32) / SIDE + 0.5 / SIDE
    image = np.zeros((SIDE, SIDE, 3), np.float32)
    for top, bottom, first, last in scene.bands:
        part = np.clip((down - top) / (bottom - top), 0, 1)[..., None]
        if style == "flat":
            part = np.floor(part * 3.999) / 3
        colours = (1 - part) * np.array(first, np.float32) + part * np.array(last, np.float32)
        image = np.where((down >= top)[..., None], colours, image)
    for x, y, wide, high, colour in scene.hills:
        reach = np.sqrt(((across - x) / wide) ** 2 + ((down - y) / high) ** 2)
        cover = np.clip((1 - reach) * min(wide, high) * SIDE + 0.5, 0, 1)[..., None]
        shade = 1.0 if style == "flat" else (1.1 - 0.2 * np.clip((down - y) / high + 0.5, 0, 1))[..., None]
        image = image * (1 - cover) + cover * np.array(colour, np.float32) * shade
    return image * random.uniform(0.95, 1.05, 3).astype(np.float32)


def draw_scene(key: str, style: str, pictures: dict[str, Bytes], random: np.random.Generator) -> Bytes:
    """A scene without an object, uint8 RGB [128, 128, 3]. `pictures`: premultiplied RGBA of the style, by label."""
    scene = SCENES[key]
    image = paint(scene, style, random).clip(0, 255).astype(np.uint8)
    for label, x, y, side in scene.props:
        if label in pictures:
            dx, dy = random.normal(0, 0.008, 2)
            image = over(move(pictures[label], (SIDE, SIDE), side * SIDE, centre=(x + dx, y + dy)), image)
    return image


def stretch(scene: Bytes, size: tuple[int, int]) -> Bytes:
    """A scene on a canvas of (width, height): scaled to the shorter side, centred, mirrored beyond its borders."""
    shorter = min(size)
    own = np.asarray(cv2.resize(scene, (shorter, shorter), interpolation=cv2.INTER_AREA), np.uint8)
    left, top = (size[0] - shorter) // 2, (size[1] - shorter) // 2
    padded = own
    while padded.shape[1] < size[0] or padded.shape[0] < size[1]:
        wide = min(left, padded.shape[1]) if padded.shape[1] < size[0] else 0
        high = min(top, padded.shape[0]) if padded.shape[0] < size[1] else 0
        wide = min(wide, (size[0] - padded.shape[1] + 1) // 2)
        high = min(high, (size[1] - padded.shape[0] + 1) // 2)
        padded = np.asarray(cv2.copyMakeBorder(padded, high, high, wide, wide, cv2.BORDER_REFLECT), np.uint8)
    y, x = (padded.shape[0] - size[1]) // 2, (padded.shape[1] - size[0]) // 2
    return padded[y : y + size[1], x : x + size[0]]
