"""What any server does periodically: jobs of dead processes start again, what is over goes, gauges are set."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import structlog

from orchestrator import metrics
from orchestrator.cancellation import cancel_and_wait
from orchestrator.database.pool import Database
from orchestrator.errors import DatabaseUnavailableError
from orchestrator.generation import outcomes
from orchestrator.jobs.attempts import Attempts, Lapsed
from orchestrator.jobs.records import SweepResult
from orchestrator.jobs.scheduling import QueueStatsCache
from orchestrator.results.store import ResultStore

CHECK_SECONDS = 1.0
"""Between two checks for lapsed leases, and of the queue."""
CONFIRM_SECONDS = 4.0
"""A lease must be seen as lapsed for this long before its job is put back: where the database was unreachable, or
everything was frozen, its owner has the time to renew it first. So the jobs of a process that died wait again within
LEASE_SECONDS + CONFIRM_SECONDS + 2 x CHECK_SECONDS, 13 s, and start within another second where a slot is free."""
SWEEP_SECONDS = 60.0

BATCH = 500
"""Rows that one statement changes, so that none holds locks for long."""
EVENT_SECONDS = 120
"""How long the events of an ended job are kept, for watchers that come late."""

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

log = structlog.get_logger()


class Maintenance:
    """Maintains the queue and the results; any number of servers may at a time. `start`, then `close` once."""

    def __init__(
        self,
        database: Database,
        attempts: Attempts,
        stats: QueueStatsCache,
        results: ResultStore,
        job_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Nothing is done yet.

        Args:
            database: of the jobs.
            attempts: those of dead processes are found by.
            stats: of the queue.
            results: the pictures of the jobs.
            job_seconds: how long a job is known after its end.
            clock: seconds, for CONFIRM_SECONDS.
        """
        self._database, self._attempts, self._stats, self._results = database, attempts, stats, results
        self._job_seconds, self._clock = job_seconds, clock
        self._lapsed: dict[Lapsed, float] = {}
        self._reported = set[str]()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Begin."""
        works = {CHECK_SECONDS: self.check, SWEEP_SECONDS: self.sweep}
        self._tasks = [
            asyncio.create_task(_run_periodically(*work), name=f"every {work[0]:.0f} s") for work in works.items()
        ]

    async def close(self) -> None:
        """Stop."""
        await cancel_and_wait(*self._tasks)

    async def check(self) -> None:
        """Put back the jobs of processes that died, end those that crash their process, and set the gauges.

        Raises:
            DatabaseUnavailableError: the database does not answer.
        """
        await self.reclaim()
        for record in await self._attempts.fail_poisoned():
            if record.error is not None:
                names = {"request_id": record.request_id, "job_id": record.id, "seed": record.seed}
                outcomes.report_failure(record.task, record.family, record.error, **names)
        stats = await self._stats.read()
        metrics.JOBS.labels("queued").set(stats.queued)
        metrics.JOBS.labels("running").set(stats.running)
        metrics.BACKLOG.set(stats.backlog)
        self._report_backlogs(stats.backlogs())
        metrics.JOB_BYTES.set(stats.held_bytes)
        metrics.LONGEST_ATTEMPT.set(stats.longest)

    def _report_backlogs(self, seconds: dict[str, float]) -> None:
        """Set the gauge of each family; that of a family without jobs falls to 0, so that a scaler sees it."""
        self._reported |= seconds.keys()
        for family in self._reported:
            metrics.JOB_BACKLOG.labels(family).set(seconds.get(family, 0.0))

    async def reclaim(self) -> None:
        """Put back the jobs whose lease has been lapsed for CONFIRM_SECONDS, as far as this process has seen."""
        now = self._clock()
        lapsed = await self._attempts.find_lapsed()
        self._lapsed = {each: self._lapsed.get(each, now) for each in lapsed}
        for each, seen in list(self._lapsed.items()):
            if now - seen < CONFIRM_SECONDS:
                continue
            if (reclaimed := await self._attempts.reclaim(each)) is not None:
                cause = "crashed" if reclaimed.is_gone else "unresponsive"
                metrics.RECLAIMED.labels(cause).inc()
                log.warning(
                    "job_reclaimed",
                    job_id=each.job_id,
                    worker=reclaimed.worker_id,
                    cause=cause,
                    counted=reclaimed.is_counted,
                    crashes=reclaimed.crashes,
                )
            del self._lapsed[each]

    async def sweep(self) -> None:
        """Forget what is over.

        Raises:
            DatabaseUnavailableError: the database does not answer.
        """
        swept = await self.sweep_jobs()
        pictures = await self._results.sweep()
        if swept.expired or swept.forgotten or pictures:
            log.info("swept", expired=swept.expired, forgotten=swept.forgotten, pictures=pictures)

    async def sweep_jobs(self) -> SweepResult:
        """Mark jobs whose picture's time is over as deleted; forget those that ended long ago; drop their events."""
        return SweepResult(
            expired=await self._all(_EXPIRE, {}),
            forgotten=await self._all(_FORGET, {"seconds": self._job_seconds}),
            events=await self._all(_DROP_EVENTS, {"seconds": EVENT_SECONDS}),
        )

    async def _all(self, statement: str, keys: dict[str, float]) -> int:
        """Run a statement until it finds less than a batch; rows that it changed."""
        total, found = 0, BATCH
        while found == BATCH:
            found = len(await self._database.run(statement, keys | {"batch": BATCH}))
            total += found
        return total


async def _run_periodically(seconds: float, work: Callable[[], Awaitable[None]]) -> None:
    while True:
        await asyncio.sleep(seconds)
        try:
            await work()
        except DatabaseUnavailableError:
            pass  # it is logged where it was noticed, and tried again soon
        except Exception:
            log.exception("maintenance_failed", work=work.__name__)
