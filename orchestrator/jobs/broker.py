"""procrastinate, as it is used here: one queue, one kind of task, and a worker that outlives a database that goes away.

procrastinate's own worker ends with the first statement that fails, and its heartbeats and its listener end unnoticed.
Here a statement that fails because the database is away is tried again, or left to the next time.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from datetime import datetime
from typing import Any

import procrastinate
import stamina
import structlog
from procrastinate import jobs, manager
from procrastinate.exceptions import ConnectorException
from procrastinate.retry import BaseRetryStrategy, RetryDecision

from orchestrator.database.pool import is_away, make_queue_pool
from orchestrator.errors import DatabaseUnavailableError
from orchestrator.jobs.deferring import defer_to

TASK = "run_job"
POLL_SECONDS = 1.0
"""Between two looks at the queue, beside those that a notification asks for: jobs that were put back bring none."""
HEARTBEAT_SECONDS = 2.0
PRUNE_SECONDS = 60.0
"""A worker without a heartbeat for so long is forgotten. Its jobs were given to others long before."""
RESTART_SECONDS = 1.0
CONNECTIONS = 4

log = structlog.get_logger()

Run = Callable[[str], Awaitable[None]]
"""Works on the job of an id to its end; raises LaterError for another time."""


class LaterError(Exception):
    """The job is queued again, and shall be fetched again after `seconds`."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"again after {seconds:.1f} s")
        self.seconds = seconds


class Broker:
    """The queue as this process sees it: it puts jobs in, and runs them while `work` runs."""

    def __init__(self, url: str, run: Run, is_open: Callable[[], bool]) -> None:
        """Nothing is opened yet.

        Args:
            url: of the database.
            run: works on a job.
            is_open: whether jobs may be fetched now.
        """
        logging.getLogger("procrastinate").setLevel(logging.ERROR)  # what is worth saying is said in our log
        self._pool = make_queue_pool(url, CONNECTIONS)
        self._connector = procrastinate.PsycopgConnector()
        self._manager = _SteadyManager(self._connector, is_open)
        self._app = procrastinate.App(connector=self._connector)
        self._app.job_manager = self._manager

        @self._app.task(name=TASK, retry=_Later())
        async def run_job(job_id: str) -> None:
            await run(job_id)

        self.defer = defer_to(run_job)

    async def open(self) -> None:
        """Begin to connect, without waiting for it."""
        await self._pool.open(wait=False)
        await self._connector.open_async(self._pool)

    async def close(self) -> None:
        """Close all connections."""
        await self._pool.close()

    async def work(self, slots: int) -> None:
        """Fetch jobs and run them, so many at a time. Cancelled, it fetches no more, and ends when the last has."""
        while True:
            try:
                await self._app.run_worker_async(
                    concurrency=slots,
                    fetch_job_polling_interval=POLL_SECONDS,
                    install_signal_handlers=False,
                    delete_jobs="always",
                    update_heartbeat_interval=HEARTBEAT_SECONDS,
                    stalled_worker_timeout=PRUNE_SECONDS,
                )
            except ConnectorException as error:
                log.warning("worker_interrupted", error=str(error.__cause__ or error))
            except Exception:
                log.exception("worker_failed")
            await asyncio.sleep(RESTART_SECONDS)

    async def find_stalled(self, seconds: float) -> dict[int, jobs.Job]:
        """Jobs whose worker has given no heartbeat for so long, by their number in the queue.

        Raises:
            DatabaseUnavailableError: the database does not answer.
        """
        try:
            stalled = await self._manager.get_stalled_jobs(seconds_since_heartbeat=seconds)
        except ConnectorException as error:
            raise DatabaseUnavailableError("the job database does not answer") from error
        return {job.id: job for job in stalled if job.id is not None}

    async def put_back(self, job: jobs.Job) -> None:
        """Let a job be fetched again. One that is not in the queue any more is left alone."""
        await self._manager.retry_job(job)


class _Later(BaseRetryStrategy):
    """Jobs are retried when they ask for it."""

    def get_retry_decision(self, *, exception: BaseException, job: jobs.Job) -> RetryDecision | None:  # noqa: ARG002  # the interface's
        if isinstance(exception, LaterError):
            return RetryDecision(retry_in={"milliseconds": int(exception.seconds * 1000)})
        return None


class _SteadyManager(manager.JobManager):
    """procrastinate's statements, by a database that may go away and come back."""

    def __init__(self, connector: procrastinate.BaseConnector, is_open: Callable[[], bool]) -> None:
        super().__init__(connector)
        self._is_open = is_open

    async def fetch_job(self, queues: Iterable[str] | None, worker_id: int) -> jobs.Job | None:
        """The next job; None if there is none, if none may be fetched, or while the database is away."""
        if not self._is_open():
            return None
        try:
            return await super().fetch_job(queues, worker_id)
        except ConnectorException as error:
            if not is_away(error.__cause__):
                raise
            log.warning("queue_unavailable", error=str(error.__cause__))
            return None

    async def finish_job(self, job: jobs.Job, status: jobs.Status, delete_job: bool) -> None:
        """Take a job out of the queue, however long that takes."""
        await _surely(lambda: super(_SteadyManager, self).finish_job(job, status, delete_job))

    async def retry_job(
        self,
        job: jobs.Job,
        retry_at: datetime | None = None,
        priority: int | None = None,
        queue: str | None = None,
        lock: str | None = None,
    ) -> None:
        """Let a job be fetched again, however long that takes."""
        await _surely(lambda: super(_SteadyManager, self).retry_job(job, retry_at, priority, queue, lock))

    async def update_heartbeat(self, worker_id: int) -> None:
        """Say that the worker lives."""
        try:
            await super().update_heartbeat(worker_id)
        except ConnectorException as error:
            log.warning("heartbeat_missed", error=str(error.__cause__))

    async def listen_for_jobs(
        self, *, on_notification: manager.NotificationCallback, queues: Iterable[str] | None = None
    ) -> None:
        """Hear of new jobs; while that cannot be, polling finds them."""
        while True:
            try:
                await super().listen_for_jobs(on_notification=on_notification, queues=queues)
            except ConnectorException as error:
                log.warning("queue_not_heard", error=str(error.__cause__))
            await asyncio.sleep(RESTART_SECONDS)


async def _surely(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Do it again until the database answers. What else is wrong is logged: `requeue_lost` finds what it leaves."""
    retrying = stamina.retry_context(
        on=lambda error: isinstance(error, ConnectorException) and is_away(error.__cause__),
        attempts=None,
        timeout=None,
        wait_initial=0.1,
        wait_max=2.0,
    )
    try:
        async for attempt in retrying:
            with attempt:
                await work()
    except ConnectorException as error:
        log.warning("queue_refused", error=str(error.__cause__))
