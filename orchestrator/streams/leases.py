"""Generate streams of accounts: what they reserve while they run, and what they cost in the end.

A stream of a limited account holds a lease: a row that counts as one of its active jobs. The process that runs the
stream renews its leases; one whose process has died runs out, and any process gives its credits back. Streams of
accounts without limits touch the database only when their picture is noted.
"""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal

import stamina
import structlog

from orchestrator.accounts import limits
from orchestrator.accounts.account import Account
from orchestrator.cancellation import cancel_and_wait
from orchestrator.database.pool import Database
from orchestrator.errors import DatabaseUnavailableError

LEASE_SECONDS = 30.0
"""For which a lease lives unless it is renewed."""
RENEW_SECONDS = 8.0
"""Between two renewals: three fit into a lease's life."""
WAIT_SECONDS = 5.0
"""For which the end of a stream waits for the database; the rest of it goes on behind."""
CLOSE_SECONDS = 5.0
"""For what is still to be written when the process ends."""

_LEASE = """
INSERT INTO imagegen.leases (id, account_id, price, expires_at)
VALUES (%(id)s, %(account_id)s, %(price)s, now() + make_interval(secs => %(seconds)s))
"""

_RENEW = """
UPDATE imagegen.leases SET expires_at = now() + make_interval(secs => %(seconds)s) WHERE id = ANY(%(ids)s)
"""

_GIVE_BACK = """
WITH gone AS (DELETE FROM imagegen.leases WHERE id = %(id)s RETURNING account_id, price)
UPDATE imagegen.accounts a SET credits = a.credits + gone.price FROM gone
WHERE a.id = gone.account_id AND a.credits IS NOT NULL AND gone.price > 0
"""

# One at a time: two sweepers that change several accounts in different orders would wait for each other.
_SWEEP = """
WITH gone AS (
    DELETE FROM imagegen.leases WHERE id = (
        SELECT id FROM imagegen.leases WHERE expires_at < now() LIMIT 1 FOR UPDATE SKIP LOCKED
    ) RETURNING account_id, price
), refunded AS (
    UPDATE imagegen.accounts a SET credits = a.credits + gone.price FROM gone
    WHERE a.id = gone.account_id AND a.credits IS NOT NULL
)
SELECT account_id FROM gone
"""

# `late`: the lease ran out while the database could not be reached, and its credits were given back. They are taken
# again if the account still has them. May be repeated: what is noted is noted once.
_CHARGE = """
WITH held AS (
    DELETE FROM imagegen.leases WHERE id = %(id)s RETURNING price
), late AS (
    UPDATE imagegen.accounts SET credits = credits - %(price)s
    WHERE id = %(account_id)s AND credits >= %(price)s AND %(price)s > 0
      AND NOT EXISTS (SELECT FROM held) AND NOT EXISTS (SELECT FROM imagegen.usage WHERE job_id = %(id)s)
    RETURNING %(price)s::numeric(16, 3) AS price
)
INSERT INTO imagegen.usage (job_id, account_id, task, family, price)
SELECT %(id)s, %(account_id)s, %(task)s, %(family)s,
       coalesce((SELECT price FROM held), (SELECT price FROM late), 0)
ON CONFLICT (job_id) DO NOTHING
"""

log = structlog.get_logger()


class Lease:
    """What one stream has reserved."""

    def __init__(self, leases: "Leases", account: Account, job_id: str, price: Decimal) -> None:
        """Created by Leases.hold, which has taken `price`; 0 where credits are not counted."""
        self._leases, self.account, self.job_id, self.price = leases, account, job_id, price
        self.is_charged = False

    async def charge(self, task: str, family: str) -> None:
        """Note the picture that was generated: what was reserved for it is spent.

        Waits WAIT_SECONDS at most. An unreachable database is updated later: the picture is ready, and is not delayed.
        """
        self.is_charged = True
        await self._leases.settle(
            _CHARGE,
            {
                "id": self.job_id,
                "account_id": self.account.id,
                "task": task,
                "family": family,
                "price": self.price,
            },
        )


class Leases:
    """The leases of this process. `start`, then `close` once."""

    def __init__(self, database: Database, price: Decimal) -> None:
        """Nothing is read yet.

        Args:
            database: of the accounts.
            price: credits that a picture costs an account whose credits are counted.
        """
        self._database, self._price = database, price
        self._held: set[str] = set()
        self._settling: set[asyncio.Task[None]] = set()
        self._caring: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to renew leases, and to sweep those of dead processes."""
        self._caring = asyncio.create_task(self._renew_loop(), name="renew leases")

    async def close(self) -> None:
        """Stop. What is still to be written has CLOSE_SECONDS; leases that remain then expire, and are given back."""
        if self._settling:
            await asyncio.wait(self._settling, timeout=CLOSE_SECONDS)
        if self._settling:
            log.error("usage_lost", streams=len(self._settling))
        await cancel_and_wait(self._caring, *self._settling)

    @asynccontextmanager
    async def hold(self, account: Account, job_id: str) -> AsyncIterator[Lease]:
        """Reserve a picture for as long as the block runs; left without Lease.charge, it costs nothing.

        Args:
            account: of the stream.
            job_id: names the stream; of no other stream or job.

        Raises:
            NotEnoughCreditsError, TooManyJobsError, RateLimitedError, ApiKeyUnknownError: as limits.enter.
            DatabaseUnavailableError: the account is limited, and the database does not answer.
        """
        price = await self._enter(account, job_id) if account.is_limited else Decimal(0)
        lease = Lease(self, account, job_id, price)
        try:
            yield lease
        finally:
            if account.is_limited and not lease.is_charged:
                await self.settle(_GIVE_BACK, {"id": job_id})

    async def settle(self, sql: str, values: dict[str, object]) -> None:
        """Run the statement that ends a lease, again and again until the database has taken it."""
        task = asyncio.create_task(self._settle(sql, values), name="settle a stream")
        self._settling.add(task)
        task.add_done_callback(self._settling.discard)
        await asyncio.wait({task}, timeout=WAIT_SECONDS)  # does not cancel it, nor does who is cancelled here

    async def sweep(self) -> int:
        """Give back what dead processes have reserved; how many leases."""
        swept = 0
        while await self._database.run(_SWEEP):
            swept += 1
        return swept

    async def renew(self) -> None:
        """Say that the streams of this process live."""
        if self._held:
            await self._database.run(_RENEW, {"ids": list(self._held), "seconds": LEASE_SECONDS})

    async def _enter(self, account: Account, job_id: str) -> Decimal:
        values: dict[str, object] = {"id": job_id, "account_id": account.id, "seconds": LEASE_SECONDS}
        self._held.add(job_id)
        try:
            async with self._database.transaction() as connection:
                entered = await limits.enter(connection, account.id, self._price)
                await connection.execute(_LEASE, values | {"price": entered.taken})
        except BaseException:  # not taken, or nobody knows: then it runs out
            self._held.discard(job_id)
            raise
        return entered.taken

    async def _settle(self, sql: str, values: dict[str, object]) -> None:
        retrying = stamina.retry_context(
            on=DatabaseUnavailableError, attempts=None, timeout=None, wait_initial=0.5, wait_max=5.0
        )
        try:
            async for attempt in retrying:
                with attempt:
                    await self._database.run(sql, values)
        except Exception:
            log.exception("settling_failed", job_id=values["id"])
        finally:
            self._held.discard(str(values["id"]))

    async def _renew_loop(self) -> None:
        while True:
            await asyncio.sleep(RENEW_SECONDS * random.uniform(0.8, 1.2))  # noqa: S311 - jitter
            try:
                await self.renew()
                if swept := await self.sweep():
                    log.warning("leases_swept", count=swept)
            except DatabaseUnavailableError:
                pass  # it is logged where it was noticed, and tried again soon
            except Exception:  # whatever it was: streams that are not renewed are given back while they run
                log.exception("renewing_leases_failed")
