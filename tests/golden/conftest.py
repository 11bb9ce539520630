"""A Triton with the adapters' networks, and the families over it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from local import triton
from model_tools.goldens import adapter_cases as golden_adapters
from model_tools.goldens import cases as golden_cases
from orchestrator.models.pool import TritonPool
from orchestrator.models.readiness import TritonNetworks
from tests.golden.adapter_cases import FAMILIES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


@pytest.fixture(scope="session")
def adapters_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Port of a Triton with the adapters' networks next to the tiny model's."""
    repositories = [golden_cases.GOLDEN / "model_repository", golden_adapters.ADAPTERS]
    with triton.running(repositories, tmp_path_factory.mktemp("triton")) as server:
        yield server.grpc_port


@pytest.fixture
async def source(adapters_port: int) -> AsyncIterator[TritonNetworks]:
    """All families of adapters/families.toml, checked once."""
    server = TritonPool(f"127.0.0.1:{adapters_port}", timeout_seconds=60)
    networks = TritonNetworks(server, FAMILIES)
    await networks.refresh()
    yield networks
    await server.close()
