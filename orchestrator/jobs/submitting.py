"""Jobs come in: one transaction that takes what the account pays, writes the job and puts it into the queue."""

from collections.abc import Awaitable, Callable
from decimal import Decimal

from orchestrator.accounts import limits
from orchestrator.database.pool import Connection, Database, Row
from orchestrator.errors import (
    InvalidRequestError,
    NotEnoughCreditsError,
    QueueFullError,
    RateLimitedError,
    TooManyJobsError,
    Violation,
)
from orchestrator.generation.job import new_job_id
from orchestrator.jobs.fairness import rank, start_tag, virtual_time
from orchestrator.jobs.queue_stats import QueueStatsCache
from orchestrator.jobs.records import JobRecord, Submission
from orchestrator.jobs.rows import COLUMNS, DELIVERY, to_record

Defer = Callable[[Connection, str, int], Awaitable[None]]
"""Puts a job into the queue by its id and rank, as a part of the connection's transaction."""

_FIND = f"""
SELECT j.request_digest, {COLUMNS} FROM imagegen.jobs j {DELIVERY}
WHERE j.account_id = %(account_id)s AND j.idempotency_key = %(idempotency_key)s
"""  # noqa: S608 - of constants

_LOOK = """
SELECT extract(epoch FROM clock_timestamp())::float8 AS now,
       (SELECT max(tag) FROM imagegen.jobs WHERE state = 'running') AS running,
       (SELECT tag FROM imagegen.jobs WHERE state = 'queued' ORDER BY rank DESC, created_at LIMIT 1) AS waiting,
       EXISTS (SELECT FROM imagegen.jobs WHERE state = 'queued' AND account_id = %(account_id)s) AS waits,
       EXISTS (
           SELECT FROM imagegen.jobs WHERE account_id = %(account_id)s AND idempotency_key = %(idempotency_key)s
       ) AS known
"""

# Nothing comes back where another transaction has written the same key meanwhile.
_INSERT = f"""
WITH j AS (
    INSERT INTO imagegen.jobs (
        id, account_id, request_id, idempotency_key, request_digest, request, task, family, seed, state, priority, rank,
        tag, cost, price, webhook_url, webhook_data
    ) VALUES (
        %(id)s, %(account_id)s, %(request_id)s, %(idempotency_key)s, %(digest)s, %(request)s, %(task)s, %(family)s,
        %(seed)s, 'queued', %(priority)s, %(rank)s, %(tag)s, %(cost)s, %(price)s, %(webhook_url)s, %(webhook_data)s
    )
    ON CONFLICT (account_id, idempotency_key) DO NOTHING
    RETURNING *
)
SELECT {COLUMNS} FROM j {DELIVERY}
"""  # noqa: S608 - of constants


class _KnownError(Exception):
    """The key names a job already: the transaction is rolled back."""


class Submitting:
    """Writes jobs, each key once."""

    def __init__(self, database: Database, defer: Defer, load: QueueStatsCache, price: Decimal) -> None:
        self._database, self._defer, self._load, self._price = database, defer, load, price

    async def submit(self, submission: Submission) -> JobRecord:
        """Take a job. It is in the database when this returns; the same key again answers the same job.

        Raises:
            InvalidRequestError: the key names another request.
            QueueFullError, TooManyJobsError, RateLimitedError, NotEnoughCreditsError: a limit forbids it.
            DatabaseUnavailableError: the database does not answer; whether the job was taken is then unknown.
        """
        try:
            return await self._enter(submission)
        except _KnownError:
            known = await self.find(submission.account_id, submission.idempotency_key, submission.digest)
            if known is not None:
                return known
            return await self._enter(submission)  # it was forgotten in that moment
        except (QueueFullError, TooManyJobsError, RateLimitedError, NotEnoughCreditsError):
            known = await self.find(submission.account_id, submission.idempotency_key, submission.digest)
            if known is None:
                raise
            return known

    async def find(self, account_id: int, idempotency_key: str | None, digest: bytes) -> JobRecord | None:
        """The job of a key; None if there is none, or no key.

        Raises:
            InvalidRequestError: the key names a request of another digest.
            DatabaseUnavailableError: the database does not answer.
        """
        if idempotency_key is None:
            return None
        rows = await self._database.run(_FIND, {"account_id": account_id, "idempotency_key": idempotency_key})
        if not rows:
            return None
        if bytes(rows[0]["request_digest"]) != digest:
            raise InvalidRequestError(Violation("request_id", "names another request already"))
        return to_record(rows[0])

    async def _enter(self, submission: Submission) -> JobRecord:
        look = await self._load.enter()
        queued = False
        try:
            row = await self._write(submission, look.estimate(submission.cost))
            queued = True
        finally:
            self._load.leave(queued=queued)
        return to_record(row)

    async def _write(self, submission: Submission, seconds: float) -> Row:
        """Three round trips: look and take what is paid; write and defer; commit."""
        key = {"account_id": submission.account_id, "idempotency_key": submission.idempotency_key}
        async with self._database.pipelined() as connection:
            looked = await connection.execute(_LOOK, key)
            entered = await limits.enter(connection, submission.account_id, self._price)
            (look,) = await looked.fetchall()
            if look["known"]:
                raise _KnownError
            virtual = virtual_time(look["now"], look["running"], look["waiting"])
            tag = start_tag(virtual, entered.fair_tag, seconds, waits=look["waits"])
            job_id, place = new_job_id(), rank(tag, submission.priority)
            values = _values(submission) | {"id": job_id, "rank": place, "tag": tag, "price": entered.taken}
            inserted = await connection.execute(_INSERT, values)
            await limits.set_fair_tag(connection, submission.account_id, tag + seconds)
            await self._defer(connection, job_id, place)
            rows = await inserted.fetchall()
            if not rows:
                raise _KnownError
        return rows[0]


def _values(submission: Submission) -> dict[str, object]:
    return {
        "account_id": submission.account_id,
        "request_id": submission.request_id,
        "idempotency_key": submission.idempotency_key,
        "digest": submission.digest,
        "request": submission.request,
        "task": submission.task,
        "family": submission.family,
        "seed": submission.seed,
        "priority": submission.priority.value,
        "cost": submission.cost,
        "webhook_url": submission.webhook_url,
        "webhook_data": submission.webhook_data,
    }
