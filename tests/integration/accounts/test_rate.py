"""The request rate against a model of it: the leaky bucket of ITU-T I.371, which is another form of the same."""

import asyncio
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.accounts import limits
from orchestrator.accounts.account import Account
from orchestrator.database.pool import Connection, Database
from orchestrator.errors import RateLimitedError
from tests.integration.accounts.account_rows import account

EARLIER = "UPDATE imagegen.accounts SET rate_tat = rate_tat - make_interval(secs => %s)"
"""Time goes by: within one transaction now() does not change, so that the arithmetic is seen exactly."""


@dataclass
class Bucket:
    """Continuous-state leaky bucket: each request pours in `t`, it leaks 1 a second, `limit` is its brim."""

    t: Fraction
    limit: Fraction
    level: Fraction = Fraction(0)

    def wait(self, seconds: Fraction) -> None:
        """Let it leak."""
        self.level = max(Fraction(0), self.level - seconds)

    def ask(self) -> Fraction:
        """Seconds until a request conforms; 0 if it does, and is taken."""
        if (early := max(Fraction(0), self.level - self.limit)) == 0:
            self.level += self.t
        return early


def microseconds(seconds: Fraction) -> Fraction:
    """As an interval holds it."""
    return Fraction(round(seconds * 1_000_000), 1_000_000)


async def ask(connection: Connection, who: Account) -> float:
    """Seconds until one may ask again; 0 if one may now."""
    try:
        await limits.enter(connection, who.id, Decimal(0))
    except RateLimitedError as error:
        return error.retry_after
    return 0.0


@given(
    rate=st.integers(1, 600),
    steps=st.lists(st.one_of(st.integers(1, 40), st.integers(0, 90_000_000)), min_size=1, max_size=12),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_it_is_the_leaky_bucket(url_of_one_account: str, rate: int, steps: list[int]) -> None:
    """Small numbers are requests in a row, large ones microseconds that go by."""

    async def compare() -> None:
        database = Database(url_of_one_account, 2)
        await database.open()
        try:
            async with database.transaction() as connection:
                await connection.execute(
                    "UPDATE imagegen.accounts SET requests_per_minute = %s, rate_tat = '-infinity'",
                    (rate,),
                )
                cursor = await connection.execute("SELECT id FROM imagegen.accounts WHERE name = 'rated'")
                (row,) = await cursor.fetchall()
                who = Account(id=row["id"], name="rated")
                t = microseconds(Fraction(60, rate))
                bucket = Bucket(t, t * (rate - 1))
                for step in steps:
                    if step > 40:
                        await connection.execute(EARLIER, (step / 1_000_000,))
                        bucket.wait(Fraction(step, 1_000_000))
                    for _ in range(step if step <= 40 else 1):
                        assert await ask(connection, who) == pytest.approx(float(bucket.ask()), abs=1e-6)
        finally:
            await database.close()

    asyncio.run(compare())


async def test_a_minutes_worth_may_come_at_once_and_no_more(database: Database) -> None:
    anna = await account(database, requests_per_minute=7)  # whose increment is not a whole number of microseconds
    async with database.transaction() as connection:
        assert [await ask(connection, anna) for _ in range(7)] == [0.0] * 7
        wait = await ask(connection, anna)
        assert wait == pytest.approx(60 / 7, abs=1e-5)
        await connection.execute(EARLIER, (wait - 0.001,))
        assert await ask(connection, anna) == pytest.approx(0.001, abs=1e-5)
        await connection.execute(EARLIER, (0.00101,))
        assert await ask(connection, anna) == 0.0


async def test_many_at_once_get_what_one_would(database: Database) -> None:
    anna = await account(database, requests_per_minute=20)

    async def once() -> bool:
        async with database.transaction() as connection:
            return await ask(connection, anna) == 0.0

    assert sum(await asyncio.gather(*(once() for _ in range(100)))) == 20
