"""A workspace with a handful of made-up pictures, so that every stage runs in seconds without the data set."""

import json
import logging
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the tools' environment: make test-tools")

from model_tools.starter.canvas import BUCKETS  # noqa: E402 -- only with torch
from model_tools.starter.captions import EMPTY, captions_of  # noqa: E402
from model_tools.starter.paths import Workspace  # noqa: E402
from model_tools.starter.pictures import Concept, load_concepts  # noqa: E402

LABELS = ("red apple", "left arrow", "cat face")


@pytest.fixture(autouse=True)
def two_threads() -> None:
    torch.set_num_threads(2)
    # pytest keeps every log record, and torch.export traces by the hundred thousand: minutes of nothing.
    logging.getLogger("torch.__trace").setLevel(logging.CRITICAL)


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
    texts = {EMPTY: None}
    for concept in load_concepts(made):
        for style in concept.rows:
            forms = captions_of(concept, style)
            texts |= dict.fromkeys((*forms.wrapped, *forms.bare))
    made.captions.write_text(json.dumps(list(texts)), "utf-8")
    np.save(made.embeddings, random.standard_normal((len(texts), 48, 384)).astype(np.float16))
    return made


@pytest.fixture
def with_latents(workspace: Workspace) -> Workspace:
    """The same, with random latents in place of encoded pictures."""
    workspace.latents.mkdir()
    random = np.random.default_rng(1)
    for style in ("3d", "flat"):
        for width, height in BUCKETS:
            latents = random.standard_normal((3, 4, height // 8, width // 8)).astype(np.float16)
            np.save(workspace.latents / f"{style}_{width}x{height}.npy", latents)
    (workspace.latents / "scaling.json").write_text('{"scaling_factor": 0.5}', "utf-8")
    return workspace


@pytest.fixture
def concept() -> Concept:
    return Concept("1f34e", "red apple", ("fruit", "health", "tasty"), 1.0, {"3d": 0, "flat": 0})
