"""Latents of all pictures at all sizes, made once, and the batches that the denoiser trains on."""

import json
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model_tools.starter.autoencoder import Autoencoder
from model_tools.starter.canvas import BUCKETS, place_all
from model_tools.starter.captions import EMPTY, captions_of
from model_tools.starter.paths import Workspace
from model_tools.starter.pictures import STYLES, Concept, load_concepts
from model_tools.starter.runlog import load_state
from model_tools.starter.train_vae import to_float

# Share of each style, of batches on the native canvas, of captions in their family's template, and of captions
# left empty (the unconditional half of classifier-free guidance).
STYLE_SHARE = {"3d": 0.6, "flat": 0.4}
NATIVE_SHARE = 0.85
WRAPPED_SHARE = 0.6
EMPTY_SHARE = 0.1
# How often each of the caption forms is drawn, in the order of captions.plain_forms.
FORM_WEIGHTS = (0.35, 0.2, 0.1, 0.2, 0.15)


def load_autoencoder(workspace: Workspace) -> Autoencoder:
    """The trained autoencoder, for inference. Raises FileNotFoundError before its training."""
    state = load_state(workspace.vae)
    if state is None:
        raise FileNotFoundError(f"{workspace.vae}: train the autoencoder first")
    model = Autoencoder()
    model.load_state_dict(state["model"])
    return model.eval().requires_grad_(False).to(memory_format=torch.channels_last)


def encode(model: Autoencoder, pictures: NDArray[np.uint8], *, batch: int = 64) -> Tensor:
    """Latents float32 [N, 4, H / 8, W / 8] of uint8 pictures [N, H, W, 3]."""
    parts: list[Tensor] = []
    for start in range(0, len(pictures), batch):
        image = to_float(pictures[start : start + batch]).contiguous(memory_format=torch.channels_last)
        with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
            parts.append(model.encoder(image).float())
    return torch.cat(parts)


def prepare_latents(workspace: Workspace) -> None:
    """Writes float16 [N, 4, h, w] for each style and bucket, in the order of the style's pictures.

    Nothing is mirrored: the draft is to learn one layout for each caption. The scaling factor is one over the native
    latents' deviation; the stored latents are not scaled.
    """
    model = load_autoencoder(workspace)
    workspace.latents.mkdir(parents=True, exist_ok=True)
    native: list[Tensor] = []
    for style in STYLES:
        source = np.load(workspace.pictures(style), mmap_mode="r")
        for width, height in BUCKETS:
            latents = encode(model, place_all(source, width, height))
            if (width, height) == BUCKETS[0]:
                native.append(latents.flatten())
            np.save(workspace.latents / f"{style}_{width}x{height}.npy", latents.half().numpy())
    deviation = torch.cat(native).std().item()
    (workspace.latents / "scaling.json").write_text(json.dumps({"scaling_factor": 1.0 / deviation}), "utf-8")
    print(f"latent deviation {deviation:.4f}")


def scaling_factor(workspace: Workspace) -> float:
    """What raw latents are multiplied with before the denoiser sees them."""
    return float(json.loads((workspace.latents / "scaling.json").read_text("utf-8"))["scaling_factor"])


@dataclass(frozen=True, slots=True)
class Batch:
    """Latents [B, 4, h, w] (scaled) and their captions' embeddings [B, 48, 384]."""

    latents: Tensor
    text: Tensor
    native: bool


class StyleTable:
    """What a style's batches are drawn from: concepts by weight, and the rows of each one's captions."""

    def __init__(self, concepts: list[Concept], style: str, caption_rows: dict[str, int]) -> None:
        own = sorted((concept for concept in concepts if style in concept.rows), key=lambda c: c.rows[style])
        self.weights = torch.tensor([concept.weight for concept in own])
        forms = [captions_of(concept, style) for concept in own]
        self.wrapped = torch.tensor([[caption_rows[text] for text in form.wrapped] for form in forms])
        self.bare = torch.tensor([[caption_rows[text] for text in form.bare] for form in forms])

    def draw(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Picture rows and caption rows, each [count]."""
        rows = torch.multinomial(self.weights, count, replacement=True, generator=generator)
        form = torch.multinomial(torch.tensor(FORM_WEIGHTS), count, replacement=True, generator=generator)
        wrapped = torch.rand(count, generator=generator) < WRAPPED_SHARE
        return rows, torch.where(wrapped, self.wrapped[rows, form], self.bare[rows, form])


class CaptionData:
    """All captions: their embeddings, which stay on disk, mapped; the empty one's row; and each style's table."""

    def __init__(self, workspace: Workspace) -> None:
        texts: list[str] = json.loads(workspace.captions.read_text("utf-8"))
        caption_rows = {text: row for row, text in enumerate(texts)}
        concepts = load_concepts(workspace)
        self.empty = caption_rows[EMPTY]
        self.embeddings = np.load(workspace.embeddings, mmap_mode="r")
        self.tables = {style: StyleTable(concepts, style, caption_rows) for style in STYLES}


class LatentData(CaptionData):
    """Draws training batches. All latents are in memory (about 100 MB)."""

    def __init__(self, workspace: Workspace) -> None:
        super().__init__(workspace)
        self.scale = scaling_factor(workspace)
        self.latents = {
            (style, bucket): torch.from_numpy(np.load(workspace.latents / f"{style}_{bucket[0]}x{bucket[1]}.npy"))
            for style in STYLES
            for bucket in BUCKETS
        }

    def draw(self, size: int, generator: torch.Generator) -> Batch:
        """A batch of one bucket, of both styles."""
        bucket = BUCKETS[0]
        if torch.rand((), generator=generator).item() >= NATIVE_SHARE:
            bucket = BUCKETS[1 + int(torch.randint(len(BUCKETS) - 1, (), generator=generator).item())]
        latents: list[Tensor] = []
        captions: list[Tensor] = []
        first = round(size * STYLE_SHARE["3d"])
        for style, count in (("3d", first), ("flat", size - first)):
            rows, texts = self.tables[style].draw(count, generator)
            latents.append(self.latents[style, bucket][rows])
            captions.append(texts)
        rows = torch.cat(captions)
        rows[torch.rand(size, generator=generator) < EMPTY_SHARE] = self.empty
        text = torch.from_numpy(self.embeddings[rows.numpy()]).float()
        return Batch(torch.cat(latents).float() * self.scale, text, bucket == BUCKETS[0])
