"""Adds checkpoints by the command that users type, and has our stack draw with them."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
FORMULAS = ROOT / "tests/integration/model_repository"
TOOLS = (
    'face_detector = "formula_face_detector"\nface_landmarks = "formula_face_landmarks"\nmatting = "formula_matting"\n'
)


def named(request: pytest.FixtureRequest, file: Path) -> set[str] | None:
    """Names of the families that the chosen tests of a file are about; None for all: one asks for no certain one."""
    items = [item for item in request.session.items if item.path == file and isinstance(item, pytest.Function)]
    calls = [getattr(item, "callspec", None) for item in items if "drawn" in item.fixturenames]
    return None if None in calls else {call.params["name"] for call in calls if call is not None}


def run(command: list[str]) -> None:
    """Run a command in the repository's root; what it said is shown where it fails."""
    done = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True)  # noqa: S603  # of this file
    assert done.returncode == 0, done.stdout + done.stderr


def add(name: str, checkpoint: Path, out: Path, *options: str) -> None:
    """Add a family to `out`, in a families file of its own."""
    command = [sys.executable, "-m", "model_tools", "add", name, "--checkpoint", str(checkpoint)]
    command += ["--engine", "openvino", "--prompt-template", "{prompt}", *options]
    run([*command, "--repository", str(out / "models"), "--families", str(out / f"{name}.toml")])


def draw(out: Path, asked: dict[str, list[str]]) -> dict[str, Any]:
    """All pictures of our stack of the cases, by name, of each family in `out`: arrays by FAMILY/CASE/WHAT."""
    families, tables = out / "families.toml", [(out / f"{name}.toml").read_text("utf-8") for name in asked]
    families.write_text("\n".join([*tables, "[tools]", TOOLS]), "utf-8")
    buckets = tomllib.loads(families.read_text("utf-8"))["networks"][next(iter(asked))]["buckets"]
    order = {
        "repositories": [str(out / "models"), str(FORMULAS)],
        "families_toml": str(families),
        "size": next(bucket for bucket in buckets if bucket[0] != bucket[1]),
        "families": asked,
    }
    (out / "order.json").write_text(json.dumps(order), "utf-8")
    command = [str(ROOT / ".venv/bin/python"), "-m", "tests.checkpoints.draw"]
    run([*command, str(out / "order.json"), str(out / "drawn.npz")])
    return dict(np.load(out / "drawn.npz"))
