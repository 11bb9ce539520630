"""Pictures turned into what the adapters train on: placed, recoloured, drawn as edges, photographed as image prompts.

Colours are premultiplied by alpha throughout, so that moving and recolouring leave no dark rims. All randomness comes
from the generator that is handed in.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from model_tools.training.starter.data.canvas import PROMPT_SIDE

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]
SIDE = 160  # of the stored pictures
# Below this scale a picture is taken from its half-size copy: bilinear sampling skips pixels where it shrinks more.
HALF_BELOW = 0.55
# Share of a picture's gradients that lie below Canny's upper threshold, and the lower one's part of the upper.
QUANTILES = (0.75, 0.97)
LOWER = (0.3, 0.6)
# Least upper threshold: under it there are no edges, but noise.
FLOOR = 24.0


def shrink(rgba: Bytes) -> Bytes:
    """A picture [256, 256, 4] at the stored side, premultiplied."""
    small = cv2.resize(rgba, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.uint16)
    colours = (small[..., :3] * small[..., 3:] + 127) // 255
    return np.concatenate([colours, small[..., 3:]], axis=2).astype(np.uint8)


def recolouring(random: np.random.Generator) -> Floats:
    """A matrix [3, 3] that turns the hue by any angle, and changes saturation and brightness; greys stay grey."""
    angle, saturation = random.uniform(-np.pi, np.pi), random.uniform(0.4, 1.2)
    gain = random.uniform(0.6, 1.0)
    cosine, sine = np.cos(angle) * saturation, np.sin(angle) * saturation
    # Rotation about the grey axis in the plane of the two colour differences.
    grey = np.full((3, 3), 1 / 3)
    cross = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / np.sqrt(3)
    return (gain * (grey + cosine * (np.eye(3) - grey) + sine * cross)).astype(np.float32)


def recolour(picture: Bytes, matrix: Floats | None) -> Bytes:
    """The premultiplied picture in other colours, or as it is."""
    if matrix is None:
        return picture
    colours = np.clip(cv2.transform(picture[..., :3].astype(np.float32), matrix), 0, picture[..., 3:])
    return np.concatenate([colours.astype(np.uint8), picture[..., 3:]], axis=2)


def move(
    picture: Bytes,
    size: tuple[int, int],
    side: float,
    *,
    centre: tuple[float, float] = (0.5, 0.5),
    turn: float = 0.0,
    mirrored: bool = False,
) -> Bytes:
    """The premultiplied picture on an empty canvas of `size` (width, height).

    `side` is the picture's side in pixels there, `centre` its middle in parts of the canvas, `turn` radians.
    """
    if side / SIDE < HALF_BELOW:
        half = cv2.resize(picture, (SIDE // 2, SIDE // 2), interpolation=cv2.INTER_AREA)
        picture = np.asarray(half, np.uint8)
    own = picture.shape[0]
    scale, middle = side / own, (own - 1) / 2
    cosine, sine = scale * np.cos(turn), scale * np.sin(turn)
    matrix = np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0]])
    if mirrored:
        matrix[:, 0] *= -1
    target = np.array([centre[0] * size[0] - 0.5, centre[1] * size[1] - 0.5])
    matrix[:, 2] = target - matrix[:, :2] @ (middle, middle)
    return np.asarray(cv2.warpAffine(picture, matrix, size, flags=cv2.INTER_LINEAR), np.uint8)


def over(front: Bytes, back: Bytes) -> Bytes:
    """A premultiplied picture laid on a canvas of the same size: RGB, or premultiplied RGBA."""
    channels = back.shape[2]
    rest = 255 - front[..., 3:].astype(np.uint16)
    return (front[..., :channels] + (back * rest + 127) // 255).clip(0, 255).astype(np.uint8)


def white(size: tuple[int, int]) -> Bytes:
    """A white canvas of (width, height)."""
    return np.full((size[1], size[0], 3), 255, np.uint8)


def canny(rgb: Bytes, quantile: float = 0.9, lower: float = 0.45, blur: float = 1.0) -> Bytes:
    """Edges 255 on 0, [height, width], with thresholds from the picture's own gradients.

    The upper one is the quantile of the gradients that are not nothing; the lower one a part of it.
    """
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    if blur > 0:
        grey = cv2.GaussianBlur(grey, (0, 0), blur)
    across, down = cv2.Sobel(grey, cv2.CV_16S, 1, 0), cv2.Sobel(grey, cv2.CV_16S, 0, 1)
    length = np.hypot(across.astype(np.float32), down.astype(np.float32))
    strong = length[length > FLOOR / 2]
    # A little below the strongest: where all edges are alike, the quantile is the strongest, and none would be above.
    upper = max(FLOOR, 0.95 * float(np.quantile(strong, quantile))) if strong.size else FLOOR
    return np.asarray(cv2.Canny(across, down, lower * upper, upper, L2gradient=True), np.uint8)


def draw_edges(rgb: Bytes, outline: Bytes, random: np.random.Generator) -> Bytes:
    """A control picture [height, width] of a picture and its alpha: mostly Canny, sometimes other line drawings."""
    kind = random.random()
    if kind < 0.12:
        edges = cv2.Canny(outline, 100, 200)
    else:
        edges = canny(rgb, random.uniform(*QUANTILES), random.uniform(*LOWER), random.choice([0.0, 0.7, 1.0, 1.4]))
    if kind > 0.8:  # a pen's line
        edges = cv2.dilate(edges, np.ones((2, 2) if kind < 0.9 else (3, 3), np.uint8))
    if kind > 0.93:  # and its two sides, which Canny makes of a drawing
        edges = cv2.Canny(edges, 100, 200)
    if random.random() < 0.15:  # parts are missing
        x, y = random.integers(0, edges.shape[1]), random.integers(0, edges.shape[0])
        edges[y : y + 24, x : x + 24] = 0
    return np.asarray(edges, np.uint8)


def backdrop(random: np.random.Generator) -> Bytes:
    """Behind an image prompt: white, one colour, or a blurred texture, uint8 [128, 128, 3]."""
    kind = random.random()
    if kind < 0.5:
        return white((PROMPT_SIDE, PROMPT_SIDE))
    if kind < 0.7:
        return np.full((PROMPT_SIDE, PROMPT_SIDE, 3), random.integers(0, 256, 3), np.uint8)
    grid = int(random.choice([2, 4, 8, 24]))
    spots = random.integers(0, 256, (grid, grid, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(spots, (PROMPT_SIDE, PROMPT_SIDE), interpolation=cv2.INTER_CUBIC), np.uint8)


def photograph(picture: Bytes, random: np.random.Generator, *, head: bool = False) -> Bytes:
    """An image prompt of a premultiplied picture: a crop before a backdrop, lit and blurred, uint8 [128, 128, 3].

    `head`: the upper half, where a person's face is.
    """
    side = PROMPT_SIDE * random.uniform(0.75, 1.7 if head else 1.4)
    room = max(0.0, side / PROMPT_SIDE - 0.9) / 2 + 0.05
    across, down = 0.5 + random.uniform(-room, room, 2)
    if head:
        down = 0.5 + room * random.uniform(0.0, 1.0)
    turn, mirrored = random.uniform(-0.2, 0.2), random.random() < 0.5
    size = (PROMPT_SIDE, PROMPT_SIDE)
    front = move(picture, size, side, centre=(across, down), turn=turn, mirrored=mirrored)
    image = over(front, backdrop(random)).astype(np.float32)
    slope = np.linspace(-1, 1, PROMPT_SIDE, dtype=np.float32) * random.uniform(-0.25, 0.25)
    light = random.uniform(0.8, 1.1) * random.uniform(0.94, 1.06, 3).astype(np.float32)
    image = image * (1 + slope[:, None, None] if random.random() < 0.5 else 1 + slope[None, :, None]) * light
    if random.random() < 0.4:
        image = cv2.GaussianBlur(image, (0, 0), random.uniform(0.5, 2.5))
    if random.random() < 0.3:
        image = image + cv2.resize(random.normal(0, 12, (64, 64, 3)).astype(np.float32), size)
    return image.clip(0, 255).astype(np.uint8)
