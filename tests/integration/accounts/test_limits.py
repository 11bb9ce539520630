"""What an account may ask for, where many ask at once."""

import asyncio
from decimal import Decimal
from typing import Any

import pytest

from orchestrator.accounts import admin, limits
from orchestrator.accounts.account import Account
from orchestrator.accounts.limits import Entered
from orchestrator.database.pool import Database
from orchestrator.errors import (
    ApiKeyUnknownError,
    ImagegenError,
    NotEnoughCreditsError,
    RateLimitedError,
    TooManyJobsError,
)
from orchestrator.streams.leases import Leases
from tests.integration.accounts.account_rows import account, credits_of, locked, until_waiting, value

LEASE = "INSERT INTO imagegen.leases VALUES (%(id)s, %(account)s, %(price)s, now() + interval '1 minute')"


async def enter(database: Database, who: Account, price: str = "2") -> Entered:
    """Enter in a transaction of its own."""
    async with database.transaction() as connection:
        return await limits.enter(connection, who.id, Decimal(price))


async def begin(database: Database, who: Account, number: int, price: str = "2") -> bool:
    """Enter and take a place; False if one is refused."""
    try:
        async with database.transaction() as connection:
            entered = await limits.enter(connection, who.id, Decimal(price))
            keys = {"id": f"{who.name}{number}", "account": who.id, "price": entered.taken}
            await connection.execute(LEASE, keys)
    except (NotEnoughCreditsError, TooManyJobsError, RateLimitedError):
        return False
    return True


async def test_without_limits_nothing_is_taken(database: Database) -> None:
    anna = await account(database)
    before = await value(database, "SELECT xmin::text FROM imagegen.accounts WHERE id = %(id)s", id=anna.id)
    assert await enter(database, anna) == Entered(0.0, Decimal(0))
    after = await value(database, "SELECT xmin::text FROM imagegen.accounts WHERE id = %(id)s", id=anna.id)
    assert after == before, "and nothing is written"


async def test_credits_are_taken_and_refunded_to_the_thousandth(database: Database) -> None:
    anna = await account(database, credits=Decimal("0.3"))
    assert await enter(database, anna, "0.1") == Entered(0.0, Decimal("0.1"))
    assert (await enter(database, anna, "0.0005")).taken == Decimal("0.001"), "what is taken is what is answered"
    assert await credits_of(database) == Decimal("0.199")
    async with database.transaction() as connection:
        await limits.refund(connection, anna.id, Decimal("0.001"))
        await limits.refund(connection, anna.id, Decimal(0))
    assert await credits_of(database) == Decimal("0.2")
    with pytest.raises(NotEnoughCreditsError, match=r"costs 0.201 credits, and the account has 0.200"):
        await enter(database, anna, "0.201")
    assert await credits_of(database) == Decimal("0.2")
    assert (await enter(database, anna, "0.2")).taken == Decimal("0.2"), "to the last one"


async def test_what_is_not_counted_is_not_refunded(database: Database) -> None:
    anna = await account(database)
    async with database.transaction() as connection:
        await limits.refund(connection, anna.id, Decimal(3))
    assert await credits_of(database) is None


async def test_a_refusal_changes_nothing(database: Database) -> None:
    anna = await account(database, max_active=1, requests_per_minute=60, credits=Decimal(10))
    assert await begin(database, anna, 1)
    before = await database.run("SELECT rate_tat, credits FROM imagegen.accounts WHERE id = %(id)s", {"id": anna.id})
    with pytest.raises(TooManyJobsError) as caught:
        await enter(database, anna)
    assert (caught.value.limit, caught.value.active) == (1, 1)
    after = await database.run("SELECT rate_tat, credits FROM imagegen.accounts WHERE id = %(id)s", {"id": anna.id})
    assert after == before


@pytest.mark.parametrize(
    ("limited", "refused"),
    [
        ({"max_active": 1, "requests_per_minute": 1, "credits": Decimal(2)}, NotEnoughCreditsError),
        ({"max_active": 1, "requests_per_minute": 1}, TooManyJobsError),
        ({"requests_per_minute": 1}, RateLimitedError),
    ],
)
async def test_the_refusal_names_what_waiting_helps_least(
    database: Database, limited: dict[str, Any], refused: type[ImagegenError]
) -> None:
    anna = await account(database, **limited)
    assert await begin(database, anna, 1)
    with pytest.raises(refused):
        await enter(database, anna)


async def test_a_disabled_account_is_nobody(database: Database) -> None:
    anna = await account(database)
    await admin.change(database, "anna", {"disabled": True})
    with pytest.raises(ApiKeyUnknownError):
        await enter(database, anna)
    with pytest.raises(ApiKeyUnknownError):
        await enter(database, Account(id=999, name="gone"))


async def test_who_waited_for_the_lock_sees_what_was_written_meanwhile(database: Database) -> None:
    """Twenty stand before one free place when the door opens; each statement sees what those before it committed."""
    anna = await account(database, max_active=1)
    async with locked(database):
        tries = [asyncio.create_task(begin(database, anna, number)) for number in range(20)]
        await until_waiting(database, 20)
    assert sum(await asyncio.gather(*tries)) == 1


@pytest.mark.promise(
    "an account that takes more than its share",
    "jobs at a time, credits, requests a minute: one statement, under a lock",
    "orchestrator/accounts/limits.py",
)
async def test_races_never_exceed_a_limit(database: Database) -> None:
    """200 ask for 7 places and 31 credits at 2 each, on 32 connections; some leave, and are refunded."""
    anna = await account(database, max_active=7, credits=Decimal(31))
    most = 0

    async def come_and_go(number: int) -> int:
        nonlocal most
        if not await begin(database, anna, number):
            return 0
        active = await value(
            database, "SELECT count(*) FROM imagegen.leases WHERE account_id = %(account)s", account=anna.id
        )
        most = max(most, active)
        async with database.transaction() as connection:
            await connection.execute("DELETE FROM imagegen.leases WHERE id = %s", (f"anna{number}",))
            if number % 3 == 0:
                await limits.refund(connection, anna.id, Decimal(2))
                return 0
        return 1

    spent = sum(await asyncio.gather(*(come_and_go(number) for number in range(200))))
    assert 1 < most <= 7
    assert await credits_of(database) == Decimal(31) - 2 * spent
    assert 0 < spent <= 15


async def test_jobs_and_leases_count_together(database: Database) -> None:
    anna = await account(database, max_active=2)
    leases = Leases(database, Decimal(0))
    await database.run(
        "INSERT INTO imagegen.jobs (id, account_id, request_id, request_digest, task, family, seed, state, priority,"
        " rank, tag, cost, price) VALUES (repeat('j', 22), %(account)s, 'r', '', 't', 'f', 1, 'queued', 'normal', 1, 1,"
        " 1, 0)",
        {"account": anna.id},
    )
    async with leases.hold(anna, "stream"):
        with pytest.raises(TooManyJobsError):
            await enter(database, anna)
        await database.run("UPDATE imagegen.jobs SET state = 'failed'")
        await enter(database, anna)
        await database.run("UPDATE imagegen.leases SET expires_at = now() - interval '1 second'")
        await database.run("UPDATE imagegen.jobs SET state = 'running'")
        await enter(database, anna)
