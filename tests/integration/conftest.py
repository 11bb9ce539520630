"""Real Tritons, one for each test process and kind, and an orchestrator over them."""

import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from local import triton
from orchestrator.server import Orchestrator
from tests.integration.stack import ADAPTERS, ADAPTERS_FAMILIES, FORMULAS, TINY, Client, serving, settings
from tests.integration.web import Web, serve_web

SLOW_MODEL = '''"""The shared model, each batch of which takes at least 0.15 s."""

import time

from engines.openvino_engine import TritonPythonModel as Shared


class TritonPythonModel(Shared):
    def execute(self, requests):
        time.sleep(0.15)
        return super().execute(requests)
'''


@pytest.fixture(scope="session")
def slow_triton(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """GRPC port of one whose UNet takes its time."""
    repository = tmp_path_factory.mktemp("slow") / "models"
    shutil.copytree(TINY, repository)
    (repository / "tiny_unet/1/model.py").write_text(SLOW_MODEL)
    with triton.running([repository], tmp_path_factory.mktemp("triton")) as server:
        yield server.grpc_port


@pytest.fixture(scope="session")
def adapters_triton(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """GRPC port of one that serves every role of tests/integration/adapters.toml."""
    repositories = [TINY, ADAPTERS, FORMULAS]
    with triton.running(repositories, tmp_path_factory.mktemp("triton")) as server:
        yield server.grpc_port


@pytest.fixture
async def adapters(adapters_triton: int, tmp_path: Path) -> AsyncIterator[tuple[Orchestrator, Client]]:
    """An orchestrator that serves every task, and may fetch from loopback; and a client of it."""
    config = settings(adapters_triton, tmp_path, families=ADAPTERS_FAMILIES, fetch_private=True)
    async with serving(config) as pair:
        yield pair


@pytest.fixture
async def web() -> AsyncIterator[Web]:
    """A web server on loopback."""
    async with serve_web() as server:
        yield server


@pytest.fixture
async def served(tiny_triton: int, tmp_path: Path) -> AsyncIterator[tuple[Orchestrator, Client]]:
    """An orchestrator over the tiny networks, and a client of it, when the networks are ready."""
    async with serving(settings(tiny_triton, tmp_path)) as pair:
        yield pair


@pytest.fixture
def orchestrator(served: tuple[Orchestrator, Client]) -> Orchestrator:
    """The orchestrator of `served`."""
    return served[0]


@pytest.fixture
def client(served: tuple[Orchestrator, Client]) -> Client:
    """The client of `served`."""
    return served[1]
