"""The real pictures that generated ones are looked up among."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from model_tools.training.paths import Workspace
from model_tools.training.pictures import STYLES, load_concepts
from model_tools.training.starter.data.canvas import place_all
from model_tools.training.starter.evaluation.features import SIDE, FeatureNet, features_of, train_features
from model_tools.training.starter.trainers.train_vae import to_float


@dataclass(frozen=True, slots=True)
class Gallery:
    """The real pictures of a style: labels, pictures [N, 3, 64, 64], and their features [N, 128]."""

    labels: tuple[str, ...]
    pictures: Tensor
    features: Tensor


def shrink(pictures: NDArray[np.uint8]) -> Tensor:
    """uint8 [N, 128, 128, 3] to [N, 3, 64, 64] in [-1, 1]."""
    return functional.avg_pool2d(to_float(pictures), 128 // SIDE)


def load_real(workspace: Workspace, style: str) -> tuple[tuple[str, ...], Tensor]:
    """Labels and shrunken pictures of a style, in the order of the pictures."""
    own = [concept for concept in load_concepts(workspace) if style in concept.rows]
    labels = tuple(concept.label for concept in sorted(own, key=lambda concept: concept.rows[style]))
    return labels, shrink(place_all(np.load(workspace.pictures(style), mmap_mode="r"), 128, 128))


def build_galleries(workspace: Workspace, minutes: float) -> tuple[FeatureNet, dict[str, Gallery]]:
    """Trains the features on the real pictures of both styles, or takes the ones trained before."""
    real = {style: load_real(workspace, style) for style in STYLES}
    net, path = FeatureNet(), workspace.root / "features.pt"
    if path.exists():
        net.load_state_dict(torch.load(path, weights_only=True))
    else:
        net = train_features(torch.cat([pictures for _, pictures in real.values()]), minutes)
        torch.save(net.state_dict(), path)
    net.eval()
    return net, {style: Gallery(labels, x, features_of(net, x)) for style, (labels, x) in real.items()}
