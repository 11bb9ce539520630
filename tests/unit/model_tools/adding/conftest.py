"""Small random checkpoints, made once; each test gets copies that it may spoil."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from model_tools.goldens import random_checkpoints

Copy = Callable[[str], Path]


@pytest.fixture(autouse=True)
def one_thread(two_threads: None) -> None:  # noqa: ARG001  # after it
    """Networks are tiny: a second thread mostly waits."""
    torch.set_num_threads(1)


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
