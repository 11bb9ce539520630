"""Generate streams reserve, pay, and give back; also where their process or the database dies meanwhile."""

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal

import psycopg
import pytest
from psycopg import sql

from orchestrator.accounts import admin
from orchestrator.accounts.account import Account
from orchestrator.database.pool import Database
from orchestrator.errors import NotEnoughCreditsError, TooManyJobsError
from orchestrator.streams import leases
from orchestrator.streams.leases import Leases
from tests.database import server_url
from tests.integration.accounts.account_rows import account, credits_of, until, value

PRICE = Decimal(2)


@pytest.fixture
async def held(database: Database) -> AsyncIterator[Leases]:
    """The leases of a process that does not renew them by itself."""
    made = Leases(database, PRICE)
    yield made
    await made.close()


async def count(database: Database) -> int:
    """Leases that there are."""
    found: int = await value(database, "SELECT count(*) FROM imagegen.leases")
    return found


async def used(database: Database) -> list[tuple[str, Decimal]]:
    """Rows of usage: job and price."""
    rows = await database.run("SELECT job_id, price FROM imagegen.usage ORDER BY job_id")
    return [(row["job_id"], row["price"]) for row in rows]


async def limited(database: Database) -> Account:
    """An account of two places and ten credits."""
    return await account(database, max_active=2, credits=Decimal(10))


async def test_a_picture_costs_its_price_once(database: Database, held: Leases) -> None:
    anna = await limited(database)
    async with held.hold(anna, "s1") as lease:
        assert await credits_of(database) == 8, "reserved while it runs"
        await lease.charge("text_to_image", "starter")
        await lease.charge("text_to_image", "starter")
    assert (await credits_of(database), await count(database)) == (Decimal(8), 0)
    assert await used(database) == [("s1", PRICE)]


@pytest.mark.parametrize("reason", [RuntimeError, asyncio.CancelledError])
async def test_a_stream_without_a_picture_costs_nothing(
    database: Database, held: Leases, reason: type[BaseException]
) -> None:
    anna = await limited(database)
    with pytest.raises(reason):
        async with held.hold(anna, "s1"):
            raise reason
    assert (await credits_of(database), await count(database), await used(database)) == (Decimal(10), 0, [])


async def test_it_gives_back_though_it_is_cancelled_twice(database: Database, held: Leases) -> None:
    """A client that hangs up while the server stops."""
    anna = await limited(database)
    entered = asyncio.Event()

    async def stream() -> None:
        async with held.hold(anna, "s1"):
            entered.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(stream())
    await entered.wait()
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await held.close()
    assert (await credits_of(database), await count(database)) == (Decimal(10), 0)


async def test_places_and_credits_are_refused(database: Database, held: Leases) -> None:
    anna = await limited(database)
    async with held.hold(anna, "s1"), held.hold(anna, "s2"):
        with pytest.raises(TooManyJobsError):
            async with held.hold(anna, "s3"):
                raise AssertionError
    await admin.change(database, "anna", {"credits": Decimal(1)})
    with pytest.raises(NotEnoughCreditsError):
        async with held.hold(anna, "s4"):
            raise AssertionError
    assert await count(database) == 0


async def test_an_account_without_limits_only_notes_its_picture(database: Database, held: Leases) -> None:
    anna = await account(database)
    async with held.hold(anna, "s1") as lease:
        assert await count(database) == 0
        await lease.charge("edit", "starter")
    async with held.hold(anna, "s2"):
        pass
    assert await used(database) == [("s1", Decimal(0))]


async def test_leases_of_a_dead_process_are_given_back_by_another(database: Database, held: Leases) -> None:
    anna = await limited(database)
    async with held.hold(anna, "s1"), held.hold(anna, "s2"):
        await database.run("UPDATE imagegen.leases SET expires_at = now() - interval '1 s' WHERE id = 's1'")
        others = [Leases(database, PRICE) for _ in range(8)]
        assert sum(await asyncio.gather(*(other.sweep() for other in others))) == 1, "once, whoever comes"
        assert (await credits_of(database), await count(database)) == (Decimal(8), 1)


async def test_a_lease_that_is_renewed_is_not_swept(
    database: Database, held: Leases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "RENEW_SECONDS", 0.05)
    anna = await limited(database)
    async with held.hold(anna, "s1"), held.hold(anna, "s2"):
        await database.run("UPDATE imagegen.leases SET expires_at = now() + interval '1 s'")
        await held.start()
        alive = "SELECT count(*) FROM imagegen.leases WHERE expires_at > now() + interval '20 s'"
        await until(lambda: value(database, alive), 2)
        assert await held.sweep() == 0, "though its time would have been over"


async def test_a_picture_after_its_lease_was_swept_is_paid_all_the_same(database: Database, held: Leases) -> None:
    anna = await limited(database)
    async with held.hold(anna, "s1") as lease:
        await database.run("UPDATE imagegen.leases SET expires_at = now() - interval '1 s'")
        await held.sweep()
        assert await credits_of(database) == 10
        await lease.charge("text_to_image", "starter")
        await lease.charge("text_to_image", "starter")
    assert (await credits_of(database), await used(database)) == (Decimal(8), [("s1", PRICE)])


async def test_what_cannot_be_paid_any_more_is_noted_as_free(database: Database, held: Leases) -> None:
    anna = await limited(database)
    async with held.hold(anna, "s1") as lease:
        await database.run("UPDATE imagegen.leases SET expires_at = now() - interval '1 s'")
        await held.sweep()
        await admin.change(database, "anna", {"credits": Decimal(1)})
        await lease.charge("text_to_image", "starter")
    assert (await credits_of(database), await used(database)) == (Decimal(1), [("s1", Decimal(0))])


async def test_a_charge_outlasts_an_outage(database: Database, held: Leases, monkeypatch: pytest.MonkeyPatch) -> None:
    """The picture is not held up; its charge follows once the database is back."""
    monkeypatch.setattr(leases, "WAIT_SECONDS", 0.1)
    anna = await limited(database)
    name = sql.Identifier(database.url.partition("?")[0].rpartition("/")[2])
    async with await psycopg.AsyncConnection.connect(server_url(), autocommit=True) as server:
        async with held.hold(anna, "s1") as lease:
            await server.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(name))
            await server.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
                (name.as_string().strip('"'),),
            )
            await lease.charge("text_to_image", "starter")
        assert len(held._settling) == 1
        await server.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(name))
        await asyncio.wait(held._settling, timeout=30)
    assert (await credits_of(database), await used(database), await count(database)) == (Decimal(8), [("s1", PRICE)], 0)
