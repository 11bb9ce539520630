"""The durable jobs of this process, wired: queue, worker, watchers and maintenance."""

import asyncio
from collections.abc import Callable
from decimal import Decimal

from orchestrator.config import Settings
from orchestrator.database.listen import Listener
from orchestrator.database.pool import Database
from orchestrator.generation.runner import Runner
from orchestrator.jobs.broker import Broker
from orchestrator.jobs.maintenance import Maintenance
from orchestrator.jobs.service import DurableJobs, show
from orchestrator.jobs.store import JobStore
from orchestrator.jobs.watchers import JobWatchers
from orchestrator.jobs.worker import Parse, Worker
from orchestrator.results.store import ResultStore
from orchestrator.streams.queue import STOP_SECONDS


class JobSystem:
    """`start`, then `drain` and `close` once.

    Attributes:
        jobs: for clients.
        keeper: does what has to be done again and again.
    """

    def __init__(
        self,
        settings: Settings,
        database: Database,
        listener: Listener,
        runner: Runner,
        results: ResultStore,
        parse: Parse,
        is_ready: Callable[[], bool],
    ) -> None:
        """Nothing runs yet.

        Args:
            settings: of the process.
            database: of the jobs.
            listener: hears of what happens to them.
            runner: makes their pictures.
            results: has them.
            parse: reads their stored requests.
            is_ready: whether anything could be made now; else jobs are left to others.
        """
        self._is_ready, self._is_draining = is_ready, False
        self._slots = settings.worker_slots
        self._broker = Broker(settings.database_url, self._run, self._is_open)
        store = JobStore(
            database,
            self._broker.defer,
            price=Decimal(str(settings.price)),
            max_queued=settings.max_queued_jobs,
            max_attempts=settings.max_attempts,
        )
        self._worker = Worker(store, runner, parse, settings.job_deadline_seconds)
        self._board = JobWatchers(store, listener, lambda record: show(results, record))
        self.keeper = Maintenance(database, self._broker, store, results, settings.job_seconds)
        self.jobs = DurableJobs(store, self._board, runner, results)
        self._work: asyncio.Task[None] | None = None

    @property
    def in_flight(self) -> int:
        """Durable jobs that run in this process."""
        return self._worker.in_flight

    @property
    def watchers(self) -> int:
        """How many watch jobs in this process."""
        return self._board.watchers

    async def start(self) -> None:
        """Begin to work."""
        await self._broker.open()
        await self._board.start()
        await self.keeper.start()
        if self._slots:
            self._work = asyncio.create_task(self._broker.work(self._slots), name="work on jobs")

    async def drain(self, seconds: float) -> bool:
        """Begin no more; let what runs end, for at most `seconds`. Returns whether all did.

        What is left then is put back into the queue at its next step, for others. Jobs that cannot even say so, for
        the database is away, are found by their workers' heartbeats, as those of a process that died.
        """
        self._is_draining = True
        if self._work is not None:
            self._work.cancel()  # fetches no more, and ends when what runs has
        ended = await self._worker.ends(seconds)
        if not ended:
            self._worker.stop()
            if not await self._worker.ends(STOP_SECONDS):
                self._worker.abandon()
        if self._work is not None:
            await asyncio.wait({self._work}, timeout=STOP_SECONDS)
        return ended

    async def close(self) -> None:
        """End all watches, and close the connections of the queue."""
        await self._board.close()
        await self.keeper.close()
        if self._work is not None and not self._work.done():
            self._work.cancel()
        await self._broker.close()

    async def _run(self, job_id: str) -> None:
        await self._worker.run(job_id)

    def _is_open(self) -> bool:
        return self._is_ready() and not self._is_draining
