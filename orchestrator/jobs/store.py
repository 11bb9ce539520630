"""The store of durable jobs, as clients need it: jobs come in, are read, cancelled and deleted."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal

from orchestrator.accounts import limits
from orchestrator.database.pool import Connection, Database, Row
from orchestrator.errors import (
    CancelledByClientError,
    DeadlineUnreachableError,
    InvalidRequestError,
    NotEnoughCreditsError,
    NotFoundError,
    QueueFullError,
    RateLimitedError,
    TooManyJobsError,
    Violation,
)
from orchestrator.generation.events import Event, Queued
from orchestrator.generation.forecast import check_deadline
from orchestrator.generation.job import JobState
from orchestrator.jobs.ending import OF_ACCOUNT, end_without_picture
from orchestrator.jobs.records import EventBatch, JobRecord, NewJob
from orchestrator.jobs.rows import COLUMNS, DELIVERY, WORK_SECONDS, to_record
from orchestrator.jobs.scheduling import QueueStats, QueueStatsCache, rank
from orchestrator.jobs.serialization import StoredEvent, load_event
from orchestrator.scheduling.order import start_tag, virtual_time

MAX_POSITION = 10_000
"""Places are counted up to here: what waits behind gets this one."""

_FIND = f"""
SELECT j.request_digest, {COLUMNS} FROM imagegen.jobs j {DELIVERY}
WHERE j.account_id = %(account_id)s AND j.idempotency_key = %(idempotency_key)s
"""  # noqa: S608 - of constants

_BEFORE_INSERT = """
SELECT extract(epoch FROM clock_timestamp())::float8 AS now,
       (SELECT max(tag) FROM imagegen.jobs WHERE state = 'running') AS running,
       (SELECT tag FROM imagegen.jobs WHERE state = 'queued' ORDER BY rank DESC, created_at LIMIT 1) AS waiting,
       EXISTS (SELECT FROM imagegen.jobs WHERE state = 'queued' AND account_id = %(account_id)s) AS waits,
       EXISTS (
           SELECT FROM imagegen.jobs WHERE account_id = %(account_id)s AND idempotency_key = %(idempotency_key)s
       ) AS known,
       CASE WHEN %(held_bytes)s > 0 THEN (
           SELECT coalesce(sum(held_bytes), 0) FROM imagegen.jobs
           WHERE account_id = %(account_id)s AND state IN ('queued', 'running') AND held_bytes > 0
       ) ELSE 0 END::bigint AS held_bytes
"""

_OF_ACCOUNT = "(SELECT a.{column} FROM imagegen.accounts a WHERE a.id = %(account_id)s)"
# Nothing comes back where another transaction has written the same key meanwhile.
_INSERT = f"""
WITH j AS (
    INSERT INTO imagegen.jobs (
        id, account_id, request_id, idempotency_key, request_digest, manifest, request, request_object, held_bytes,
        task, family, seed, state, priority, rank, tag, cost, price, webhook_url, webhook_data, webhook_events, trace,
        work_seconds, client_notes
    ) VALUES (
        %(id)s, %(account_id)s, %(request_id)s, %(idempotency_key)s, %(digest)s, %(manifest)s, %(request)s,
        %(request_object)s, %(held_bytes)s,
        %(task)s, %(family)s, %(seed)s, 'queued', %(priority)s, %(rank)s, %(tag)s, %(cost)s, %(price)s,
        coalesce(%(webhook_url)s::text, {_OF_ACCOUNT.format(column="webhook_url")}),
        CASE WHEN coalesce(%(webhook_url)s::text, {_OF_ACCOUNT.format(column="webhook_url")}) IS NOT NULL
        THEN %(webhook_data)s::text END,
        CASE WHEN %(webhook_url)s::text IS NULL THEN {_OF_ACCOUNT.format(column="webhook_events")}
        ELSE %(webhook_events)s::text[] END, %(trace)s, %(work_seconds)s, %(client_notes)s
    )
    ON CONFLICT (account_id, idempotency_key) DO NOTHING
    RETURNING *
)
SELECT {COLUMNS}, pg_notify('imagegen_queue', '') FROM j {DELIVERY}
"""  # noqa: S608 - of constants

_GET = f"SELECT {COLUMNS} FROM imagegen.jobs j {DELIVERY} WHERE j.id = %(job_id)s AND j.account_id = %(account_id)s"  # noqa: S608 - of constants

_LIST = f"""
SELECT {COLUMNS} FROM imagegen.jobs j {DELIVERY}
WHERE j.account_id = %(account_id)s
  AND (%(state)s::text IS NULL OR j.state = %(state)s)
  AND (%(created)s::timestamptz IS NULL OR (j.created_at, j.id) < (%(created)s, %(id)s))
ORDER BY j.created_at DESC, j.id DESC LIMIT %(page_size)s
"""  # noqa: S608 - of constants

_POSITIONS = f"""
WITH line AS (
    SELECT id, row_number() OVER before - 1 AS position,
           sum({WORK_SECONDS}) OVER before - {WORK_SECONDS} AS ahead
    FROM imagegen.jobs WHERE state = 'queued'
    WINDOW before AS (ORDER BY rank DESC, created_at ROWS UNBOUNDED PRECEDING)
    ORDER BY rank DESC, created_at LIMIT %(most)s
)
SELECT j.id, coalesce(line.position, %(most)s) AS position,
       coalesce(line.ahead, (SELECT max(ahead) FROM line), 0)::float8 AS ahead
FROM imagegen.jobs j LEFT JOIN line ON line.id = j.id
WHERE j.id = ANY(%(job_ids)s) AND j.state = 'queued'
"""  # noqa: S608 - of constants

_AHEAD = f"""
SELECT coalesce(sum({WORK_SECONDS}), 0)::float8 AS ahead
FROM imagegen.jobs WHERE state = 'queued' AND rank >= %(rank)s
"""  # noqa: S608 - of constants

# What is left of an earlier attempt is not shown.
_EVENTS = f"""
SELECT {COLUMNS}, e.kind, e.sequence AS number, e.payload::text AS payload, e.data
FROM unnest(%(job_ids)s::text[], %(after)s::bigint[]) AS asked (id, after)
JOIN imagegen.jobs j ON j.id = asked.id {DELIVERY}
LEFT JOIN imagegen.events e ON e.job_id = j.id AND e.sequence > asked.after AND e.sequence > j.first_event
ORDER BY j.id, e.sequence
"""  # noqa: S608 - of constants

# The picture's time is over at once: whoever sweeps the results finishes what a crash leaves.
_DELETE = f"""
WITH j AS (
    UPDATE imagegen.jobs SET state = 'deleted', artifact = NULL
    WHERE id = %(job_id)s AND account_id = %(account_id)s AND state IN ('succeeded', 'failed', 'cancelled')
    RETURNING *
), expired AS (
    UPDATE imagegen.results SET expires_at = now() FROM j WHERE name = j.picture
)
SELECT {COLUMNS} FROM j {DELIVERY}
"""  # noqa: S608 - of constants


class _KnownError(Exception):
    """The key names a job already: the transaction is rolled back."""


class JobStore:
    """Durable jobs. Every method raises DatabaseUnavailableError while the database does not answer."""

    def __init__(self, database: Database, stats: QueueStatsCache, *, price: Decimal, max_account_bytes: int) -> None:
        """Nothing is read yet.

        Args:
            database: where the jobs are.
            stats: of the queue.
            price: credits that a picture costs an account whose credits are counted.
            max_account_bytes: of pictures that come with the requests of an account's jobs that wait or run.
        """
        self._database, self._stats, self._price = database, stats, price
        self._max_account_bytes = max_account_bytes

    async def submit(self, job: NewJob) -> JobRecord:
        """As submit_all, of one job."""
        (record,) = await self.submit_all([job])
        return record

    async def submit_all(self, jobs: Sequence[NewJob]) -> list[JobRecord]:
        """Take the jobs of one request, all or none. They are in the database when this returns.

        The same keys again answer the same jobs.

        Raises:
            InvalidRequestError: a key names another request.
            QueueFullError, TooManyJobsError, RateLimitedError, NotEnoughCreditsError: a limit forbids it.
            DatabaseUnavailableError: the database does not answer; whether the jobs were taken is then unknown.
        """
        try:
            return await self._enter(jobs)
        except _KnownError:
            known = await self.find_all(jobs)
            return known or await self._enter(jobs)  # they were forgotten in that moment
        except (QueueFullError, DeadlineUnreachableError, TooManyJobsError, RateLimitedError, NotEnoughCreditsError):
            known = await self.find_all(jobs)
            if known is None:
                raise
            return known

    async def find_all(self, jobs: Sequence[NewJob]) -> list[JobRecord] | None:
        """The jobs that the keys name already; None if the first key names none. Raises as find."""
        found = [await self.find(job.account_id, job.idempotency_key, job.request.digest) for job in jobs]
        return None if found[0] is None else [record for record in found if record is not None]

    async def find(self, account_id: int, idempotency_key: str | None, digest: bytes) -> JobRecord | None:
        """The job of a key; None if there is none, or no key.

        Raises:
            InvalidRequestError: the key names a request of another digest.
        """
        if idempotency_key is None:
            return None
        rows = await self._database.run(_FIND, {"account_id": account_id, "idempotency_key": idempotency_key})
        if not rows:
            return None
        if bytes(rows[0]["request_digest"]) != digest:
            raise InvalidRequestError(Violation("request_id", "was already used for another request"))
        return await self._place(to_record(rows[0]))

    async def statistics(self) -> tuple[QueueStats, Decimal]:
        """How busy the queue is, and what a picture costs, in credits."""
        return await self._stats.read(), self._price

    async def get(self, job_id: str, account_id: int) -> JobRecord:
        """A job of an account.

        Raises:
            NotFoundError: there is none, it is another's, or it was forgotten.
        """
        rows = await self._database.run(_GET, {"job_id": job_id, "account_id": account_id})
        if not rows:
            raise NotFoundError("no such job")
        return await self._place(to_record(rows[0]))

    async def list_jobs(
        self,
        account_id: int,
        page_size: int,
        after: tuple[datetime, str] | None = None,
        state: JobState | None = None,
    ) -> list[JobRecord]:
        """At most `page_size` jobs of an account, newest first, those created before `after`: a job's (created, id)."""
        created, job_id = after or (None, None)
        keys = {"account_id": account_id, "page_size": page_size, "created": created, "id": job_id}
        rows = await self._database.run(_LIST, keys | {"state": state and state.value})
        records = [to_record(row) for row in rows]
        places = await self.positions(record.id for record in records if record.state is JobState.QUEUED)
        return [replace(record, queued=places.get(record.id)) for record in records]

    async def positions(self, job_ids: Iterable[str]) -> dict[str, Queued]:
        """Places of those jobs that wait, counted up to MAX_POSITION, with estimated waits."""
        asked = list(job_ids)
        if not asked:
            return {}
        stats = await self._stats.read()
        keys = {"job_ids": asked, "most": MAX_POSITION}
        rows = await self._database.run(_POSITIONS, keys)
        return {row["id"]: Queued(row["position"], stats.forecast.wait(row["ahead"])) for row in rows}

    async def events(self, after: Mapping[str, int]) -> dict[str, EventBatch]:
        """What has happened to jobs after those numbers, by job id; a job that is not there is left out."""
        rows = await self._database.run(_EVENTS, {"job_ids": list(after), "after": list(after.values())})
        by_job: dict[str, list[Row]] = {}
        for row in rows:
            by_job.setdefault(row["id"], []).append(row)
        return {job_id: _to_batch(group) for job_id, group in by_job.items()}

    async def cancel(self, job_id: str, account_id: int) -> JobRecord:
        """Stop a job that waits or runs; one that has ended stays as it is. Answers it as it is then.

        Raises:
            NotFoundError: there is no such job.
        """
        error = CancelledByClientError("the job was cancelled")
        stopped = await self._stop(job_id, account_id, JobState.CANCELLED, error)
        return stopped or await self.get(job_id, account_id)

    async def delete(self, job_id: str, account_id: int) -> JobRecord:
        """Stop a job if it waits or runs, and mark it as deleted. `picture` of the answer is to be removed, if set.

        Raises:
            NotFoundError: there is no such job.
        """
        error = CancelledByClientError("the job was deleted")
        stopped = await self._stop(job_id, account_id, JobState.DELETED, error)
        if stopped is not None:
            return stopped
        rows = await self._database.run(_DELETE, {"job_id": job_id, "account_id": account_id})
        return to_record(rows[0]) if rows else await self.get(job_id, account_id)

    async def _stop(
        self, job_id: str, account_id: int, state: JobState, error: CancelledByClientError
    ) -> JobRecord | None:
        keys = {"job_id": job_id, "account_id": account_id}
        return await end_without_picture(self._database, OF_ACCOUNT, keys, state, error)

    async def _place(self, record: JobRecord) -> JobRecord:
        """The record with its place in the queue, if it waits."""
        if record.state is not JobState.QUEUED:
            return record
        return replace(record, queued=(await self.positions([record.id])).get(record.id))

    async def _enter(self, jobs: Sequence[NewJob]) -> list[JobRecord]:
        entered: list[NewJob] = []
        queued = False
        try:
            for job in jobs:
                stats = await self._stats.enter(job.held_bytes)
                entered.append(job)
            rows = await self._write(jobs, [stats.forecast.run(job.work_seconds) for job in jobs])
            queued = True
        finally:
            for job in entered:
                self._stats.leave(job.held_bytes, queued=queued)
        return [await self._place(to_record(row)) for row in rows]

    async def _write(self, jobs: Sequence[NewJob], seconds: Sequence[float]) -> list[Row]:
        """One transaction; for each job two round trips: look and take what is paid; write."""
        async with self._database.pipelined() as connection:
            return [await self._write_one(connection, job, each) for job, each in zip(jobs, seconds, strict=True)]

    async def _write_one(self, connection: Connection, job: NewJob, seconds: float) -> Row:
        columns = job.columns()
        found = await connection.execute(_BEFORE_INSERT, columns)
        entered = await limits.enter(connection, job.account_id, self._price)
        (before,) = await found.fetchall()
        if before["known"]:
            raise _KnownError
        self._check_bytes(before["held_bytes"], job.held_bytes)
        virtual = virtual_time(before["now"], before["running"], before["waiting"])
        tag = start_tag(virtual, entered.fair_tag, seconds, waits=before["waits"])
        place = rank(tag, job.request.options.priority)
        await self._check_deadline(connection, job, place)
        order = {"rank": place, "tag": tag, "price": entered.taken}
        found = await connection.execute(_INSERT, columns | order)
        await limits.set_fair_tag(connection, job.account_id, tag + seconds)
        rows = await found.fetchall()
        if not rows:
            raise _KnownError
        return rows[0]

    async def _check_deadline(self, connection: Connection, job: NewJob, place: int) -> None:
        """Raise DeadlineUnreachableError if a job that gets that rank is expected to end too late, with a margin."""
        deadline = job.request.options.deadline_seconds
        if deadline is None:
            return
        expected = (await self._stats.read()).forecast
        found = await connection.execute(_AHEAD, {"rank": place})
        (row,) = await found.fetchall()
        wait = expected.wait(row["ahead"]) if row["ahead"] else 0.0
        check_deadline(deadline, wait, expected.run(job.work_seconds))

    async def check_bytes(self, job: NewJob) -> None:
        """Look whether there is room for the pictures of a job, before they are written anywhere.

        Raises:
            QueueFullError: the account's jobs, or all, hold too many bytes already.
        """
        await self._stats.check(job.held_bytes)
        keys = {"account_id": job.account_id, "idempotency_key": None, "held_bytes": job.held_bytes}
        (row,) = await self._database.run(_BEFORE_INSERT, keys)
        self._check_bytes(row["held_bytes"], job.held_bytes)

    def _check_bytes(self, held: int, more: int) -> None:
        """Raise QueueFullError if an account's jobs hold too many bytes. Alone, a picture of any size may come."""
        if held and more and held + more > self._max_account_bytes:
            raise QueueFullError(
                f"inline images of the account's pending jobs hold {held} bytes, and its limit is"
                f" {self._max_account_bytes}: retry when some have ended, or send images by URL",
                retry_after=5.0,
            )


def _to_batch(rows: Sequence[Row]) -> EventBatch:
    """What the rows of a job say: as many as it has events, at least one."""
    events: list[tuple[int, Event]] = []
    for row in rows:
        if row["kind"] is not None:
            event = load_event(StoredEvent(row["kind"], row["payload"], row["data"]))
            events += [(row["number"], event)] if event is not None else []
    state, is_ended = JobState(rows[0]["state"]), rows[0]["ended_at"] is not None
    end = to_record(rows[0]) if is_ended else None
    return EventBatch(state=state, first_event=rows[0]["first_event"], events=tuple(events), end=end)
