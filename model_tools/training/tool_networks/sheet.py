"""The picture in docs/networks: photographs that training never saw, their alpha, and what it cuts out."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model_tools.training.paths import REPO, Workspace
from model_tools.training.photographs import SHOWN, load
from model_tools.training.tool_networks.composites import compose, load_pictures
from model_tools.training.tool_networks.matting import load_matting, predict
from model_tools.training.tool_networks.matting_net import SIDE, MattingNet
from model_tools.training.tool_networks.scenes import Backgrounds

SHEET = REPO / "docs" / "networks" / "matting.png"
MAGENTA = (255, 0, 255)
COMPOSITES = 8


def strip(model: MattingNet, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A picture, the alpha that the network gives, and the object on magenta, one below the other."""
    alpha = predict(model, picture)[..., None]
    cut = picture * alpha + np.array(MAGENTA) * (1 - alpha)
    return np.concatenate([picture, np.repeat(255 * alpha, 3, 2), cut]).round().astype(np.uint8)


def make_sheet(workspace: Workspace, path: Path = SHEET) -> None:
    """Write photographs, then composites of held-out concepts."""
    model, pictures = load_matting(workspace), load_pictures(workspace, held_out=True)
    photographs = [np.asarray(Image.fromarray(load(name)).resize((SIDE, SIDE)), np.uint8) for name in SHOWN]
    random = np.random.default_rng(20)
    backgrounds = Backgrounds(pictures)
    composites = [compose(pictures, backgrounds, random).image for _ in range(COMPOSITES)]
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet = np.concatenate([strip(model, picture) for picture in (*photographs, *composites)], axis=1)
    Image.fromarray(sheet).save(path, optimize=True)
