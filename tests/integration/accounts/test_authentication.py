"""Keys open accounts, on every server alike, until they are revoked."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import pytest

from orchestrator.accounts import admin, authentication, key_admin, keys, lookups
from orchestrator.accounts.authentication import Accounts
from orchestrator.accounts.lookups import Lookups
from orchestrator.database.listen import ACCOUNTS, Listener
from orchestrator.database.pool import Database
from orchestrator.errors import (
    ApiKeyMissingError,
    ApiKeyUnknownError,
    DatabaseUnavailableError,
    PreconditionError,
    QueueFullError,
)
from tests.integration.accounts.account_rows import until


class Clock:
    """A clock that is set by hand."""

    now = 1000.0

    def __call__(self) -> float:
        """Seconds."""
        return self.now


async def key_of(database: Database, name: str = "anna") -> str:
    """A new key."""
    key = keys.make()
    await admin.create(database, name, exist_ok=True)
    await key_admin.add(database, name, key)
    return key


@pytest.fixture
async def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many digests each statement looked up."""
    seen: list[int] = []
    ask = Lookups._ask

    async def counting(self: Lookups, digests: Any) -> Any:
        seen.append(len(digests))
        return await ask(self, digests)

    monkeypatch.setattr(Lookups, "_ask", counting)
    return seen


@asynccontextmanager
async def server(url: str) -> AsyncIterator[Accounts]:
    """What another process has: a pool, a listener and a memory of its own."""
    database, listener = Database(url), Listener(url)
    accounts = Accounts(database, anonymous=False)
    await database.open()
    heard = asyncio.Event()
    listener.subscribe(ACCOUNTS, accounts.forget)
    listener.subscribe(ACCOUNTS, lambda _: heard.set())
    await listener.start()
    try:
        await asyncio.wait_for(heard.wait(), 10)
        yield accounts
    finally:
        await listener.close()
        await accounts.close()
        await database.close()


async def refused(accounts: Accounts, key: str | None) -> bool:
    """Whether a key opens nothing."""
    try:
        await accounts.authenticate(key)
    except ApiKeyUnknownError:
        return True
    return False


async def test_a_key_opens_its_account_from_memory(database: Database, counted: list[int]) -> None:
    key = await key_of(database)
    await admin.change(database, "anna", {"max_active": 3, "email": "a@example.org"})
    accounts = Accounts(database, anonymous=False)
    first = await accounts.authenticate(key)
    assert (first.name, first.email, first.max_active, first.credits_counted) == ("anna", "a@example.org", 3, False)
    assert first.key_prefix == key[:11]
    assert await accounts.authenticate(key) is first
    assert counted == [1]


@pytest.mark.parametrize("key", ["ig_" + "x" * 43, "x", "ä" * 40, "\udcff", "x" * 100_000, "a\x00b"])
async def test_what_is_not_a_key_is_unknown(database: Database, key: str) -> None:
    assert await refused(Accounts(database, anonymous=True), key), "a wrong key is not nobody's"


async def test_without_a_key(database: Database) -> None:
    for key in (None, ""):
        with pytest.raises(ApiKeyMissingError):
            await Accounts(database, anonymous=False).authenticate(key)
        nobody = await Accounts(database, anonymous=True).authenticate(key)
        assert (nobody.name, nobody.key_prefix) == ("anonymous", None)
    await admin.change(database, "anonymous", {"disabled": True})
    with pytest.raises(ApiKeyMissingError):
        await Accounts(database, anonymous=True).authenticate(None)


async def test_memory_ends_by_itself(database: Database, counted: list[int]) -> None:
    """Where no notification comes, a revoked key opens for 30 s at most, and a new one is seen after 5 s."""
    clock = Clock()
    accounts = Accounts(database, anonymous=False, clock=clock)
    key, later = await key_of(database), keys.make()
    await accounts.authenticate(key)
    assert await refused(accounts, later)
    await key_admin.revoke(database, key[:11])
    await key_admin.add(database, "anna", later)
    clock.now += 4.9
    assert await refused(accounts, later)
    clock.now += 0.2
    assert not await refused(accounts, later)
    clock.now += 24.8
    assert not await refused(accounts, key)
    clock.now += 0.2
    assert await refused(accounts, key)
    assert counted == [1] * 4


@pytest.mark.promise(
    "a revoked key",
    "every server forgets at once, by a notification; in 30 s without",
    "orchestrator/accounts/authentication.py",
)
async def test_revoking_is_seen_at_once_by_every_server(database: Database) -> None:
    key, kept = await key_of(database), await key_of(database)
    async with server(database.url) as one, server(database.url) as other:
        for accounts in (one, other):
            await accounts.authenticate(key)
            await accounts.authenticate(kept)
        await key_admin.revoke(database, key[:11])
        await until(lambda: refused(one, key), True)
        await until(lambda: refused(other, key), True)
        assert not await refused(other, kept)
        await admin.change(database, "anna", {"disabled": True})
        await until(lambda: refused(one, kept), True)
        await until(lambda: refused(other, kept), True)
        await admin.change(database, "anna", {"disabled": False})
        await until(lambda: refused(other, kept), False)


async def test_what_was_asked_before_a_change_is_not_remembered(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key is revoked after the statement has read it, and before its answer is here."""
    key, asked, go = await key_of(database), asyncio.Event(), asyncio.Event()
    accounts = Accounts(database, anonymous=False)
    ask = Lookups._ask

    async def slow(self: Lookups, digests: Any) -> Any:
        answer = await ask(self, digests)
        asked.set()
        await go.wait()
        return answer

    monkeypatch.setattr(Lookups, "_ask", slow)
    first = asyncio.create_task(accounts.authenticate(key))
    await asked.wait()
    await key_admin.revoke(database, key[:11])
    accounts.forget()
    second = asyncio.create_task(refused(accounts, key))
    await asyncio.sleep(0)
    go.set()
    assert (await first).name == "anna", "it came before"
    assert await second, "it does not share the old answer"
    assert await refused(accounts, key)


@pytest.mark.promise(
    "guessing keys in a flood",
    "unknown keys are remembered, lookups bounded",
    "orchestrator/accounts/lookups.py",
)
async def test_a_flood_of_unknown_keys_stays_small(
    database: Database, counted: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(authentication, "MAX_REMEMBERED", 300)
    monkeypatch.setattr(lookups, "MAX_WAITING", 200)
    accounts, key = Accounts(database, anonymous=False), await key_of(database)
    flood = [asyncio.create_task(accounts.authenticate(f"guess {number}")) for number in range(1000)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert len(counted) == 1, "the first statement runs, and has emptied the room"
    assert (await accounts.authenticate(key)).name == "anna", "whoever has a key comes in"
    errors = [type(error) for error in await asyncio.gather(*flood, return_exceptions=True)]
    assert set(errors) == {ApiKeyUnknownError, QueueFullError}
    assert errors.count(ApiKeyUnknownError) >= 200
    assert len(counted) <= 4, "statements are shared"
    for number in range(500):
        assert await refused(accounts, f"other {number}")
    assert len(accounts._unknown) == 300


async def test_the_same_key_is_looked_up_once(database: Database, counted: list[int]) -> None:
    accounts, key = Accounts(database, anonymous=False), await key_of(database)
    first, *others = [asyncio.create_task(accounts.authenticate(key)) for _ in range(50)]
    await asyncio.sleep(0)
    first.cancel()
    assert {account.name for account in await asyncio.gather(*others)} == {"anna"}, "one who leaves takes none along"
    assert counted == [1]


async def test_while_the_database_is_unreachable_memory_serves(database: Database) -> None:
    key, other = await key_of(database), await key_of(database)
    own = Database(database.url, 2)
    await own.open()
    accounts = Accounts(own, anonymous=False)
    await accounts.authenticate(key)
    await own.close()
    assert (await accounts.authenticate(key)).name == "anna"
    with pytest.raises(DatabaseUnavailableError):
        await accounts.authenticate(other)


async def test_a_database_that_is_not_migrated_is_said_to_be_away(database: Database) -> None:
    async with await psycopg.AsyncConnection.connect(database.url) as connection:
        await connection.execute("DROP TABLE imagegen.api_keys")
    with pytest.raises(DatabaseUnavailableError):
        await Accounts(database, anonymous=False).authenticate(keys.make())


@pytest.mark.promise(
    "keys read in the database",
    "SHA-256 of 256 random bits is all that is kept",
    "orchestrator/accounts/keys.py",
)
async def test_only_the_digest_is_stored(database: Database) -> None:
    key = await key_of(database)
    rows = await database.run("SELECT k::text AS whole, digest FROM imagegen.api_keys k")
    assert key[11:] not in rows[0]["whole"]
    assert bytes(rows[0]["digest"]) == keys.digest(key)


async def test_a_key_has_one_account(database: Database) -> None:
    key = await key_of(database)
    await admin.create(database, "ben")
    with pytest.raises(PreconditionError, match="another account's") as caught:
        await key_admin.add(database, "ben", key)
    assert key not in str(caught.value)
