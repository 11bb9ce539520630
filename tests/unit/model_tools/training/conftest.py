"""A workspace with a handful of made-up pictures, so that every stage runs in seconds without the data set."""

import json
from dataclasses import asdict
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the tools' environment: make test-tools")

from model_tools.training import clock
from model_tools.training.paths import Workspace
from model_tools.training.pictures import Concept
from model_tools.training.starter.data.canvas import ASPECT_SIZES
from model_tools.training.starter.data.captions import ANYTHING, EMPTY, NO_OBJECT, Entry, wrap
from model_tools.training.starter.data.compose import IN_SCENE
from model_tools.training.starter.networks.autoencoder import LATENT_CHANNELS

LABELS = ("red apple", "left arrow", "cat face")


READING_SECONDS = 0.15
"""By which each reading of a training's clock is later than the one before."""


@pytest.fixture(autouse=True)
def ticking(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trainings read a clock that moves as often as it is read: they take as many steps however busy the machine is."""
    readings = count()
    monkeypatch.setattr(clock, "time", SimpleNamespace(monotonic=lambda: READING_SECONDS * next(readings)))


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """Concepts, pictures, captions and embeddings of three made-up concepts in both styles."""
    made = Workspace(tmp_path)
    random = np.random.default_rng(0)
    concepts = [
        {"code": str(row), "label": label, "tags": ["tag", "other"], "weight": 1.0, "rows": {"3d": row, "flat": row}}
        for row, label in enumerate(LABELS)
    ]
    made.concepts.write_text(json.dumps(concepts), "utf-8")
    for style in ("3d", "flat"):
        np.save(made.pictures(style), random.integers(0, 256, (3, 256, 256, 4), dtype=np.uint8))
    made.captions.write_text(json.dumps([asdict(entry) for entry in captions()]), "utf-8")
    np.save(made.embeddings, random.standard_normal((len(captions()), 48, 384)).astype(np.float16))
    return made


def captions() -> list[Entry]:
    """Of nothing, of each concept alone in four forms, and of composed pictures, in both styles."""
    entries = [Entry(EMPTY, "3d", ANYTHING)]
    for style in ("3d", "flat"):
        for place, label in enumerate(LABELS):
            texts = [wrap(form, style, wrapped=wrapped) for form in (label, f"a {label}") for wrapped in (True, False)]
            entries += [Entry(text, style, place) for text in texts]
        entries += [
            Entry(f"{style} beach", style, NO_OBJECT, scene="beach"),
            Entry(f"{style} apple on the beach", style, 0, layout=IN_SCENE, scene="beach"),
            Entry(f"{style} two blue cats", style, 2, colour="blue", layout=2),
        ]
    return entries


@pytest.fixture
def with_latents(workspace: Workspace) -> Workspace:
    """The same, with random latents in place of encoded pictures."""
    workspace.latents.mkdir()
    random = np.random.default_rng(1)
    for style in ("3d", "flat"):
        latents = random.standard_normal((3, LATENT_CHANNELS, 16, 16)).astype(np.float16)
        np.save(workspace.latents / f"{style}.npy", latents)
    composed = [row for row, entry in enumerate(captions()) if entry.layout or entry.scene]
    for width, height in ASPECT_SIZES:
        latents = random.standard_normal((len(composed), LATENT_CHANNELS, height // 8, width // 8)).astype(np.float16)
        np.save(workspace.latents / f"composed_{width}x{height}.npy", latents)
        np.save(workspace.latents / f"composed_{width}x{height}_captions.npy", np.array(composed))
    (workspace.latents / "scaling.json").write_text('{"scaling_factor": 0.5}', "utf-8")
    return workspace


@pytest.fixture
def concept() -> Concept:
    return Concept("1f34e", "red apple", ("fruit", "health", "tasty"), 1.0, {"3d": 0, "flat": 0})
