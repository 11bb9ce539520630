"""GetAccount over a real gRPC server: what a client learns of itself."""

from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import grpc
import pytest

from imagegen.v1 import accounts_pb2 as pb
from imagegen.v1 import accounts_pb2_grpc
from imagegen.v1.generation_pb2 import Marks
from orchestrator.accounts import admin
from orchestrator.accounts.authentication import Accounts
from orchestrator.api.accounts import AccountServicer
from orchestrator.api.auth import EdgeInterceptor
from orchestrator.database.pool import Database
from orchestrator.streams.leases import Leases
from tests.accounts import new_key
from tests.integration.accounts.account_rows import account


@pytest.fixture
async def accounts(database: Database) -> AsyncIterator[accounts_pb2_grpc.AccountServiceStub]:
    """A client of a server that lets everybody in."""
    server = grpc.aio.server(interceptors=[EdgeInterceptor(Accounts(database, anonymous=True), 1 << 20)])
    accounts_pb2_grpc.add_AccountServiceServicer_to_server(AccountServicer(database, Marks(xmp=True)), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield accounts_pb2_grpc.AccountServiceStub(channel)
    await server.stop(0)


async def get(accounts: accounts_pb2_grpc.AccountServiceStub, *keys: str) -> pb.Account:
    """The account of a key."""
    call: Any = accounts.GetAccount  # the stub's type is the synchronous one's
    found: pb.Account = await call(pb.GetAccountRequest(), metadata=[("x-api-key", key) for key in keys])
    return found


async def test_an_account_as_it_stands(database: Database, accounts: accounts_pb2_grpc.AccountServiceStub) -> None:
    anna = await account(database, max_active=3, requests_per_minute=600, credits=Decimal(10), email="a@example.org")
    key = await new_key(database.url, "anna")
    async with Leases(database, Decimal("0.25")).hold(anna, "stream"):
        seen = await get(accounts, key)
    assert (seen.name, seen.email, seen.key_prefix) == ("anna", "a@example.org", key[:11])
    assert (seen.max_active_jobs, seen.active_jobs, seen.requests_per_minute, seen.credits) == (3, 1, 600, 9.75)
    assert seen.webhook_secret.startswith("whsec_")
    await admin.change(database, "anna", {"credits": Decimal(3)})
    assert (await get(accounts, key)).credits == 3, "never from memory"


async def test_what_has_no_limit_is_absent(database: Database, accounts: accounts_pb2_grpc.AccountServiceStub) -> None:
    for seen in (await get(accounts), await get(accounts, await new_key(database.url, "ben"))):
        present = {field.name for field, _ in seen.ListFields()}
        assert not present & {"credits", "max_active_jobs", "requests_per_minute"}
        assert seen.active_jobs == 0
    assert not (await get(accounts)).HasField("key_prefix")


async def test_a_disabled_account_is_unknown(
    database: Database, accounts: accounts_pb2_grpc.AccountServiceStub
) -> None:
    key = await new_key(database.url, "anna")
    await get(accounts, key)
    await admin.change(database, "anna", {"disabled": True})
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await get(accounts, key)  # though the key is in memory still
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
