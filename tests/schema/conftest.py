"""Stacks that serve."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from local import stack
from local.settings import ROOT, Ports, Settings
from tests.conftest import TINY_REPOSITORY


@contextmanager
def serving(folder: Path, **more: Any) -> Iterator[Settings]:
    """A stack on ports of its own."""
    found = Settings(state_dir=folder / "state", ports=Ports.free(), **more)
    try:
        stack.up(found)
        yield found
    finally:
        stack.down(found)


@pytest.fixture
def tiny(tmp_path: Path) -> Iterator[Settings]:
    """With the tiny networks, which answer in milliseconds."""
    families = ROOT / "tests/integration/families.toml"
    with serving(tmp_path, repositories=(TINY_REPOSITORY,), families=families) as found:
        yield found


@pytest.fixture
def starter(tmp_path: Path) -> Iterator[Settings]:
    """As `make up` starts it."""
    with serving(tmp_path) as found:
        yield found
