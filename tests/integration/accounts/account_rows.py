"""What the tests of accounts have in common: accounts by their limits, and what the database says of them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import psycopg

from orchestrator.accounts import admin
from orchestrator.accounts.account import Account
from orchestrator.database.pool import Database


async def account(database: Database, name: str = "anna", **limits: Any) -> Account:
    """A new account; `limits` are columns of accounts."""
    await admin.create(database, name)
    if limits:
        await admin.change(database, name, limits)
    (row,) = await database.run("SELECT id FROM imagegen.accounts WHERE name = %(name)s", {"name": name})
    return Account(
        id=row["id"],
        name=name,
        max_active=limits.get("max_active"),
        requests_per_minute=limits.get("requests_per_minute"),
        credits_counted=limits.get("credits") is not None,
    )


async def value(database: Database, sql: str, **keys: object) -> Any:
    """The one value of the one row of a statement."""
    (row,) = await database.run(sql, keys)
    (found,) = row.values()
    return found


async def credits_of(database: Database, name: str = "anna") -> Decimal:
    """What an account has left."""
    found: Decimal = await value(database, "SELECT credits FROM imagegen.accounts WHERE name = %(name)s", name=name)
    return found


@asynccontextmanager
async def locked(database: Database, name: str = "anna") -> AsyncIterator[None]:
    """An account's row is locked while the block runs: who would enter waits."""
    async with await psycopg.AsyncConnection.connect(database.url) as connection:
        await connection.execute("SELECT FROM imagegen.accounts WHERE name = %s FOR UPDATE", (name,))
        yield


async def until_waiting(database: Database, count: int) -> None:
    """Until that many connections wait for a lock."""
    sql = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    await until(lambda: value(database, sql), count)


async def until(read: Callable[[], Awaitable[object]], wanted: object, seconds: float = 4.0) -> None:
    """Read again and again, until the value is the wanted one; 4 s are less than an unknown key is remembered."""
    async with asyncio.timeout(seconds):
        while await read() != wanted:  # noqa: ASYNC110  # other processes set no event here
            await asyncio.sleep(0.01)
