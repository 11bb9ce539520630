"""Measures the starter: does retrieval by a network that never saw the generator find what the prompt asked for?"""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from model_tools.starter.canvas import place_all
from model_tools.starter.captions import TEMPLATES
from model_tools.starter.features import SIDE, FeatureNet, augment, features_of, ranks, train_features
from model_tools.starter.paths import REPO, Workspace
from model_tools.starter.pictures import STYLES, load_concepts
from model_tools.starter.sampling import Networks, Settings, draw, load_networks
from model_tools.starter.sheets import draw_curves, draw_sheet
from model_tools.starter.train_vae import to_float

PROMPTS = 200
CHOICE_SEED = 2026
BAR = 10.0
SHEET = (
    "red apple", "cat face", "dog", "automobile", "house", "tropical fish",
    "sunflower", "alarm clock", "open book", "soccer ball", "banana", "rocket",
    "pizza", "deciduous tree", "grinning face", "blue heart", "guitar", "frog",
    "strawberry", "snowman", "mushroom", "penguin", "teapot", "crown",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Gallery:
    """The real pictures of a style: labels, pictures [N, 3, 64, 64], and their features [N, 128]."""

    labels: tuple[str, ...]
    pictures: Tensor
    features: Tensor


@dataclass(frozen=True, slots=True)
class Score:
    """Shares of prompts whose concept was among the first 1, 5, 10 found; and the last one over chance's."""

    pictures: int
    top1: float
    top5: float
    top10: float
    chance10: float
    times_chance: float


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


def score(found: Tensor, size: int) -> Score:
    """The shares of ranks below 1, 5 and 10 of a gallery of `size`."""
    top1, top5, top10 = ((found < limit).float().mean().item() for limit in (1, 5, 10))
    chance = 10 / size
    times = round(top10 / chance, 1)
    return Score(len(found), round(top1, 4), round(top5, 4), round(top10, 4), round(chance, 5), times)


def choose(gallery: Gallery, count: int = PROMPTS) -> list[int]:
    """Rows of the concepts that are asked for, the same at every run."""
    order = np.random.default_rng(CHOICE_SEED).permutation(len(gallery.labels))
    return sorted(int(row) for row in order[:count])


def measure(
    networks: Networks, net: FeatureNet, gallery: Gallery, style: str, settings: Settings, count: int = PROMPTS
) -> Score:
    """Draws the chosen concepts, each by its label in the family's template, and looks them up in the gallery."""
    rows = choose(gallery, count)
    texts = [TEMPLATES[style].format(prompt=gallery.labels[row]) for row in rows]
    drawn = draw(networks, texts, list(range(len(rows))), settings)
    found = ranks(features_of(net, shrink(drawn)), gallery.features, torch.tensor(rows))
    return score(found, len(gallery.labels))


def measure_real(net: FeatureNet, gallery: Gallery) -> Score:
    """The same for real pictures, augmented: how well the feature space itself can tell concepts apart."""
    views = augment(gallery.pictures, torch.Generator().manual_seed(0))
    found = ranks(features_of(net, views), gallery.features, torch.arange(len(views)))
    return score(found, len(gallery.labels))


def sweep(networks: Networks, net: FeatureNet, galleries: dict[str, Gallery], count: int) -> list[dict[str, object]]:
    """Top-10 of both styles for a range of guidance values, then for samplers and steps at the best of them."""
    base = Settings()
    results: list[dict[str, object]] = []

    def trial(settings: Settings) -> float:
        scores = {style: measure(networks, net, galleries[style], style, settings, count) for style in STYLES}
        mean = sum(value.top10 for value in scores.values()) / len(scores)
        row = {"sampler": settings.sampler, "steps": settings.steps, "guidance": settings.guidance}
        results.append(row | {style: value.top10 for style, value in scores.items()} | {"mean": round(mean, 4)})
        print(results[-1], flush=True)
        return mean

    guided = [replace(base, guidance=value) for value in (1.0, 1.5, 2.0, 3.0, 4.5)]
    best = max(guided, key=trial)
    for sampler, steps in (("ddim", 25), ("dpmpp_2m", 15), ("euler", 12), ("euler", 40)):
        trial(replace(best, sampler=sampler, steps=steps))
    return results


def write_sheet(networks: Networks, settings: Settings, path: Path) -> None:
    """The contact sheet: each prompt in the realistic family's style and in the fantasy family's."""
    pictures = {
        style: draw(networks, [TEMPLATES[style].format(prompt=text) for text in SHEET], [7] * len(SHEET), settings)
        for style in STYLES
    }
    draw_sheet(list(SHEET), pictures["3d"], pictures["flat"]).save(path)


def evaluate(workspace: Workspace, minutes: float, *, with_sweep: bool = True, folder: Path | None = None) -> None:
    """Writes evaluation.json, contact_sheet.png and training.png to docs/starter.

    Raises ValueError where a style stays under ten times chance: such weights are not to be shipped.
    """
    target = folder or REPO / "docs" / "starter"
    target.mkdir(parents=True, exist_ok=True)
    net, galleries = build_galleries(workspace, minutes)
    networks, settings = load_networks(workspace), Settings()
    scores = {style: measure(networks, net, galleries[style], style, settings) for style in STYLES}
    result: dict[str, object] = {
        "prompts": PROMPTS,
        "settings": asdict(settings),
        "generated": {style: asdict(value) for style, value in scores.items()},
        "real, augmented": {style: asdict(measure_real(net, galleries[style])) for style in STYLES},
    }
    print(json.dumps(result, indent=2), flush=True)
    if with_sweep:
        result["sweep of 60 prompts"] = sweep(networks, net, galleries, 60)
    (target / "evaluation.json").write_text(json.dumps(result, indent=2) + "\n", "utf-8")
    write_sheet(networks, settings, target / "contact_sheet.png")
    draw_curves(workspace, target / "training.png")
    failed = [style for style, value in scores.items() if value.times_chance < BAR]
    if failed:
        raise ValueError(f"under {BAR:.0f} times chance: {', '.join(failed)}")
