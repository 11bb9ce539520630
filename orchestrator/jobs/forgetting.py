"""What time does to jobs: pictures expire, ended jobs are forgotten, what fell out of the queue is put back."""

from orchestrator.database.pool import Database
from orchestrator.jobs.records import SweepResult
from orchestrator.jobs.submitting import Defer

BATCH = 500
"""Rows that one statement changes, so that none holds locks for long."""

EVENT_SECONDS = 120
"""How long the events of an ended job are kept, for watchers that come late."""

LOST_SECONDS = 30
"""A job that is younger is not looked for in the queue."""

_EXPIRE = """
UPDATE imagegen.jobs SET state = 'deleted', artifact = NULL WHERE id IN (
    SELECT id FROM imagegen.jobs WHERE state = 'succeeded' AND expires_at <= now()
    ORDER BY expires_at LIMIT %(batch)s FOR UPDATE SKIP LOCKED
) RETURNING id
"""

# A webhook that is still to be sent holds its job.
_FORGET = """
DELETE FROM imagegen.jobs WHERE id IN (
    SELECT id FROM imagegen.jobs j WHERE ended_at <= now() - make_interval(secs => %(seconds)s)
    AND NOT EXISTS (SELECT FROM imagegen.deliveries d WHERE d.job_id = j.id AND d.state = 'pending')
    ORDER BY ended_at LIMIT %(batch)s FOR UPDATE SKIP LOCKED
) RETURNING id
"""

_DROP_EVENTS = """
DELETE FROM imagegen.events WHERE (job_id, kind) IN (
    SELECT e.job_id, e.kind FROM imagegen.events e JOIN imagegen.jobs j ON j.id = e.job_id
    WHERE j.ended_at <= now() - make_interval(secs => %(seconds)s) LIMIT %(batch)s FOR UPDATE OF e SKIP LOCKED
) RETURNING job_id AS id
"""

# Locked, so that two servers do not put a job back twice: the second finds it in the queue.
_LOST = """
SELECT id, rank FROM imagegen.jobs j
WHERE state IN ('queued', 'running') AND created_at <= now() - make_interval(secs => %(seconds)s)
  AND NOT EXISTS (
      SELECT FROM procrastinate_jobs q WHERE q.queueing_lock = j.id AND q.status IN ('todo', 'doing')
  )
LIMIT %(batch)s FOR UPDATE SKIP LOCKED
"""


class Forgetting:
    """Sweeps; any number of servers may do so at a time. Raises DatabaseUnavailableError as all do."""

    def __init__(self, database: Database, defer: Defer) -> None:
        self._database, self._defer = database, defer

    async def sweep(self, job_seconds: float) -> SweepResult:
        """Mark jobs whose picture's time is over as deleted; forget those that ended so long ago; drop their events."""
        return SweepResult(
            expired=await self._all(_EXPIRE, {}),
            forgotten=await self._all(_FORGET, {"seconds": job_seconds}),
            events=await self._all(_DROP_EVENTS, {"seconds": EVENT_SECONDS}),
        )

    async def requeue_lost(self, lost_seconds: float = LOST_SECONDS) -> list[str]:
        """Put jobs back that have not ended and are not in the queue, which only a hand can have emptied; their ids."""
        async with self._database.transaction() as connection:
            rows = await (await connection.execute(_LOST, {"seconds": lost_seconds, "batch": BATCH})).fetchall()
            for row in rows:
                await self._defer(connection, row["id"], row["rank"])
        return [row["id"] for row in rows]

    async def _all(self, statement: str, keys: dict[str, float]) -> int:
        """Run a statement until it finds less than a batch; rows that it changed."""
        total, found = 0, BATCH
        while found == BATCH:
            found = len(await self._database.run(statement, keys | {"batch": BATCH}))
            total += found
        return total
