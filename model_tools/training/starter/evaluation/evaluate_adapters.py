"""Measures the adapters: do the pictures follow the edges more, the more they are asked to, and the image prompt?"""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from model_tools.training.paths import REPO, Workspace
from model_tools.training.pictures import load_concepts
from model_tools.training.starter.data import augment
from model_tools.training.starter.data.captions import TEMPLATES
from model_tools.training.starter.data.drawings import HAND_DRAWN
from model_tools.training.starter.data.persons import without_tone
from model_tools.training.starter.evaluation.bars import own_nearest, portrait_prompts
from model_tools.training.starter.evaluation.sampling import Networks, Settings, draw
from model_tools.training.starter.evaluation.sheets import draw_adapters
from model_tools.training.starter.networks.controlled import ControlledDenoiser, Steering
from model_tools.training.starter.networks.image_prompt import TOKENS, ImageEncoder
from model_tools.training.starter.networks.text import WIDTH, load_encoder
from model_tools.training.starter.trainers.adapter_data import Library, Subject, load_library
from model_tools.training.starter.trainers.latents import load_autoencoder, scaling_factor
from model_tools.training.starter.trainers.train_adapters import load_adapters
from model_tools.training.starter.trainers.train_vae import to_float
from orchestrator.imaging.edges import canny, edge_agreement

Bytes = NDArray[np.uint8]
SIZE = (128, 128)
SCALES = (0.0, 0.25, 0.5, 1.0)
COUNT = 20
CHOICE_SEED = 2026
# Fewer steps than the families' default: the samplers agree from 8 on.
SETTINGS = Settings(steps=12)
BAR = 0.6
# Avatars nearer to their own reference than to the others', of AVATARS; in GROUPS, since ten alone show little.
AVATARS, GROUPS, AVATAR_BAR = 10, 5, 0.7
SHOWN = 8  # rows of the sheet


class Steered(nn.Module):
    """The steered denoiser for one batch of pictures, called as a Denoiser is: free rows first, then the guided ones.

    Edges steer both, as in ControlNet; the free rows have no image prompt, as in IP-Adapter.
    """

    def __init__(self, model: ControlledDenoiser, steering: Steering) -> None:
        super().__init__()
        self.model = model
        edges, strength, tokens, share = steering
        free = torch.zeros_like(tokens)
        self.steering = Steering(
            *(torch.cat(pair) for pair in ((edges, edges), (strength, strength), (free, tokens), (share, share)))
        )

    def forward(self, sample: Tensor, timestep: Tensor, text: Tensor, *, return_dict: bool = False) -> tuple[Tensor]:  # noqa: ARG002 -- as diffusers
        return (self.model(sample, timestep.expand(len(sample)), text, self.steering),)


class Studio:
    """The networks, and a way to draw with them."""

    def __init__(self, workspace: Workspace) -> None:
        self.model, self.images = load_adapters(workspace)
        self.text, self.decoder = load_encoder(), load_autoencoder(workspace).decoder
        self.scale = scaling_factor(workspace)

    def tokens(self, prompts: Bytes) -> Tensor:
        """Image tokens of uint8 pictures [N, 128, 128, 3]."""
        return encode_prompts(self.images, prompts)

    def draw(self, texts: list[str], steering: Steering) -> Bytes:
        """uint8 [N, 128, 128, 3], at most sampling.BATCH of them, each with its own seed."""
        networks = Networks(self.text, Steered(self.model, steering), self.decoder, self.scale)
        return draw(networks, texts, list(range(len(texts))), SETTINGS)


def encode_prompts(encoder: ImageEncoder, prompts: Bytes) -> Tensor:
    """Image tokens [N, 16, 384] of uint8 pictures [N, 128, 128, 3]."""
    with torch.inference_mode():
        return encoder(to_float(prompts))


def with_edges(edges: Bytes, scale: float) -> Steering:
    """Steered by edge pictures uint8 [N, 128, 128] alone."""
    control = torch.from_numpy(edges.astype(np.float32) / 255)[:, None].expand(-1, 3, -1, -1)
    ones = torch.ones(len(edges), 1)
    return Steering(control, scale * ones, torch.zeros(len(edges), TOKENS, WIDTH), 0 * ones)


def with_prompts(tokens: Tensor, scale: float) -> Steering:
    """Steered by image tokens alone."""
    ones = torch.ones(len(tokens), 1)
    return Steering(torch.zeros(len(tokens), 3, SIZE[1], SIZE[0]), 0 * ones, tokens, scale * ones)


def choose(library: Library, kinds: set[str], count: int, random: np.random.Generator) -> list[Subject]:
    """Pictures of these kinds, by chance."""
    fitting = [subject for subject in library.subjects if subject.kind in kinds]
    return [fitting[int(row)] for row in random.choice(len(fitting), count, replace=False)]


def moved_edges(subject: Subject, random: np.random.Generator) -> Bytes:
    """Canny of the picture, moved, turned and mirrored: a layout that its caption does not describe."""
    side, centre = random.uniform(75, 115), tuple(random.uniform(0.42, 0.58, 2))
    turn, mirrored = random.uniform(-0.3, 0.3), bool(random.random() < 0.5)
    front = augment.move(subject.picture, SIZE, side, centre=centre, turn=turn, mirrored=mirrored)
    return canny(augment.over(front, augment.white(SIZE))).image


def measure_edges(studio: Studio, texts: list[str], edges: Bytes) -> tuple[dict[str, float], list[Bytes]]:
    """Mean agreement (F1 at 2 pixels) of the pictures' own edges with those asked for at each scale; the pictures."""
    pictures = [studio.draw(texts, with_edges(edges, scale)) for scale in SCALES]
    means = [
        np.mean([edge_agreement(canny(picture).image, wanted) for picture, wanted in zip(drawn, edges, strict=True)])
        for drawn in pictures
    ]
    return {str(scale): round(float(mean), 3) for scale, mean in zip(SCALES, means, strict=True)}, pictures


def colour_error(drawn: Bytes, truth: Bytes) -> float:
    """Mean distance of the mean colours of what is not white, over rows, in parts of 255."""
    errors = []
    for one, other in zip(drawn, truth, strict=True):
        means = [image[image.min(2) < 235].mean(0) if (image.min(2) < 235).any() else 255.0 for image in (one, other)]
        errors.append(np.abs(means[0] - means[1]).mean())
    return round(float(np.mean(errors)), 1)


def prompt_views(subjects: list[Subject], random: np.random.Generator) -> tuple[Bytes, Bytes]:
    """For each picture, recoloured unless it is a person: an image prompt of it, and the picture on its canvas."""
    prompts, truths = [], []
    for subject in subjects:
        matrix = augment.recolouring(random)
        picture = subject.picture if subject.who else augment.recolour(subject.picture, matrix)
        prompts.append(augment.photograph(picture, random, head=subject.who is not None))
        truths.append(augment.over(augment.move(picture, SIZE, 118), augment.white(SIZE)))
    return np.stack(prompts), np.stack(truths)


def measure_prompts(
    studio: Studio, library: Library, labels: dict[str, str], random: np.random.Generator
) -> tuple[dict[str, float], list[Bytes]]:
    """Mean distance of colours at each image scale, by captions that name no colours; the prompts; the pictures."""
    half = COUNT // 2
    subjects = [*choose(library, {"tone"}, half, random), *choose(library, {"core"}, half, random)]
    texts = [TEMPLATES["3d"].format(prompt=labels[without_tone(subject.code)]) for subject in subjects]
    prompts, truths = prompt_views(subjects, random)
    tokens = studio.tokens(prompts)
    drawn = [studio.draw(texts, with_prompts(tokens, scale)) for scale in SCALES]
    errors = {str(scale): colour_error(pictures, truths) for scale, pictures in zip(SCALES, drawn, strict=True)}
    return errors, [prompts, *drawn]


def measure_avatars(
    studio: Studio, library: Library, labels: dict[str, str], random: np.random.Generator
) -> dict[str, float]:
    """Share of avatars nearer to their own reference than to the nine others, in the image encoder's space.

    Ten persons in skin tones at a time, several times; once each by its own role's caption, as people ask, and once all
    by the same words, so that only the reference distinguishes them.
    """
    found: dict[str, list[float]] = {"by their roles": [], "by the same words": []}
    for _ in range(GROUPS):
        subjects = choose(library, {"tone"}, AVATARS, random)
        tokens = studio.tokens(portrait_prompts([subject.picture for subject in subjects], random))
        captions = ([labels[without_tone(subject.code)] for subject in subjects], ["portrait of a person"] * AVATARS)
        for shares, texts in zip(found.values(), captions, strict=True):
            drawn = studio.draw([TEMPLATES["3d"].format(prompt=text) for text in texts], with_prompts(tokens, 1.0))
            shares.append(own_nearest(studio.tokens(drawn), tokens))
    return {name: round(float(np.mean(shares)), 2) for name, shares in found.items()}


def demand(followed: dict[str, float]) -> None:
    """Raises ValueError where edges at scale 1 are followed less than BAR, or less than at a lower scale."""
    values = list(followed.values())
    if values[-1] < BAR or any(later < earlier for earlier, later in pairwise(values)):
        raise ValueError(f"edges are not followed as asked: {followed}")


def evaluate_adapters(workspace: Workspace, folder: Path | None = None) -> None:
    """Writes adapters.json and adapters.png to docs/starter. Raises ValueError as `demand` does."""
    target = folder or REPO / "docs" / "starter"
    random, library, studio = np.random.default_rng(CHOICE_SEED), load_library(workspace), Studio(workspace)
    labels = {concept.code: concept.label for concept in load_concepts(workspace)}
    drawings = choose(library, {"core", "face"}, COUNT, random)
    texts = [TEMPLATES["3d"].format(prompt=labels[subject.code]) for subject in drawings]
    edges = np.stack([moved_edges(subject, random) for subject in drawings])
    followed, steered = measure_edges(studio, texts, edges)
    hand_texts = [TEMPLATES["3d"].format(prompt=name) for name in HAND_DRAWN]
    hand_edges = np.stack([make() for make in HAND_DRAWN.values()])
    by_hand, hand_steered = measure_edges(studio, hand_texts, hand_edges)
    errors, shown = measure_prompts(studio, library, labels, random)
    avatars = measure_avatars(studio, library, labels, random)
    result = {
        "edge agreement (F1 at 2 px) by control scale": followed,
        "the same, of drawings that are in no data set": by_hand,
        "distance of mean colours (of 255) by image scale": errors,
        "avatars nearer to their own reference than to 9 others": avatars,
    }
    print(json.dumps(result, indent=2), flush=True)
    (target / "adapters.json").write_text(json.dumps(result, indent=2) + "\n", "utf-8")
    groups = [[edges, *steered], [hand_edges, *hand_steered], [part[COUNT // 2 - SHOWN // 2 :] for part in shown]]
    draw_adapters([[part[:SHOWN] for part in group] for group in groups], SCALES).save(target / "adapters.png")
    demand(followed)
    if avatars["by their roles"] < AVATAR_BAR:
        raise ValueError(f"avatars are not distinguished: {avatars}")
