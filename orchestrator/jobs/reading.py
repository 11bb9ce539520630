"""Jobs as clients and watchers see them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from orchestrator.database.pool import Database, Row
from orchestrator.errors import NotFoundError
from orchestrator.generation.events import Event, Queued
from orchestrator.generation.job import JobState
from orchestrator.jobs.queue_stats import QueueStatsCache
from orchestrator.jobs.records import EVENTS_PER_FENCE, EventBatch, JobRecord
from orchestrator.jobs.rows import COLUMNS, DELIVERY, to_record
from orchestrator.jobs.serialization import StoredEvent, load_event

MAX_POSITION = 10_000
"""Places are counted up to here: what waits behind is told this one."""

_GET = f"SELECT {COLUMNS} FROM imagegen.jobs j {DELIVERY} WHERE j.id = %(job_id)s AND j.account_id = %(account_id)s"  # noqa: S608 - of constants

_LIST = f"""
SELECT {COLUMNS} FROM imagegen.jobs j {DELIVERY}
WHERE j.account_id = %(account_id)s
  AND (%(state)s::text IS NULL OR j.state = %(state)s)
  AND (%(created)s::timestamptz IS NULL OR (j.created_at, j.id) < (%(created)s, %(id)s))
ORDER BY j.created_at DESC, j.id DESC LIMIT %(page_size)s
"""  # noqa: S608 - of constants

_POSITIONS = """
WITH line AS (
    SELECT id, row_number() OVER (ORDER BY rank DESC, created_at) - 1 AS position
    FROM imagegen.jobs WHERE state = 'queued' ORDER BY rank DESC, created_at LIMIT %(most)s
)
SELECT j.id, coalesce(line.position, %(most)s) AS position
FROM imagegen.jobs j LEFT JOIN line ON line.id = j.id
WHERE j.id = ANY(%(job_ids)s) AND j.state = 'queued'
"""

# What is left of an earlier attempt is not shown: its numbers are another fence's.
_EVENTS = f"""
SELECT {COLUMNS}, e.kind, e.sequence AS number, e.payload::text AS payload, e.data
FROM unnest(%(job_ids)s::text[], %(after)s::bigint[]) AS asked (id, after)
JOIN imagegen.jobs j ON j.id = asked.id {DELIVERY}
LEFT JOIN imagegen.events e
    ON e.job_id = j.id AND e.sequence > asked.after AND e.sequence / {EVENTS_PER_FENCE} = j.fence
ORDER BY j.id, e.sequence
"""  # noqa: S608 - of constants


class Reading:
    """Looks at jobs. All methods raise DatabaseUnavailableError while the database does not answer."""

    def __init__(self, database: Database, load: QueueStatsCache) -> None:
        self._database, self._load = database, load

    async def get(self, job_id: str, account_id: int) -> JobRecord:
        """A job of an account.

        Raises:
            NotFoundError: there is none, it is another's, or it was forgotten.
        """
        rows = await self._database.run(_GET, {"job_id": job_id, "account_id": account_id})
        if not rows:
            raise NotFoundError("no such job")
        return await self.place(to_record(rows[0]))

    async def list_jobs(
        self,
        account_id: int,
        page_size: int,
        after: tuple[datetime, str] | None = None,
        state: JobState | None = None,
    ) -> list[JobRecord]:
        """At most `page_size` jobs of an account, newest first, those made before `after`: a job's (created, id)."""
        created, job_id = after or (None, None)
        keys = {"account_id": account_id, "page_size": page_size, "created": created, "id": job_id}
        rows = await self._database.run(_LIST, keys | {"state": state and state.value})
        records = [to_record(row) for row in rows]
        places = await self.positions(record.id for record in records if record.state is JobState.QUEUED)
        return [replace(record, queued=places.get(record.id)) for record in records]

    async def place(self, record: JobRecord) -> JobRecord:
        """The record with its place in the queue, if it waits."""
        if record.state is not JobState.QUEUED:
            return record
        return replace(record, queued=(await self.positions([record.id])).get(record.id))

    async def positions(self, job_ids: Iterable[str]) -> dict[str, Queued]:
        """Places of those jobs that wait, counted up to MAX_POSITION, with estimated waits."""
        asked = list(job_ids)
        if not asked:
            return {}
        look = await self._load.look()
        rows = await self._database.run(_POSITIONS, {"job_ids": asked, "most": MAX_POSITION})
        return {row["id"]: Queued(row["position"], look.wait(row["position"])) for row in rows}

    async def events(self, after: Mapping[str, int]) -> dict[str, EventBatch]:
        """What has happened to jobs after those numbers, by job id; a job that is not there is left out."""
        rows = await self._database.run(_EVENTS, {"job_ids": list(after), "after": list(after.values())})
        by_job: dict[str, list[Row]] = {}
        for row in rows:
            by_job.setdefault(row["id"], []).append(row)
        return {job_id: _to_seen(group) for job_id, group in by_job.items()}


def _to_seen(rows: Sequence[Row]) -> EventBatch:
    """What the rows of a job say: as many as it has events, at least one."""
    events: list[tuple[int, Event]] = []
    for row in rows:
        if row["kind"] is not None:
            event = load_event(StoredEvent(row["kind"], row["payload"], row["data"]))
            events += [(row["number"], event)] if event is not None else []
    state, is_ended = JobState(rows[0]["state"]), rows[0]["ended_at"] is not None
    return EventBatch(
        state=state, fence=rows[0]["fence"], events=tuple(events), end=to_record(rows[0]) if is_ended else None
    )
