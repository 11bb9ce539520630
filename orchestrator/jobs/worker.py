"""Runs durable jobs: each attempt ends its job, or puts it back into the queue."""

import asyncio
import contextvars
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import structlog

from orchestrator import metrics
from orchestrator.accounts.account import Account
from orchestrator.database.patience import answered
from orchestrator.errors import (
    CancelledByClientError,
    DatabaseUnavailableError,
    EngineUnavailableError,
    ImagegenError,
    ResultStoreUnavailableError,
    ShuttingDownError,
)
from orchestrator.generation import outcomes
from orchestrator.generation.events import Artifact, Event
from orchestrator.generation.job import Job
from orchestrator.generation.runner import Runner
from orchestrator.jobs.broker import LaterError
from orchestrator.jobs.event_recorder import EventRecorder
from orchestrator.jobs.records import Attempt
from orchestrator.jobs.store import JobStore
from orchestrator.params import JobOptions, RequestParams

Parse = Callable[[bytes], tuple[RequestParams, JobOptions]]
"""Reads a stored request."""

LATER_SECONDS = 5.0
"""About so long a job waits that could not run for something that is away."""

_AWAY = (EngineUnavailableError, ResultStoreUnavailableError, DatabaseUnavailableError)

log = structlog.get_logger()


class Worker:
    """The attempts of this process."""

    def __init__(self, store: JobStore, runner: Runner, parse: Parse, deadline_seconds: float) -> None:
        """Nothing runs yet.

        Args:
            store: of the jobs.
            runner: makes their pictures.
            parse: reads their requests.
            deadline_seconds: from its creation on, for which a job is put back when something is away.
        """
        self._store, self._runner, self._parse, self._deadline = store, runner, parse, deadline_seconds
        self._jobs: set[Job] = set()
        self._runs: set[asyncio.Task[None]] = set()
        self._stopping = False

    @property
    def in_flight(self) -> int:
        """Attempts that run now."""
        return len(self._runs)

    def stop(self) -> None:
        """Let every attempt put its job back at its next step; those that begin from now on, at once."""
        self._stopping = True
        for job in self._jobs:
            job.stop(_shutting_down())

    async def ends(self, seconds: float) -> bool:
        """Whether all attempts end within so many seconds."""
        if self._runs:
            await asyncio.wait(self._runs, timeout=seconds)
        return not self._runs

    def abandon(self) -> None:
        """Break off every attempt, wherever it is. Its job is in the queue still, as one of a worker that died."""
        for run in self._runs:
            run.cancel()

    async def run(self, job_id: str) -> None:
        """Attempt a job that the queue has handed out.

        Raises:
            LaterError: it is in the queue again.
        """
        # A context of its own: names of the worker's are not the job's.
        task = asyncio.create_task(self._run(job_id), name=f"job {job_id}", context=contextvars.Context())
        self._runs.add(task)
        task.add_done_callback(self._runs.discard)
        await asyncio.wait({task})
        if task.cancelled():
            raise LaterError(0.0)
        task.result()

    async def _run(self, job_id: str) -> None:
        attempt = await answered(lambda: self._store.start(job_id))
        if attempt is None:
            return
        if attempt.number == 1:
            metrics.QUEUE_WAIT.labels(attempt.priority.value).observe(attempt.waited)
        begin = asyncio.get_running_loop().time()
        names = {"request_id": attempt.request_id, "job_id": job_id, "attempt": attempt.number}
        with structlog.contextvars.bound_contextvars(**names):
            try:
                await self._make(attempt)
            except ImagegenError as error:
                lasted = asyncio.get_running_loop().time() - begin
                await self._end(attempt, error, attempt.waited + lasted)
            except Exception:
                log.exception("job_crashed")
                await self._end(attempt, ImagegenError("internal error"), attempt.waited)

    async def _make(self, attempt: Attempt) -> None:
        """Make the picture and end the job with it."""
        job = await self._begin(attempt)
        self._jobs.add(job)
        try:
            async with EventRecorder(self._store, attempt, job) as sharing:
                artifact = await self._runner.make(job)
            await self._finish(attempt, job, artifact, sharing.unsaved)
        except Exception:
            await self._discard(job)
            raise
        finally:
            self._jobs.discard(job)
        job.succeed(artifact)
        outcomes.report(job)

    async def _finish(self, attempt: Attempt, job: Job, artifact: Artifact, unsaved: list[tuple[int, Event]]) -> None:
        if not await answered(lambda: self._store.finish(attempt, artifact, job.picture, unsaved)):
            raise CancelledByClientError("the job is not this attempt's any more")

    async def _begin(self, attempt: Attempt) -> Job:
        params, options = self._parse(attempt.request)
        account = Account(id=attempt.account_id, name=attempt.account)
        plan = await self._runner.plan(account, params)
        self._runner.check_ready(plan)
        if self._stopping:
            raise _shutting_down()
        options = replace(options, request_id=attempt.request_id)
        return Job(attempt.job_id, account, plan, options, durable=True)

    async def _end(self, attempt: Attempt, error: ImagegenError, age: float) -> None:
        """End a job of so many seconds without a picture, or put it back for another time.

        Raises:
            LaterError: it was put back.
        """
        is_over = age >= self._deadline
        if isinstance(error, ShuttingDownError) or (isinstance(error, _AWAY) and not is_over):
            if await answered(lambda: self._store.give_back(attempt)):
                log.info("job_put_back", reason=str(error))
                raise LaterError(0.0 if self._stopping else LATER_SECONDS * random.uniform(0.8, 1.2))  # noqa: S311 - jitter
        else:
            await answered(lambda: self._store.fail(attempt, error))
        outcomes.report_failure(
            attempt.task,
            attempt.family,
            error,
            request_id=attempt.request_id,
            job_id=attempt.job_id,
            account=attempt.account,
            seed=attempt.seed,
        )

    async def _discard(self, job: Job) -> None:
        """Remove the picture that nobody refers to. Where that fails the sweep finds it in its time."""
        with suppress(DatabaseUnavailableError):
            await self._runner.discard(job)


def _shutting_down() -> ShuttingDownError:
    return ShuttingDownError("this server is stopping")
