"""The bars that the starter is held to beyond the retrieval of captions."""

import re
from collections.abc import Sequence

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model_tools.training.paths import Workspace
from model_tools.training.pictures import STYLES
from model_tools.training.starter.data import augment
from model_tools.training.starter.data.augment import Bytes, Floats
from model_tools.training.starter.data.canvas import place_all
from model_tools.training.starter.data.captions import paraphrases, people_prompts, wrap
from model_tools.training.starter.data.compose import COLOURS, COUNTS, Composer, Recipe
from model_tools.training.starter.data.persons import load_persons
from model_tools.training.starter.data.scenes import SCENES
from model_tools.training.starter.data.words import plural
from model_tools.training.starter.evaluation.features import FeatureNet, features_of, ranks
from model_tools.training.starter.evaluation.gallery import Gallery, shrink
from model_tools.training.starter.evaluation.sampling import Networks, Settings, draw
from model_tools.training.starter.networks.autoencoder import Autoencoder
from model_tools.training.starter.trainers.train_decoder import psnr
from model_tools.training.starter.trainers.train_vae import held_out, to_float

SETTINGS = Settings(steps=8)
THINGS = ("apple", "car", "cat", "house", "balloon", "fish", "flower", "book", "rocket", "bird")
# Hues (degrees) that count as a colour; greys are recognised by their saturation and brightness.
HUES = {"red": (345, 15), "orange": (15, 42), "yellow": (42, 68), "green": (80, 165), "blue": (190, 250),
        "purple": (250, 300), "pink": (300, 350)}  # fmt: skip
NOT_WHITE = 235


def of_paraphrases(networks: Networks, net: FeatureNet, gallery: Gallery, style: str) -> dict[str, float]:
    """Shares of the 100 paraphrases with one of their labels among the first 1 and 5 found in the gallery."""
    return _find(networks, net, gallery, style, paraphrases())


def of_people(networks: Networks, net: FeatureNet, gallery: Gallery, style: str) -> dict[str, float]:
    """The same of the 60 prompts about people. Labels that go on answer too: "woman: bald" for woman."""
    asked = {
        text: [known for known in gallery.labels for label in labels if re.match(rf"{re.escape(label)}($|[ :])", known)]
        for text, labels in people_prompts().items()
    }
    return _find(networks, net, gallery, style, asked)


def _find(
    networks: Networks, net: FeatureNet, gallery: Gallery, style: str, asked: dict[str, list[str]]
) -> dict[str, float]:
    found = []
    pictures = draw(networks, [wrap(text, style, wrapped=True) for text in asked], list(range(len(asked))), SETTINGS)
    queries = features_of(net, shrink(pictures))
    for query, labels in zip(queries, asked.values(), strict=True):
        answers = torch.tensor([gallery.labels.index(label) for label in labels if label in gallery.labels])
        found.append(int(ranks(query.expand(len(answers), -1), gallery.features, answers).min()))
    return {f"top{limit}": round(float(np.mean(np.array(found) < limit)), 3) for limit in (1, 5)}


def of_vae(workspace: Workspace, model: Autoencoder, composer: Composer) -> dict[str, float]:
    """Mean PSNR (dB) of what the autoencoder's training left out: pictures, persons in skin tones, composed scenes."""
    random, persons, parts = np.random.default_rng(1), load_persons(workspace), {}
    for style in STYLES:
        source = np.load(workspace.pictures(style), mmap_mode="r")
        rows = [row for row in range(len(source)) if held_out(row)]
        parts[f"held out, {style}"] = place_all(source[rows], 128, 128)
        parts[f"skin tones, {style}"] = place_all(persons[style][1][::12], 128, 128)
        recipes = [Recipe(style, int(random.choice(rows)), None, 1, key) for key in SCENES]
        parts[f"scenes, {style}"] = np.stack([composer.draw(recipe, (128, 128), random) for recipe in recipes])
    return {name: round(reconstruction(model, to_float(pictures)), 2) for name, pictures in parts.items()}


def reconstruction(model: Autoencoder, pictures: Tensor) -> float:
    """Mean over pictures [N, 3, H, W] of the PSNR after the encoder and the decoder."""
    with torch.inference_mode():
        return float(np.mean([psnr(model.decoder(model.encoder(x)), x).mean() for x in pictures.split(32)]))


def colour_of(picture: Bytes) -> str:
    """The name of the colour that most of a picture has, of what is not white."""
    hsv = cv2.cvtColor(picture.astype(np.float32) / 255, cv2.COLOR_RGB2HSV)[picture.min(2) < NOT_WHITE]
    if not len(hsv):
        return "white"
    vivid = hsv[(hsv[:, 1] > 0.3) & (hsv[:, 2] > 0.25)]
    if len(vivid) < 0.3 * len(hsv):
        return "black" if np.median(hsv[:, 2]) < 0.4 else "grey"
    shares = {name: np.mean(between(vivid[:, 0], *bounds)) for name, bounds in HUES.items()}
    return max(shares, key=lambda name: float(shares[name]))


def between(hues: Floats, low: float, high: float) -> NDArray[np.bool_]:
    """Whether angles lie in a span that may cross zero."""
    return (hues >= low) & (hues < high) if low < high else (hues >= low) | (hues < high)


def of_colours(networks: Networks, style: str) -> float:
    """Share of prompts like "blue apple" whose picture has that colour."""
    asked = [(colour, thing) for colour in HUES for thing in THINGS if colour in COLOURS]
    texts = [wrap(f"{colour} {thing}", style, wrapped=True) for colour, thing in asked]
    pictures = draw(networks, texts, list(range(len(texts))), SETTINGS)
    right = [colour_of(picture) == colour for picture, (colour, _) in zip(pictures, asked, strict=True)]
    return round(float(np.mean(right)), 3)


def count_of(picture: Bytes) -> int:
    """How many things lie on white: connected pieces of at least a fiftieth of the canvas."""
    mask = (picture.min(2) < NOT_WHITE).astype(np.uint8)
    closed = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
    sizes = cv2.connectedComponentsWithStats(closed)[2][1:, cv2.CC_STAT_AREA]
    return int((sizes > mask.size / 50).sum())


def of_counts(networks: Networks, style: str) -> float:
    """Share of prompts like "two cats" with that number of things in their picture."""
    asked = [(count, thing) for count in COUNTS for thing in THINGS]
    texts = [wrap(f"{count} {plural(thing)}", style, wrapped=True) for count, thing in asked]
    pictures = draw(networks, texts, list(range(len(texts))), SETTINGS)
    right = [count_of(picture) == COUNTS[count] for picture, (count, _) in zip(pictures, asked, strict=True)]
    return round(float(np.mean(right)), 3)


def of_scenes(networks: Networks, composer: Composer, style: str, *, thing: str = "") -> float:
    """Share of scenes whose picture is nearer to its own scene than to any other, by its mean square difference.

    With a thing in it, the lower middle, where it is, does not count.
    """
    random = np.random.default_rng(2)
    real = np.stack([composer.back(style, key, (128, 128), random) for key in SCENES]).astype(np.float32)
    texts = [wrap(f"{thing} {scene.places[0]}".strip(), style, wrapped=True) for scene in SCENES.values()]
    drawn = draw(networks, texts, list(range(len(texts))), SETTINGS).astype(np.float32)
    counted = np.ones((128, 128, 1), np.float32)
    if thing:
        counted[40:, 28:100] = 0
    distances = ((drawn[:, None] - real[None]) ** 2 * counted).mean((2, 3, 4))
    return round(float(np.mean(distances.argmin(1) == np.arange(len(texts)))), 3)


def own_nearest(avatars: Tensor, references: Tensor) -> float:
    """Share of avatars whose tokens [N, 16, 384] are nearer, by cosine, to their own reference's than to others'."""
    one, other = (torch.nn.functional.normalize(x.flatten(1), dim=1) for x in (avatars, references))
    return float(((one @ other.T).argmax(1) == torch.arange(len(one))).float().mean())


def portrait_prompts(pictures: Sequence[Bytes], random: np.random.Generator) -> Bytes:
    """Heads as photographed, uint8 [N, 128, 128, 3]."""
    return np.stack([augment.photograph(picture, random, head=True) for picture in pictures])
