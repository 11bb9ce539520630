"""Latents of all pictures and of composed ones, made once, and the batches that the denoiser trains on."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model_tools.training.paths import Workspace
from model_tools.training.pictures import STYLES, load_concepts
from model_tools.training.runlog import load_state
from model_tools.training.starter.data.canvas import ASPECT_SIZES
from model_tools.training.starter.data.captions import ANYTHING, EMPTY, NO_OBJECT, Entry
from model_tools.training.starter.data.compose import ALONE, Composer, Recipe
from model_tools.training.starter.data.library import load_composer
from model_tools.training.starter.networks.autoencoder import Autoencoder
from model_tools.training.starter.networks.text import load_entries
from model_tools.training.starter.trainers.train_vae import to_float

# Shares of a batch: rows of composed pictures, captions left empty (the unconditional half of classifier-free
# guidance), captions of another picture at little noise (as in img2img), batches on the native canvas.
COMPOSED_SHARE = 0.4
EMPTY_SHARE = 0.1
NATIVE_SHARE = 0.85
STYLE_SHARE = {"3d": 0.6, "flat": 0.4}
# How many composed pictures are drawn on the native canvas (most captions once); and on each of the others, of those
# and as many of lone things.
COMPOSED, COMPOSED_ELSEWHERE = 3500, 300


def load_autoencoder(workspace: Workspace) -> Autoencoder:
    """The trained autoencoder, for inference. Raises FileNotFoundError before its training."""
    state = load_state(workspace.vae)
    if state is None:
        raise FileNotFoundError(f"{workspace.vae}: train the autoencoder first")
    model = Autoencoder()
    model.load_state_dict(state["model"])
    return model.eval().requires_grad_(False).to(memory_format=torch.channels_last)


def encode(model: Autoencoder, pictures: NDArray[np.uint8], *, batch: int = 64) -> Tensor:
    """Latents float32 [N, 8, H / 8, W / 8] of uint8 pictures [N, H, W, 3]."""
    parts: list[Tensor] = []
    for start in range(0, len(pictures), batch):
        image = to_float(pictures[start : start + batch]).contiguous(memory_format=torch.channels_last)
        with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
            parts.append(model.encoder(image).float())
    return torch.cat(parts)


def alone(composer: Composer, style: str) -> NDArray[np.uint8]:
    """All pictures of a style alone on the native canvas: uint8 [N, 128, 128, 3]."""
    random = np.random.default_rng(0)
    rows = range(len(composer.pictures[style]))
    return np.stack([composer.draw(Recipe(style, row, None, ALONE, None), ASPECT_SIZES[0], random) for row in rows])


def recipes(
    entries: list[Entry], rows: list[dict[str, int]], random: np.random.Generator, *, lone: bool = False
) -> list[tuple[int, Recipe]]:
    """Captions of composed pictures, or of lone things on white, each with its recipe, shuffled."""
    found = []
    for place, entry in enumerate(entries):
        if entry.concept == ANYTHING or (entry.concept != NO_OBJECT and not composed(entry)) != lone:
            continue
        row = None if entry.concept == NO_OBJECT else rows[entry.concept][entry.style]
        found.append((place, Recipe(entry.style, row, entry.colour, entry.layout, entry.scene)))
    return [found[int(place)] for place in random.permutation(len(found))]


def composed(entry: Entry) -> bool:
    """Whether a caption asks for more than one thing alone on white."""
    return entry.scene is not None or entry.colour is not None or entry.layout != ALONE


def prepare_latents(workspace: Workspace, *, seed: int = 0) -> None:
    """Writes float16 latents: of each style's pictures on the native canvas, and of composed pictures on all canvases.

    On the other canvases lone things are drawn and encoded too: a native picture's latents cannot be put into the
    middle of a wider canvas, since the encoder sees where a picture ends. Nothing is mirrored: the draft is to learn
    one layout for each caption. The scaling factor is one over the native latents' deviation; the stored latents are
    not scaled.
    """
    model, composer, random = load_autoencoder(workspace), load_composer(workspace), np.random.default_rng(seed)
    workspace.latents.mkdir(parents=True, exist_ok=True)
    native = []
    for style in STYLES:
        latents = encode(model, alone(composer, style))
        native.append(latents.flatten())
        np.save(workspace.latents / f"{style}.npy", latents.half().numpy())
        print(style, flush=True)
    deviation = torch.cat(native).std().item()
    (workspace.latents / "scaling.json").write_text(json.dumps({"scaling_factor": 1.0 / deviation}), "utf-8")
    entries, rows = load_entries(workspace), [concept.rows for concept in load_concepts(workspace)]
    asked, lone = recipes(entries, rows, random), recipes(entries, rows, random, lone=True)
    for number, canvas in enumerate(ASPECT_SIZES):
        chosen = asked[:COMPOSED]
        if number > 0:
            chosen = [part[i] for part in (asked, lone) for i in random.choice(len(part), COMPOSED_ELSEWHERE)]
        pictures = np.stack([composer.draw(recipe, canvas, random) for _, recipe in chosen])
        name = f"composed_{canvas[0]}x{canvas[1]}"
        np.save(workspace.latents / f"{name}.npy", encode(model, pictures).half().numpy())
        np.save(workspace.latents / f"{name}_captions.npy", np.array([place for place, _ in chosen]))
    print(f"latent deviation {deviation:.4f}")


def scaling_factor(workspace: Workspace) -> float:
    """What raw latents are multiplied with before the denoiser sees them."""
    return float(json.loads((workspace.latents / "scaling.json").read_text("utf-8"))["scaling_factor"])


@dataclass(frozen=True, slots=True)
class Batch:
    """Latents [B, 8, h, w] (scaled) and their captions' embeddings [B, 48, 384]."""

    latents: Tensor
    text: Tensor
    native: bool


class CaptionData:
    """All captions, their embeddings (which stay on disk, mapped), and which of them show each picture alone."""

    def __init__(self, workspace: Workspace) -> None:
        self.entries = load_entries(workspace)
        self.concepts = load_concepts(workspace)
        self.embeddings = np.load(workspace.embeddings, mmap_mode="r")
        self.empty = next(row for row, entry in enumerate(self.entries) if entry.text == EMPTY)
        self.plain: dict[str, dict[int, list[int]]] = {style: {} for style in STYLES}
        for row, entry in enumerate(self.entries):
            if entry.concept >= 0 and not composed(entry):
                self.plain[entry.style].setdefault(self.concepts[entry.concept].rows[entry.style], []).append(row)

    def text(self, rows: NDArray[np.int64] | list[int]) -> Tensor:
        """Embeddings float32 [B, 48, 384] of captions."""
        return torch.from_numpy(self.embeddings[np.asarray(rows)]).float()


class LatentData(CaptionData):
    """Draws training batches. All latents are in memory (about 200 MB)."""

    def __init__(self, workspace: Workspace) -> None:
        super().__init__(workspace)
        self.scale = scaling_factor(workspace)
        folder = workspace.latents
        self.alone = {style: read(folder / f"{style}.npy") for style in STYLES}
        names = {canvas: f"composed_{canvas[0]}x{canvas[1]}" for canvas in ASPECT_SIZES}
        self.composed = {canvas: read(folder / f"{name}.npy") for canvas, name in names.items()}
        self.asked = {canvas: np.load(folder / f"{name}_captions.npy") for canvas, name in names.items()}
        self.weights = {}
        for style in STYLES:
            own = sorted((c for c in self.concepts if style in c.rows), key=lambda concept: concept.rows[style])
            self.weights[style] = torch.tensor([concept.weight for concept in own])

    def draw_alone(self, count: int, generator: torch.Generator) -> tuple[Tensor, list[int]]:
        """Single pictures on the native canvas by weight, and a caption of each."""
        parts, captions = [], []
        first = round(count * STYLE_SHARE["3d"])
        for style, size in (("3d", first), ("flat", count - first)):
            rows = torch.multinomial(self.weights[style], size, replacement=True, generator=generator)
            parts.append(self.alone[style][rows])
            for row in rows.tolist():
                known = self.plain[style][row]
                captions.append(known[int(torch.randint(len(known), (), generator=generator))])
        return torch.cat(parts), captions

    def draw(self, size: int, generator: torch.Generator) -> Batch:
        """A batch of one canvas, of both styles."""
        canvas = ASPECT_SIZES[0]
        if torch.rand((), generator=generator).item() >= NATIVE_SHARE:
            canvas = ASPECT_SIZES[1 + int(torch.randint(len(ASPECT_SIZES) - 1, (), generator=generator).item())]
        native = canvas == ASPECT_SIZES[0]
        count = round(size * COMPOSED_SHARE) if native else size
        picked = torch.randint(len(self.composed[canvas]), (count,), generator=generator)
        latents, captions = self.composed[canvas][picked], [int(row) for row in self.asked[canvas][picked.numpy()]]
        if native:
            single, more = self.draw_alone(size - count, generator)
            latents, captions = torch.cat([single, latents]), more + captions
        latents = latents.float() * self.scale
        rows = np.array(captions)
        rows[(torch.rand(size, generator=generator) < EMPTY_SHARE).numpy()] = self.empty
        return Batch(latents, self.text(rows), native)


def read(path: Path) -> Tensor:
    """A stored array as a tensor."""
    return torch.from_numpy(np.load(path))
