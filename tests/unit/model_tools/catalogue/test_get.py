"""`python -m model_tools get`: fetched from a hub on loopback, verified and added; or one line, and nothing left."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import huggingface_hub
import pytest

from model_tools.catalogue import get
from model_tools.goldens import random_checkpoints, random_transformers
from orchestrator.models.families import Families
from tests.unit.model_tools.catalogue.hub_server import COMMIT, Hub, entry

if TYPE_CHECKING:
    from collections.abc import Iterator


pytestmark = [
    pytest.mark.tools,
    pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning"),
    pytest.mark.usefixtures("without_export"),
]

ROOT = Path(__file__).parents[4]


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Checkpoints by their ids on the hub."""
    folder = tmp_path_factory.mktemp("published")
    return {
        "somebody/sd": random_checkpoints.make(folder, "sd"),
        "somebody/z-image": random_transformers.make(folder, "z_image"),
    }


@pytest.fixture
def hub(published: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub, and an empty cache of what was fetched."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    huggingface_hub.utils.disable_progress_bars()
    with Hub(dict(published)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def catalogue(tmp_path: Path) -> Path:
    """A catalogue of the two."""
    path = tmp_path / "models.toml"
    few = entry("sd") + 'add = { few-step = "lcm", precision = "fp32" }\n'
    path.write_text(few + entry("z-image"), "utf-8")
    return path


def run(name: str, hub: Hub | str, catalogue: Path, *words: str) -> int:
    """The command, with models and families next to the catalogue."""
    url = hub if isinstance(hub, str) else hub.url
    places = ("--repository", str(catalogue.parent / "models"), "--families", str(catalogue.parent / "f/families.toml"))
    return get.main([name, "--hub", url, "--file", str(catalogue), *places, *words])


def left(catalogue: Path) -> list[Path]:
    """Files of a family, finished or not."""
    places = (catalogue.parent / name for name in ("models", "f", ".sd.partial", ".z-image.partial"))
    return [path for place in places for path in place.rglob("*")]


@pytest.mark.parametrize("name", ["sd", "z-image"])
def test_a_published_checkpoint_becomes_a_family(
    name: str, hub: Hub, catalogue: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(name, hub, catalogue, "--sizes", "64..192") == 0
    family = Families.load(catalogue.parent / "f/families.toml").get(name)
    assert family.license == "cc0-1.0"
    assert name == "z-image" or (family.default_sampler, family.default_steps) == ("lcm", 4)
    said = capsys.readouterr().out
    assert f"somebody/{name} at {COMMIT}" in said
    assert f"{'unet' if name == 'sd' else 'transformer'}/diffusion_pytorch_model.safetensors: SHA-256" in said
    fetched = [path for method, path, _ in hub.requests if method == "GET" and "/resolve/" in path]
    assert len(fetched) == len(set(fetched))
    assert not any(path.endswith((".bin", ".ckpt")) for path in fetched)


def test_what_the_user_says_counts_more_than_the_catalogue(hub: Hub, catalogue: Path) -> None:
    assert run("sd", hub, catalogue, "--sizes", "64..192", "--steps", "7", "--license", "mit") == 0
    family = Families.load(catalogue.parent / "f/families.toml").get("sd")
    assert (family.default_steps, family.license) == (7, "mit")


def test_a_wrong_file_leaves_one_line_and_no_family(
    hub: Hub, catalogue: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.spoiled.add("unet/diffusion_pytorch_model.safetensors")
    assert run("sd", hub, catalogue) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("get: unet/diffusion_pytorch_model.safetensors has the SHA-256 ")
    assert not left(catalogue)


def test_a_family_that_is_there_is_left_alone(hub: Hub, catalogue: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("sd", hub, catalogue, "--sizes", "64..192") == 0
    hub.requests.clear()
    assert run("sd", hub, catalogue, "--if-missing") == 0
    assert not hub.requests
    assert run("sd", hub, catalogue) == 1
    assert "has a family sd already" in capsys.readouterr().err


def test_a_wrong_option_is_said_before_anything_is_fetched(hub: Hub, catalogue: Path) -> None:
    with pytest.raises(SystemExit):
        run("sd", hub, catalogue, "--steps", "9000")
    assert not hub.requests


def test_the_hub_of_the_environment_is_asked(hub: Hub, catalogue: Path) -> None:
    """HF_ENDPOINT is huggingface_hub's own setting; it is read when the program starts."""
    hub.checkpoints.clear()
    done = subprocess.run(  # noqa: S603  # this program
        [sys.executable, "-m", "model_tools", "get", "sd", "--file", str(catalogue)],
        env={**os.environ, "HF_ENDPOINT": hub.url, "HF_HUB_CACHE": str(catalogue.parent / "cache")},
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("get: the model hub does not have somebody/sd: ")
    # huggingface_hub asks for a list of its own too where it thinks that an agent runs it.
    asked = [path for _, path, _ in hub.requests if path.startswith("/api/models/")]
    assert asked == ["/api/models/somebody/sd/revision/main"]
