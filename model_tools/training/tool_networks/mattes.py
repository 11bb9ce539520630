"""What the served matting network finds in composites whose alpha is known, and in photographs."""

from pathlib import Path

import cv2
import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model_tools.export.folders import graph_path
from model_tools.export.verify import open_graph
from model_tools.training.paths import REPO, REPOSITORY, Workspace
from model_tools.training.photographs import HELD_OUT, OBJECTS, load
from model_tools.training.tool_networks.composites import compose, load_pictures
from model_tools.training.tool_networks.scenes import Backgrounds
from model_tools.training.tool_networks.u2net import SIDE

SHEET = REPO / "docs" / "networks" / "matting.png"
SHOWN_SIDE = 240
MAGENTA = (255, 0, 255)
COMPOSITES = 4
PORTRAIT = Path(mpl.get_data_path()) / "sample_data" / "grace_hopper.jpg"
"""A woman in uniform (US Navy, public domain), in matplotlib's wheel."""


class Matting:
    """The served graph, in this process."""

    def __init__(self) -> None:
        self._network = open_graph(graph_path(REPOSITORY, "matting"))

    def __call__(self, picture: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Alpha [H, W] in [0, 1] of a picture [H, W, 3], without the service's refinement."""
        small = cv2.resize(picture, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
        image = small.astype(np.float32).transpose(2, 0, 1)[None] / np.float32(127.5) - 1
        alpha = self._network({"image": image})[0][0, 0]
        return np.asarray(cv2.resize(alpha, picture.shape[1::-1], interpolation=cv2.INTER_LINEAR), np.float32)


def measure_errors(workspace: Workspace, count: int = 400, *, seed: int = 9) -> NDArray[np.float64]:
    """Mean absolute error of alpha [count] on composites of concepts that nothing here is trained on."""
    matting, pictures = Matting(), load_pictures(workspace)
    backgrounds, random = Backgrounds(pictures), np.random.default_rng(seed)
    drawn = (compose(pictures, backgrounds, random) for _ in range(count))
    return np.array([np.abs(matting(each.image) - each.alpha / np.float32(255)).mean() for each in drawn])


def make_sheet(workspace: Workspace, path: Path = SHEET) -> None:
    """Write eight photographs, then composites: the picture, its alpha, and the object on magenta."""
    matting, pictures = Matting(), load_pictures(workspace)
    photographs = [load(name) for name in (*HELD_OUT, *OBJECTS, "coins.png")]
    photographs.append(np.asarray(Image.open(PORTRAIT).convert("RGB"), np.uint8))
    backgrounds, random = Backgrounds(pictures), np.random.default_rng(20)
    composites = [compose(pictures, backgrounds, random).image for _ in range(COMPOSITES)]
    path.parent.mkdir(parents=True, exist_ok=True)
    strips = [_strip(matting, picture) for picture in (*photographs, *composites)]
    Image.fromarray(np.concatenate(strips, axis=1)).save(path, optimize=True)


def _strip(matting: Matting, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    size = SHOWN_SIDE, SHOWN_SIDE
    alpha = cv2.resize(matting(picture), size, interpolation=cv2.INTER_AREA)[..., None]
    shown = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    cut = shown * alpha + np.array(MAGENTA) * (1 - alpha)
    return np.concatenate([shown, np.repeat(255 * alpha, 3, 2), cut]).round().astype(np.uint8)
