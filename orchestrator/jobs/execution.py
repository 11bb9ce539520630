"""An attempt from its plan to its end: its picture is generated, its events are saved, and its outcome is written."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

import structlog

from common import tracing
from orchestrator.accounts.account import Account
from orchestrator.cancellation import cancel_and_wait
from orchestrator.database.patience import retry_until_available
from orchestrator.errors import (
    AttemptLostError,
    AttemptTimeoutError,
    DatabaseUnavailableError,
    EngineUnavailableError,
    ImagegenError,
    ResultStoreUnavailableError,
    ShuttingDownError,
    SignerUnavailableError,
)
from orchestrator.generation import outcomes
from orchestrator.generation.events import Artifact, Event
from orchestrator.generation.job import Job
from orchestrator.generation.runner import Runner
from orchestrator.jobs.attempts import Attempts
from orchestrator.jobs.records import Attempt
from orchestrator.params import JobOptions, RequestParams

Parse = Callable[[bytes], tuple[RequestParams, JobOptions]]
"""Reads a stored request."""

RETRY_SECONDS = 5.0
"""About how long a job waits that could not run because something is unreachable."""

BATCH_SECONDS = 0.25
"""Events of this long go into one statement."""
CLOSE_SECONDS = 2.0
"""For a statement that is under way when the block ends."""

_UNREACHABLE = (
    EngineUnavailableError,
    ResultStoreUnavailableError,
    DatabaseUnavailableError,
    SignerUnavailableError,
)

log = structlog.get_logger()


@dataclass(eq=False)
class Run:
    """An attempt in this process.

    Attributes:
        attempt: it.
        limit: seconds that it may take.
        began: by the event loop's clock.
        task: runs it.
        job: once it is planned.
        stop_reason: why it is to stop, once it is.
        stopped: when that was asked, by the event loop's clock.
        is_ending: its outcome is being written.
    """

    attempt: Attempt
    limit: float
    began: float
    task: asyncio.Task[None] | None = None
    job: Job | None = None
    stop_reason: ImagegenError | None = None
    stopped: float = 0.0
    is_ending: bool = False

    def stop(self, reason: ImagegenError) -> None:
        """Let it end at its next step, by that error; the first reason counts."""
        if self.stop_reason is None:
            self.stop_reason = reason
            self.stopped = asyncio.get_running_loop().time()
            if self.job is not None:
                self.job.stop(reason)

    def set_job(self, job: Job) -> None:
        """The job is planned.

        Raises:
            ImagegenError: the stop_reason.
        """
        self.job = job
        if self.stop_reason is not None:
            raise self.stop_reason


class Execution:
    """Runs attempts. Each ends its job, or puts it back into the queue."""

    def __init__(
        self, attempts: Attempts, runner: Runner, parse: Parse, *, deadline_seconds: float, max_overruns: int
    ) -> None:
        """Nothing runs yet.

        Args:
            attempts: of the process.
            runner: generates the pictures.
            parse: reads their requests.
            deadline_seconds: from its creation on, for which a job is retried while something is unreachable.
            max_overruns: attempts that run too long, after which a job fails.
        """
        self._attempts, self._runner, self._parse = attempts, runner, parse
        self._deadline, self._max_overruns = deadline_seconds, max_overruns

    async def run(self, run: Run) -> None:
        """Run an attempt to its end; nothing that goes wrong in it leaves here."""
        attempt = run.attempt
        names = {"request_id": attempt.request_id, "job_id": attempt.job_id, "attempt": attempt.number}
        facts = outcomes.facts(attempt.job_id, attempt.task, attempt.family) | {"imagegen.attempt": attempt.number}
        with (
            structlog.contextvars.bound_contextvars(**names),
            tracing.span("job", "consumer", link=tracing.parse(attempt.trace), attributes=facts),
        ):
            try:
                await self._generate(run)
            except asyncio.CancelledError:  # it did not stop at a step: see Worker
                await self._end(run, run.stop_reason or _shutting_down())
            except ImagegenError as error:
                await self._end(run, run.stop_reason or error)
            except Exception:
                log.exception("job_crashed")
                await self._end(run, run.stop_reason or ImagegenError("internal error"))

    async def _generate(self, run: Run) -> None:
        """Generate the picture and end the job with it."""
        attempt = run.attempt
        job = await self._prepare(attempt)
        job.confirm = lambda: self._confirm(attempt)
        try:
            run.set_job(job)
            async with EventRecorder(self._attempts, attempt, job) as recorder:
                artifact = await self._runner.generate(job)
            await self._finish(run, job, artifact, recorder.unsaved)
        except BaseException:
            job.turn.close()
            await self._discard(job)
            raise
        job.succeed(artifact)
        outcomes.report(job)

    async def _prepare(self, attempt: Attempt) -> Job:
        serialized = attempt.request
        if serialized is None:
            serialized = await self._runner.results.read_request(attempt.request_object or "")
        params, options = self._parse(serialized)
        account = Account(id=attempt.account_id, name=attempt.account)
        plan = await self._runner.plan(account, params)
        self._runner.check_ready(plan)
        plan = await self._runner.tokenize(plan, params)
        turn = self._runner.open_turn(account, plan, options, attempt.tag, attempt.age)
        return Job(
            attempt.job_id, account, plan, replace(options, request_id=attempt.request_id), turn=turn, durable=True
        )

    async def _confirm(self, attempt: Attempt) -> None:
        if not await retry_until_available(lambda: self._attempts.is_current(attempt)):
            raise AttemptLostError

    async def _finish(self, run: Run, job: Job, artifact: Artifact, unsaved: list[tuple[int, Event]]) -> None:
        run.is_ending = True
        if not await retry_until_available(
            lambda: self._attempts.finish(run.attempt, artifact, job.picture, unsaved, last=job.last_event)
        ):
            raise AttemptLostError

    async def _end(self, run: Run, error: ImagegenError) -> None:
        """End a job without a picture, or put it back for another attempt."""
        run.is_ending = True
        if isinstance(error, AttemptLostError):
            log.info("attempt_lost")
        elif (again := self._retry(run, error)) is None:
            await retry_until_available(lambda: self._attempts.fail(run.attempt, error))
        elif await retry_until_available(again):
            log.info("job_put_back", reason=str(error))
            return
        _report(run.attempt, error)

    def _retry(self, run: Run, error: ImagegenError) -> Callable[[], Awaitable[bool]] | None:
        """What puts the job back, if its attempt may be followed by another."""
        attempt = run.attempt
        if isinstance(error, ShuttingDownError):
            return lambda: self._attempts.give_back(attempt)
        if isinstance(error, AttemptTimeoutError) and attempt.overruns + 1 < self._max_overruns:
            return lambda: self._attempts.give_back(attempt, overrun=True)
        age = attempt.age + asyncio.get_running_loop().time() - run.began
        if isinstance(error, _UNREACHABLE) and age < self._deadline:
            seconds = RETRY_SECONDS * random.uniform(0.8, 1.2)  # noqa: S311 - jitter
            return lambda: self._attempts.give_back(attempt, seconds=seconds)
        return None

    async def _discard(self, job: Job) -> None:
        """Remove the picture that nobody refers to. Where that fails the sweep finds it in its time."""
        with suppress(DatabaseUnavailableError):
            await self._runner.discard(job)


class EventRecorder:
    """Saves a job's events while a `with` block runs, and stops the job once it is not the attempt's any more."""

    def __init__(self, attempts: Attempts, attempt: Attempt, job: Job) -> None:
        self._attempts, self._attempt, self._job = attempts, attempt, job
        self._unsaved: dict[type[Event], tuple[int, Event]] = {}  # of each kind the newest, as the database keeps them
        self._closing = asyncio.Event()

    @property
    def unsaved(self) -> list[tuple[int, Event]]:
        """Events that are not saved yet, as (number within the attempt, event), in order."""
        return sorted(self._unsaved.values(), key=lambda item: item[0])

    async def __aenter__(self) -> Self:
        """Begin."""
        self._job.observer = self._record
        self._saving = asyncio.create_task(self._save(), name=f"save events of {self._job.id}")
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """Stop. What is not saved yet stays in `unsaved`."""
        self._closing.set()
        await asyncio.wait({self._saving}, timeout=CLOSE_SECONDS)
        await cancel_and_wait(self._saving)

    def _record(self, number: int, event: Event) -> None:
        self._unsaved[type(event)] = number, event

    async def _save(self) -> None:
        while not self._closing.is_set():
            if self._unsaved and not await self._save_batch():
                self._job.stop(AttemptLostError())
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(BATCH_SECONDS):
                    await self._closing.wait()

    async def _save_batch(self) -> bool:
        """Save what is there; False if the job is not the attempt's any more."""
        batch = self.unsaved
        try:
            is_current = await self._attempts.save_events(self._attempt, batch)
        except DatabaseUnavailableError:
            return True  # nobody knows; they are saved with the next
        for number, event in batch:
            if self._unsaved[type(event)][0] == number:
                del self._unsaved[type(event)]
        return is_current


def _report(attempt: Attempt, error: ImagegenError) -> None:
    outcomes.report_failure(
        attempt.task,
        attempt.family,
        error,
        request_id=attempt.request_id,
        job_id=attempt.job_id,
        account=attempt.account,
        seed=attempt.seed,
    )


def _shutting_down() -> ShuttingDownError:
    return ShuttingDownError("this server is stopping")
