"""A web server, and fetchers of what it has."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from orchestrator.config import ANY_PORT
from orchestrator.web import addresses
from orchestrator.web.fetching import Fetcher, FetchSettings
from tests.integration.web import Web, serve_web
from tests.unit.imaging.fetching import PUBLIC


@pytest.fixture
async def web() -> AsyncIterator[Web]:
    """A web server on 127.0.0.1, and on PUBLIC too."""
    async with serve_web() as served:
        server = await asyncio.start_server(served.answer, PUBLIC, served.port)
        yield served
        server.close()


@pytest.fixture
async def fetcher() -> AsyncIterator[Fetcher]:
    """May fetch from everywhere, in little time."""
    made = Fetcher(FetchSettings(ports=ANY_PORT, allow_private=True, seconds=5, max_bytes=1 << 20))
    yield made
    await made.close()


@pytest.fixture
async def strict() -> AsyncIterator[Fetcher]:
    """As it is in production."""
    made = Fetcher(FetchSettings(ports=ANY_PORT))
    yield made
    await made.close()


@pytest.fixture
def public(monkeypatch: pytest.MonkeyPatch) -> None:
    """Takes PUBLIC for a public address."""
    real = addresses.is_public
    monkeypatch.setattr(addresses, "is_public", lambda address: address == PUBLIC or real(address))
