"""A gateway before an orchestrator with every task, both on real sockets: what clients of all kinds call."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from gateway.__main__ import listen, make_server
from gateway.config import Address
from gateway.config import Settings as GatewaySettings
from tests.accounts import new_key
from tests.integration.stack import ADAPTERS_FAMILIES, serving, settings


@dataclass(frozen=True)
class Endpoints:
    """Where a stack is.

    Attributes:
        rest: URL of the gateway.
        grpc: host:port of the orchestrator.
        key: of an account.
        database_url: of the stack.
    """

    rest: str
    grpc: str
    key: str
    database_url: str


@contextlib.asynccontextmanager
async def running(
    triton_port: int, folder: Path, *, gateway: Mapping[str, object] | None = None, **changes: object
) -> AsyncIterator[Endpoints]:
    """A stack; `gateway` are settings of the gateway, `changes` those of the orchestrator."""
    listener = listen(Address("127.0.0.1", 0))
    base = f"http://127.0.0.1:{listener.getsockname()[1]}"
    config = settings(triton_port, folder, anonymous=False, public_url=base, **changes)
    key = await new_key(config.database_url, "test")
    async with serving(config) as (orchestrator, _):
        address = Address("127.0.0.1", orchestrator.grpc_port)
        server = make_server(GatewaySettings(orchestrator=address, **(gateway or {})))  # type: ignore[arg-type]
        task = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            yield Endpoints(base, str(address), key, config.database_url)
        finally:
            server.should_exit = True
            await task


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def endpoints(adapters_triton: int, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Endpoints]:
    """A stack that serves every task, and may fetch from loopback."""
    async with running(
        adapters_triton, tmp_path_factory.mktemp("stack"), families=ADAPTERS_FAMILIES, fetch_private=True
    ) as found:
        yield found
