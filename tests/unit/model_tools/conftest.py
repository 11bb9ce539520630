"""Threads of torch; small random checkpoints, written once, of which each test gets copies that it may spoil."""

import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs the tools' environment: make test-tools")

from model_tools.export import write  # noqa: E402  # needs torch
from model_tools.export.parts import Part  # noqa: E402  # needs torch
from model_tools.export.verify import Check  # noqa: E402  # needs torch
from model_tools.goldens import random_checkpoints  # noqa: E402  # needs torch

Copy = Callable[[str], Path]


@pytest.fixture(autouse=True)
def two_threads() -> None:
    torch.set_num_threads(2)
    # pytest keeps every log record, and torch.export traces by the hundred thousand: minutes of nothing.
    logging.getLogger("torch.__trace").setLevel(logging.CRITICAL)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all of random_checkpoints.CHECKPOINTS."""
    folder = tmp_path_factory.mktemp("checkpoints")
    for name in random_checkpoints.CHECKPOINTS:
        random_checkpoints.make(folder, name)
    return folder


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Copy:
    """Gives a copy of one of them."""

    def give(name: str) -> Path:
        return Path(shutil.copytree(made / name, tmp_path / "given" / name))

    return give


@pytest.fixture
def without_export(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a stand-in in the place of export, which tests/checkpoints has."""

    def write_part(_: Part, folder: Path, **__: object) -> write.Written:
        (folder / "1").mkdir(parents=True)
        (folder / "config.pbtxt").write_text(f'name: "{folder.name}"')
        return write.Written("0" * 64, Check(1e-6, 0.0), 10)

    monkeypatch.setattr(write, "write_part", write_part)
    monkeypatch.setattr(write, "free_memory", lambda: None)
