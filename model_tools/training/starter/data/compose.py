"""Composed pictures: objects of the set in scenes, several of them, and in other colours, each with its parts named."""

from dataclasses import dataclass

import cv2
import numpy as np

from model_tools.training.starter.data import augment
from model_tools.training.starter.data.augment import Bytes, Floats
from model_tools.training.starter.data.canvas import FILL
from model_tools.training.starter.data.scenes import SCENES, draw_scene, stretch

# Middle across and down from the canvas's middle and the side, in halves of the canvas's shorter side, of each object
# of a layout. The first is one object alone on white; the second one object in a scene; then two, three and four.
LAYOUTS: tuple[tuple[tuple[float, float, float], ...], ...] = (
    ((0.0, 0.0, 1.0),),
    ((0.0, 0.25, 0.625),),
    ((-0.5, 0.0, 0.5), (0.5, 0.0, 0.5)),
    ((0.0, -0.5, 0.5), (-0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    ((-0.5, -0.5, 0.5), (0.5, -0.5, 0.5), (-0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
)
ALONE, IN_SCENE = 0, 1
COUNTS = {"two": 2, "three": 3, "four": 4}
# Hue (degrees), saturation and brightness of what a colour word makes of an object; None keeps the hue.
COLOURS: dict[str, tuple[float | None, float, float]] = {
    "red": (0, 0.85, 0.9), "orange": (30, 0.9, 1.0), "yellow": (52, 0.85, 1.05), "green": (120, 0.7, 0.8),
    "blue": (215, 0.8, 0.9), "purple": (275, 0.65, 0.85), "pink": (335, 0.5, 1.05), "brown": (25, 0.65, 0.6),
    "black": (None, 0.0, 0.3), "white": (None, 0.0, 1.14), "grey": (None, 0.0, 0.85), "turquoise": (178, 0.7, 0.9),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a composed picture shows. `row`: of the style's pictures, or None; `colour` and `scene`: a key, or None."""

    style: str
    row: int | None
    colour: str | None
    layout: int
    scene: str | None


def tint(picture: Bytes, colour: str | None) -> Bytes:
    """The premultiplied picture in another colour: its light and shade stay, dark lines and eyes stay dark."""
    if colour is None:
        return picture
    hue, saturation, gain = COLOURS[colour]
    alpha = np.maximum(picture[..., 3:].astype(np.float32), 1.0)
    rgb = picture[..., :3].astype(np.float32) / alpha
    strongest, weakest = rgb.max(2), rgb.min(2)
    vivid = np.clip((strongest - weakest) / np.maximum(strongest, 0.05) * 1.6, 0.0, 1.0)
    light = 0.5 * strongest + 0.5 * rgb.mean(2)
    typical = float(np.median(light[picture[..., 3] > 128])) if (picture[..., 3] > 128).any() else 1.0
    level = np.clip(light * gain * 0.8 / max(typical, 0.2), 0, 1)
    if hue is None:
        out = np.repeat(level[..., None], 3, 2)
        vivid = np.maximum(vivid, 0.35)
    else:
        hsv = np.stack([np.full_like(level, hue), saturation * np.ones_like(level), level], 2)
        out = cv2.cvtColor(hsv.astype(np.float32), cv2.COLOR_HSV2RGB)
    mixed = rgb + vivid[..., None] * (out - rgb)
    colours = np.clip(mixed * alpha, 0, picture[..., 3:])
    return np.concatenate([colours.astype(np.uint8), picture[..., 3:]], axis=2)


def lay(picture: Bytes, layout: int, size: tuple[int, int]) -> Bytes:
    """The premultiplied picture as often as the layout has it, on an empty canvas of `size` (width, height)."""
    half = min(size) / 2
    canvas = np.zeros((size[1], size[0], 4), np.uint8)
    for across, down, part in LAYOUTS[layout]:
        centre = (0.5 + across * half / size[0], 0.5 + down * half / size[1])
        canvas = augment.over(augment.move(picture, size, round(2 * half * part * FILL), centre=centre), canvas)
    return canvas


class Composer:
    """Draws recipes. `pictures`: premultiplied RGBA [160, 160, 4] of each style, by row; `labels`: label to row."""

    def __init__(self, pictures: dict[str, list[Bytes]], labels: dict[str, dict[str, int]]) -> None:
        self.pictures = pictures
        wanted = {prop[0] for scene in SCENES.values() for prop in scene.props}
        self.props = {
            style: {label: pictures[style][row] for label, row in rows.items() if label in wanted}
            for style, rows in labels.items()
        }

    def back(self, style: str, scene: str | None, size: tuple[int, int], random: np.random.Generator) -> Bytes:
        """The scene on its canvas, or white."""
        if scene is None:
            return augment.white(size)
        return stretch(draw_scene(scene, style, self.props[style], random), size)

    def draw(self, recipe: Recipe, size: tuple[int, int], random: np.random.Generator) -> Bytes:
        """uint8 RGB [height, width, 3]."""
        image = self.back(recipe.style, recipe.scene, size, random)
        if recipe.row is None:
            return image
        front = tint(self.pictures[recipe.style][recipe.row], recipe.colour)
        return augment.over(lay(front, recipe.layout, size), image)


def mask_of(picture: Bytes, side: int) -> Floats:
    """How much of each cell of a `side` x `side` grid the picture covers alone on its canvas, in [0, 1]."""
    alpha = lay(picture, ALONE, (8 * side, 8 * side))[..., 3].astype(np.float32) / 255
    return np.asarray(cv2.resize(alpha, (side, side), interpolation=cv2.INTER_AREA), np.float32)
