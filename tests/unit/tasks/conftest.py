"""The harness of these tests."""

from pathlib import Path

import pytest

from tests.unit.tasks.task_harness import EVERYTHING, TaskHarness


@pytest.fixture
def harness(tmp_path: Path) -> TaskHarness:
    """With every network."""
    return TaskHarness(EVERYTHING, tmp_path)
