"""Objects over backgrounds, with the alpha that is the truth."""

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from model_tools.training.paths import Workspace
from model_tools.training.pictures import STYLES, load_concepts
from model_tools.training.tool_networks.scenes import SIDE, Backgrounds, Random, Scene, enlarge, noise

USED = 10
"""One concept in this many is measured with."""


@dataclass(frozen=True, slots=True)
class Composite:
    """A picture, uint8 RGB [SIDE, SIDE, 3], and its alpha, uint8 [SIDE, SIDE], 255 on the object."""

    image: NDArray[np.uint8]
    alpha: NDArray[np.uint8]


def load_pictures(workspace: Workspace) -> NDArray[np.uint8]:
    """uint8 RGBA [N, 256, 256, 4] of both styles, of every tenth concept."""
    concepts = load_concepts(workspace)[::USED]
    arrays = [np.load(workspace.pictures(style), mmap_mode="r") for style in STYLES]
    rows = [[c.rows[style] for c in concepts if style in c.rows] for style in STYLES]
    return np.concatenate([array[chosen] for array, chosen in zip(arrays, rows, strict=True)])


def transform(picture: Image.Image, random: Random) -> Image.Image:
    """RGBA on a transparent canvas of SIDE: the picture turned, mirrored, squeezed, and placed.

    Two of five stand anywhere, at 0.3 to 1.1 of their size. The others stand near the middle, as photographers place
    things, and one in three of them is so large that the frame's lower edge cuts it.
    """
    if random.random() < 0.5:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    middle = random.random() < 0.6
    cut = middle and random.random() < 0.33
    scale = random.uniform(1.0, 1.7) if cut else random.uniform(0.45 if middle else 0.3, 1.1)
    wide, tall = (max(16, int(SIDE * scale * random.uniform(0.8, 1.2))) for _ in range(2))
    picture = picture.resize((wide, tall), Image.Resampling.BICUBIC)
    if random.random() < 0.4:
        picture = picture.rotate(random.uniform(-40, 40), Image.Resampling.BICUBIC, expand=True)
    canvas = Image.new("RGBA", (SIDE, SIDE))
    room = [SIDE - size for size in picture.size]
    if middle:
        at = [int(free * random.uniform(0.3, 0.7)) for free in room]
        at[1] = int(SIDE * random.uniform(0, 0.3)) if cut else at[1]
    else:
        at = [between(-0.15 * size, SIDE - 0.85 * size, random) for size in picture.size]
    canvas.paste(picture, (at[0], at[1]))
    return canvas


def between(one: float, other: float, random: Random) -> int:
    """A whole number between two, whichever is larger."""
    return int(random.uniform(min(one, other), max(one, other)))


def repaint(rgba: Scene, random: Random, backgrounds: Backgrounds) -> Scene:
    """The object's colours changed: jitter, light from a side, and at times quite another surface."""
    rgb: Scene = rgba[..., :3]
    kind = random.random()
    if kind < 0.15:
        surface = backgrounds.draw(random)
        rgb = surface * (0.5 + 0.5 * rgb.mean(2, keepdims=True)) if random.random() < 0.7 else surface
    elif kind < 0.6:
        rgb = rgb[..., random.permutation(3)] if random.random() < 0.5 else rgb
        rgb = (rgb - 0.5) * random.uniform(0.5, 1.3) + 0.5 + random.uniform(-0.2, 0.2, 3).astype(np.float32)
    if random.random() < 0.4:
        rgb = rgb * (1 + random.uniform(0.1, 0.6) * (noise(random, int(2 ** random.integers(3, 8))) - 0.5))[..., None]
    if random.random() < 0.4:
        rgb = rgb * enlarge(random.uniform(0.5, 1.2, (2, 2)).astype(np.float32))[..., None]
    return np.clip(rgb, 0, 1)


def shade(scene: Scene, alpha: Scene, random: Random) -> Scene:
    """The scene with the soft shadow of what `alpha` [SIDE, SIDE] covers."""
    dy, dx = random.integers(-24, 25, 2)
    shadow = Image.fromarray((255 * np.roll(alpha, (int(dy), int(dx)), (0, 1))).astype(np.uint8))
    shadow = shadow.filter(ImageFilter.GaussianBlur(random.uniform(2, 14)))
    return scene * (1 - random.uniform(0.1, 0.7) * np.asarray(shadow, np.float32)[..., None] / 255)


def develop(image: Scene, random: Random) -> NDArray[np.uint8]:
    """As a camera and a file would give it: exposure, blur, grain, JPEG."""
    if random.random() < 0.3:
        image = image * random.uniform(0.6, 1.2) + random.uniform(-0.1, 0.1)
    if random.random() < 0.3:
        image = image + random.normal(0, random.uniform(0.005, 0.05), image.shape).astype(np.float32)
    picture = Image.fromarray((255 * np.clip(image, 0, 1)).astype(np.uint8))
    if random.random() < 0.3:
        picture = picture.filter(ImageFilter.GaussianBlur(random.uniform(0.3, 1.5)))
    if random.random() < 0.4:
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=int(random.integers(25, 95)))
        picture = Image.open(file)
    return np.asarray(picture, dtype=np.uint8)


def compose(pictures: NDArray[np.uint8], backgrounds: Backgrounds, random: Random) -> Composite:
    """One to three objects over a background; one picture in 30 has none."""
    scene = backgrounds.draw(random)
    total: Scene = np.zeros((SIDE, SIDE), np.float32)
    count = 0 if random.random() < 1 / 30 else int(random.choice([1, 2, 3], p=[0.85, 0.12, 0.03]))
    for _ in range(count):
        canvas = transform(Image.fromarray(pictures[random.integers(len(pictures))], "RGBA"), random)
        rgba = np.asarray(canvas, np.float32) / 255
        alpha = rgba[..., 3]
        rgb = repaint(rgba, random, backgrounds)
        if random.random() < 0.4:
            scene = shade(scene, alpha, random)
        scene = scene * (1 - alpha[..., None]) + rgb * alpha[..., None]
        total = total + alpha * (1 - total)
    return Composite(develop(scene, random), np.round(255 * total).astype(np.uint8))
