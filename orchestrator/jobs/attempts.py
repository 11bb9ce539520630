"""Attempts at jobs. A job's row says who owns its attempt: a process, by a lease and a fence.

The fence rises with every change of owner, and every statement here names the fence that it is for. So whoever lost a
job, because its lease lapsed or the job was cancelled, changes nothing any more, and gets an error that says so (ADR
0021).
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from orchestrator.database.pool import Database
from orchestrator.errors import CancelledByClientError, FilteredError, ImagegenError, PoisonJobError
from orchestrator.generation.events import Artifact, Event
from orchestrator.generation.job import JobState
from orchestrator.jobs.ending import FINISH, OF_ATTEMPT, OF_POISON, end_without_picture
from orchestrator.jobs.records import Attempt, JobRecord
from orchestrator.jobs.rows import (
    NEXT_EVENT,
    SAVE,
    WORK_SECONDS,
    save_parameters,
    to_attempt,
)
from orchestrator.jobs.serialization import dump_artifact

LEASE_SECONDS = 7.0
"""For which an attempt is its owner's after a renewal."""

# The first job in line that may start now. One that must run alone is the whole answer: a process that has other jobs
# takes neither it nor one behind it, so that it has none soon. Whoever has a second job has none alone.
_CLAIM = f"""
WITH next AS (
    SELECT id FROM imagegen.jobs
    WHERE state = 'queued' AND (not_before IS NULL OR not_before <= now()) AND crashes < %(max_crashes)s
    ORDER BY rank DESC, created_at LIMIT 1 FOR UPDATE SKIP LOCKED
), claimed AS (
    UPDATE imagegen.jobs
    SET state = 'running', worker_id = %(worker_id)s, lease_until = now() + make_interval(secs => %(lease)s),
        alone = %(idle)s AND %(alone)s, not_before = NULL, fence = fence + 1, attempts = attempts + 1,
        first_event = {NEXT_EVENT}, started_at = clock_timestamp()
    FROM next WHERE jobs.id = next.id AND (%(idle)s OR NOT quarantined)
    RETURNING jobs.id, account_id, request_id, request, request_object, task, family, seed, priority, tag,
              {WORK_SECONDS} AS work_seconds,
              fence, attempts, first_event, quarantined, overruns, trace,
              extract(epoch FROM started_at - created_at)::float8 AS age
), others AS (
    UPDATE imagegen.jobs SET alone = false
    WHERE worker_id = %(worker_id)s AND state = 'running' AND alone AND EXISTS (SELECT FROM claimed)
)
SELECT claimed.*, a.name AS account FROM claimed JOIN imagegen.accounts a ON a.id = account_id
"""  # noqa: S608 - of constants

# In the order of ids, as all who lock several jobs do. One that was nobody's alone at a renewal is not alone later.
_RENEW = """
WITH held AS (
    SELECT id FROM imagegen.jobs JOIN unnest(%(ids)s::text[], %(fences)s::integer[]) AS mine (job, token)
        ON id = job AND fence = token
    WHERE state = 'running' ORDER BY id FOR UPDATE OF jobs
)
UPDATE imagegen.jobs
SET lease_until = now() + make_interval(secs => %(lease)s), alone = alone AND %(alone)s
FROM held WHERE jobs.id = held.id RETURNING jobs.id
"""

_LAPSED = """
SELECT id, fence, lease_until FROM imagegen.jobs
WHERE state = 'running' AND (lease_until < now() OR (
    lease_until IS NULL AND started_at < now() - interval '30 s' AND NOT imagegen.runs_in_previous_version(id)
))
"""

# A process that crashed has closed its connections; one that is frozen has not. Where the database itself was started
# again after the last renewal nobody knows: then nothing is counted.
_RECLAIM = f"""
WITH lapsed AS (
    SELECT id, NOT EXISTS (
               SELECT FROM pg_stat_activity WHERE application_name = 'imagegen-' || worker_id
           ) AS is_gone,
           imagegen.database_started() < lease_until - make_interval(secs => %(lease)s) AS is_certain
    FROM imagegen.jobs
    WHERE id = %(job_id)s AND fence = %(fence)s AND state = 'running' AND lease_until IS NOT DISTINCT FROM %(until)s
    FOR UPDATE
), judged AS (SELECT id, is_gone, coalesce(is_gone AND is_certain, false) AS is_crash FROM lapsed)
UPDATE imagegen.jobs
SET state = 'queued', lease_until = NULL, fence = fence + 1, first_event = {NEXT_EVENT},
    quarantined = quarantined OR is_gone,
    crashes = crashes + (is_crash AND alone)::integer,
    crashed_worker = CASE WHEN is_crash AND alone THEN worker_id ELSE crashed_worker END
FROM judged WHERE jobs.id = judged.id
RETURNING jobs.id, worker_id, crashes, is_gone, is_crash AND alone AS is_counted, pg_notify('imagegen_queue', ''),
          pg_notify('imagegen_events', jobs.id)
"""  # noqa: S608 - of constants

# A process that lives did not crash: what was counted on it is taken back.
_ABSOLVE = """
UPDATE imagegen.jobs SET crashes = crashes - 1, crashed_worker = NULL
WHERE id = ANY(%(ids)s) AND crashed_worker = %(worker_id)s AND crashes > 0 AND state IN ('queued', 'running')
"""

_POISONED = """
SELECT id FROM imagegen.jobs WHERE state = 'queued' AND quarantined AND crashes >= %(max_crashes)s
"""

_IS_FINISHED = """
SELECT id FROM imagegen.jobs
WHERE id = %(job_id)s AND fence = %(fence)s AND state = 'succeeded' AND picture IS NOT DISTINCT FROM %(picture)s
"""

_GIVE_BACK = f"""
UPDATE imagegen.jobs
SET state = 'queued', lease_until = NULL, attempts = attempts - (NOT %(overrun)s)::integer,
    overruns = overruns + %(overrun)s::integer, fence = fence + 1, first_event = {NEXT_EVENT},
    not_before = now() + make_interval(secs => %(seconds)s)
WHERE {OF_ATTEMPT} RETURNING pg_notify('imagegen_events', id), pg_notify('imagegen_queue', '')
"""  # noqa: S608 - of constants

# A crash of the database may lose steps, so nothing waits for the disk.
_SAVE_EVENTS = f"""
WITH live AS (SELECT id FROM imagegen.jobs WHERE {OF_ATTEMPT}), saved AS ({SAVE})
SELECT set_config('synchronous_commit', 'off', true), pg_notify('imagegen_events', id) FROM live
"""  # noqa: S608 - of constants

_IS_CURRENT = f"SELECT id FROM imagegen.jobs WHERE {OF_ATTEMPT}"  # noqa: S608 - of constants


class Lapsed(NamedTuple):
    """An attempt whose lease has lapsed: its job, its fence, and when; None for one of the version before."""

    job_id: str
    fence: int
    until: datetime | None


class Reclaimed(NamedTuple):
    """What became of a lapsed attempt.

    Attributes:
        job_id: the job, which waits again.
        worker_id: the process that had it.
        crashes: that count against the job.
        is_gone: the process has no connection to the database any more.
        is_counted: this was a crash, and the job ran alone.
    """

    job_id: str
    worker_id: str | None
    crashes: int
    is_gone: bool
    is_counted: bool


class Attempts:
    """The attempts of one process. All methods raise DatabaseUnavailableError while the database does not answer."""

    def __init__(self, database: Database, worker_id: str, max_crashes: int, *, charge_filtered: bool = False) -> None:
        """Nothing is read yet.

        Args:
            database: of the jobs.
            worker_id: names the process. Its Listener's connection has the name (database/listen.py).
            max_crashes: of processes while a job ran alone, after which it fails.
            charge_filtered: whether a picture that the safety filter stopped is paid for.
        """
        self._database, self._worker_id, self._max_crashes = database, worker_id, max_crashes
        self._charge_filtered = charge_filtered

    async def claim(self, *, idle: bool, alone: bool) -> Attempt | None:
        """Begin the job that is next in line.

        Args:
            idle: no job runs in this process, so that it may take one that must run alone.
            alone: nothing else runs in this process either.

        Returns:
            The attempt; None if none waits, or the next must run alone and this process is not idle.
        """
        keys = {"worker_id": self._worker_id, "max_crashes": self._max_crashes, "lease": LEASE_SECONDS}
        keys |= {"idle": idle, "alone": alone, "last_event": 0}
        rows = await self._database.run(_CLAIM, keys)
        return to_attempt(rows[0]) if rows else None

    async def renew(self, fences: Mapping[str, int], *, alone: bool) -> set[str]:
        """Renew the leases of attempts, the fence by job id. Answers the jobs that are still this process's.

        A lease that has lapsed is renewed as well, if nobody else has taken the job. `alone`: nothing else runs here.
        """
        if not fences:
            return set()
        keys = {"ids": list(fences), "fences": list(fences.values()), "lease": LEASE_SECONDS, "alone": alone}
        return {row["id"] for row in await self._database.run(_RENEW, keys)}

    async def absolve(self, job_ids: Iterable[str]) -> None:
        """Take back the crashes that were counted on this process: it lives. The jobs are not its any more."""
        await self._database.run(_ABSOLVE, {"ids": list(job_ids), "worker_id": self._worker_id})

    async def find_lapsed(self) -> set[Lapsed]:
        """Attempts of any process whose lease has lapsed."""
        return {Lapsed(row["id"], row["fence"], row["lease_until"]) for row in await self._database.run(_LAPSED)}

    async def reclaim(self, lapsed: Lapsed) -> Reclaimed | None:
        """Put the job of a lapsed attempt back into the queue; None if it was renewed, or has ended, since."""
        keys = {"job_id": lapsed.job_id, "fence": lapsed.fence, "until": lapsed.until, "last_event": 0}
        rows = await self._database.run(_RECLAIM, keys | {"lease": LEASE_SECONDS})
        if not rows:
            return None
        row = rows[0]
        return Reclaimed(row["id"], row["worker_id"], row["crashes"], row["is_gone"], bool(row["is_counted"]))

    async def fail_poisoned(self) -> Sequence[JobRecord]:
        """End the jobs on which as many crashes count as may."""
        keys: dict[str, object] = {"max_crashes": self._max_crashes}
        error = PoisonJobError(f"the server crashed {self._max_crashes} times while it ran this job and nothing else")
        rows = await self._database.run(_POISONED, keys)
        ended = [
            await end_without_picture(self._database, OF_POISON, keys | {"job_id": row["id"]}, JobState.FAILED, error)
            for row in rows
        ]
        return [record for record in ended if record is not None]

    async def finish(
        self,
        attempt: Attempt,
        artifact: Artifact,
        picture: str | None,
        events: Iterable[tuple[int, Event]] = (),
        *,
        last: int = 0,
    ) -> bool:
        """End an attempt with a picture: state, usage, webhook and last events in one statement.

        May be repeated after DatabaseUnavailableError, which leaves open whether it was committed.

        Args:
            attempt: it.
            artifact: the picture's description.
            picture: its name in the result store; None if it went to a storage of the account.
            events: that are not saved yet, as (number within the attempt, event), in order.
            last: number of the attempt's newest event.

        Returns:
            False if the job no longer belongs to this attempt: nothing was written, and nobody refers to the picture.
        """
        values = {"state": "succeeded", "error": None, "artifact": dump_artifact(artifact), "picture": picture}
        keys = _keys(attempt) | save_parameters(attempt, events) | {"last_event": last}
        if await self._database.run(FINISH, keys | values):
            return True
        # Perhaps this very attempt ended it, and the answer was lost. That is asked by a statement of its own:
        # the one above may have waited for that transaction, and still see what was before it.
        return bool(await self._database.run(_IS_FINISHED, _keys(attempt) | {"picture": picture}))

    async def fail(self, attempt: Attempt, error: ImagegenError) -> bool:
        """End an attempt with an error, and refund the job. False if the job no longer belongs to this attempt.

        A job that the safety filter stopped is charged if the operator says so.
        """
        state = JobState.CANCELLED if isinstance(error, CancelledByClientError) else JobState.FAILED
        charged = self._charge_filtered and isinstance(error, FilteredError)
        keys = _keys(attempt)
        return await end_without_picture(self._database, OF_ATTEMPT, keys, state, error, charged=charged) is not None

    async def give_back(self, attempt: Attempt, *, seconds: float = 0.0, overrun: bool = False) -> bool:
        """Put the job back into the queue, where it waits for `seconds` at least. It does not count as an attempt.

        Unless it is an `overrun`: an attempt that was stopped because it ran too long. False if the job is not the
        attempt's any more.
        """
        keys = _keys(attempt) | {"seconds": seconds, "overrun": overrun, "last_event": 0}
        return bool(await self._database.run(_GIVE_BACK, keys))

    async def is_current(self, attempt: Attempt) -> bool:
        """Whether the job is still this attempt's: not cancelled, and no other process's."""
        return bool(await self._database.run(_IS_CURRENT, _keys(attempt)))

    async def save_events(self, attempt: Attempt, events: Iterable[tuple[int, Event]]) -> bool:
        """Show events, (number within the attempt, event) in order, to watchers.

        Returns:
            False if the job no longer belongs to this attempt: whoever works on it may stop.
        """
        return bool(await self._database.run(_SAVE_EVENTS, _keys(attempt) | save_parameters(attempt, events)))


def _keys(attempt: Attempt) -> dict[str, object]:
    return {"job_id": attempt.job_id, "fence": attempt.fence}
