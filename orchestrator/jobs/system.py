"""The durable jobs of this process, wired: store, worker, watchers and maintenance."""

import secrets
from collections.abc import Callable
from decimal import Decimal

from orchestrator.config import Settings
from orchestrator.database.listen import Listener
from orchestrator.database.pool import Database
from orchestrator.generation.runner import Runner
from orchestrator.jobs.attempts import Attempts
from orchestrator.jobs.execution import Execution, Parse
from orchestrator.jobs.maintenance import Maintenance
from orchestrator.jobs.scheduling import QueueStatsCache
from orchestrator.jobs.service import DurableJobs, artifact_of
from orchestrator.jobs.store import JobStore
from orchestrator.jobs.watchers import JobWatchers
from orchestrator.jobs.worker import Worker
from orchestrator.results.store import ResultStore

CONNECTIONS = 4
"""Of the attempts: their own, so that no number of calls keeps a lease from being renewed."""


def new_process_id() -> str:
    """A name of this process, for leases and for its Listener's connection."""
    return secrets.token_hex(8)


class JobSystem:
    """`start`, then `drain` and `close` once.

    Attributes:
        jobs: for clients.
        maintenance: does what has to be done periodically.
    """

    def __init__(
        self,
        settings: Settings,
        database: Database,
        listener: Listener,
        runner: Runner,
        results: ResultStore,
        parse: Parse,
        *,
        process_id: str,
        may_start: Callable[[], bool],
        streams: Callable[[], int] = lambda: 0,
    ) -> None:
        """Nothing runs yet.

        Args:
            settings: of the process.
            database: of the jobs.
            listener: hears of what happens to them.
            runner: generates their pictures.
            results: has them.
            parse: reads their stored requests.
            process_id: of this process; the listener's connection shows it.
            may_start: whether anything could be generated now; else jobs are left to others.
            streams: how many Generate streams run in this process.
        """
        self._database = Database(settings.database_url, CONNECTIONS)
        stats = QueueStatsCache(database, max_queued=settings.max_queued_jobs, max_held_bytes=settings.max_job_bytes)
        store = JobStore(
            database,
            stats,
            price=Decimal(str(settings.price)),
            max_account_bytes=settings.max_account_job_bytes,
        )
        attempts = Attempts(self._database, process_id, settings.max_attempts, charge_filtered=settings.charge_filtered)
        execution = Execution(
            attempts,
            runner,
            parse,
            deadline_seconds=settings.job_deadline_seconds,
            max_overruns=settings.max_attempts,
        )
        self._worker = Worker(
            attempts,
            execution,
            stats,
            listener,
            slots=settings.worker_slots,
            attempt_seconds=settings.attempt_seconds,
            may_start=may_start,
            streams=streams,
        )
        self._watchers = JobWatchers(store, listener, lambda record: artifact_of(results, record))
        self.maintenance = Maintenance(database, attempts, stats, results, settings.job_seconds)
        self.jobs = DurableJobs(store, self._watchers, runner, results)
        self._works = settings.worker_slots > 0

    @property
    def in_flight(self) -> int:
        """Durable jobs that run in this process."""
        return self._worker.in_flight

    @property
    def watchers(self) -> int:
        """How many watch jobs in this process."""
        return self._watchers.watchers

    async def start(self) -> None:
        """Begin to work."""
        await self._database.open()
        await self._watchers.start()
        await self.maintenance.start()
        if self._works:
            await self._worker.start()

    async def drain(self, seconds: float) -> bool:
        """As Worker.drain."""
        return await self._worker.drain(seconds)

    async def close(self) -> None:
        """End all watches, and close the connections of the attempts."""
        await self._watchers.close()
        await self.maintenance.close()
        await self._worker.close()
        await self._database.close()
