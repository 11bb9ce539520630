"""The small world, for tests that need no other."""

from pathlib import Path

import pytest

from tests.unit.orchestrator.world import World, build


@pytest.fixture
def world(tmp_path: Path) -> World:
    """One slot, so that jobs run one after another."""
    return build(tmp_path)
