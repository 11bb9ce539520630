"""A real Triton that serves the tiny model, one for each test process."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from local import triton
from model_tools.golden_cases import GOLDEN

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def tiny_triton(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """GRPC port of a Triton that serves the tiny random networks in float32."""
    with triton.running([GOLDEN / "model_repository"], tmp_path_factory.mktemp("triton")) as server:
        yield server.grpc_port
