"""Small random checkpoints, made once; each test gets copies that it may spoil."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from model_tools import random_checkpoints

Copy = Callable[[str], Path]


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
