"""The studio of these tests."""

from pathlib import Path

import pytest

from tests.unit.tasks.studio import EVERYTHING, Studio


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    """With every network."""
    return Studio(EVERYTHING, tmp_path)
