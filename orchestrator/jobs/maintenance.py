"""What any server does again and again: jobs of dead workers start again, what is over goes, gauges are set."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from orchestrator import metrics
from orchestrator.database.pool import Database
from orchestrator.errors import DatabaseUnavailableError
from orchestrator.jobs.broker import Broker
from orchestrator.jobs.store import JobStore
from orchestrator.results.store import ResultStore

LOOK_SECONDS = 2.0
"""Between two looks for jobs of dead workers, and at the queue's length."""
STALLED_SECONDS = 8.0
"""A worker without a heartbeat for so long is taken for dead, if it still has none at the next look: heartbeats come
every 2 s. So a dead worker's jobs are in the queue again within 8 + 2 x 2 s, and start within another second where a
slot is free."""
SWEEP_SECONDS = 60.0

# Servers that look at the same time would put a job back twice: all but one do nothing.
_LOCK = "SELECT pg_try_advisory_xact_lock(hashtext('imagegen_stalled')) AS is_mine"

log = structlog.get_logger()


class Maintenance:
    """Looks after the queue and the results. `start`, then `close` once."""

    def __init__(
        self, database: Database, broker: Broker, store: JobStore, results: ResultStore, job_seconds: float
    ) -> None:
        """Nothing is done yet.

        Args:
            database: of the jobs.
            broker: of the queue.
            store: of the jobs.
            results: of their pictures.
            job_seconds: how long a job is known after its end.
        """
        self._database, self._broker, self._store, self._results = database, broker, store, results
        self._job_seconds = job_seconds
        self._stalled: set[int] = set()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Begin."""
        works = {LOOK_SECONDS: self.look, SWEEP_SECONDS: self.sweep}
        self._tasks = [asyncio.create_task(_again(*work), name=f"every {work[0]:.0f} s") for work in works.items()]

    async def close(self) -> None:
        """Stop."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def look(self) -> None:
        """Put back the jobs of workers that are dead at the second look, and set the gauges.

        Raises:
            DatabaseUnavailableError: the database does not answer.
        """
        async with self._database.transaction() as connection:
            lock = await (await connection.execute(_LOCK)).fetchone()
            if lock is not None and lock["is_mine"]:
                await self._put_back_stalled()
        look = await self._store.look()
        metrics.JOBS.labels("queued").set(look.queued)
        metrics.JOBS.labels("running").set(look.running)
        metrics.BACKLOG.set(look.wait(look.queued))

    async def sweep(self) -> None:
        """Forget what is over, and find what was lost.

        Raises:
            DatabaseUnavailableError: the database does not answer.
        """
        swept = await self._store.sweep(self._job_seconds)
        lost = await self._store.requeue_lost()
        pictures = await self._results.sweep()
        if lost:
            log.warning("lost_jobs_put_back", jobs=lost)
        if swept.expired or swept.forgotten or pictures:
            log.info("swept", expired=swept.expired, forgotten=swept.forgotten, pictures=pictures)

    async def _put_back_stalled(self) -> None:
        stalled = await self._broker.find_stalled(STALLED_SECONDS)
        for number, job in stalled.items():
            if number in self._stalled:
                log.warning("worker_died", job_id=job.task_kwargs.get("job_id"), worker=job.worker_id)
                await self._broker.put_back(job)
        self._stalled = stalled.keys() - self._stalled


async def _again(seconds: float, work: Callable[[], Awaitable[None]]) -> None:
    while True:
        await asyncio.sleep(seconds)
        try:
            await work()
        except DatabaseUnavailableError:
            pass  # it is logged where it was noticed, and tried again soon
        except Exception:
            log.exception("keeping_failed", work=work.__name__)
