"""Generate streams: takes them, lets them wait, starts them. In memory: a stream ends with its connection."""

import asyncio
import contextvars
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import structlog

from common import tracing
from orchestrator import metrics
from orchestrator.accounts.account import Account
from orchestrator.errors import (
    CancelledByClientError,
    DeadlineUnreachableError,
    EngineUnavailableError,
    ImagegenError,
    ShuttingDownError,
)
from orchestrator.generation import outcomes
from orchestrator.generation.events import Artifact, Queued
from orchestrator.generation.forecast import check_deadline
from orchestrator.generation.job import Job
from orchestrator.generation.runner import Runner
from orchestrator.models.contracts import RETRY_AFTER_SECONDS
from orchestrator.params import JobOptions, RequestParams
from orchestrator.scheduling.scheduled import ScheduledRequest
from orchestrator.scheduling.turns import Turns
from orchestrator.scheduling.waits import Forecast
from orchestrator.streams.admission import Admission

WAKE_CHECK_SECONDS = 0.5
"""Between two checks of networks that waiting streams need."""
STOP_SECONDS = 2.0
"""After the grace time: for the step that a job is in. A step cannot be interrupted, only not followed by another."""

log = structlog.get_logger()


class StreamQueue:
    """The streams of this process, which run at once as far as admission lets them."""

    def __init__(self, runner: Runner, admission: Admission[Job], wake_seconds: float = 0.0) -> None:
        """Nothing runs yet.

        Args:
            runner: generates the pictures.
            admission: how many run and wait.
            wake_seconds: how long a stream waits for networks that are not ready; 0: it is refused at once.
        """
        self._runner, self._admission, self._wake_seconds = runner, admission, wake_seconds
        self._next_check: asyncio.TimerHandle | None = None
        runner.turns.listen(self._report_positions)
        self._jobs: set[Job] = set()
        self._runs: set[asyncio.Task[None]] = set()
        self._draining = False
        self._reported = set[str]()

    @property
    def in_flight(self) -> int:
        """Jobs that run now."""
        return len(self._runs)

    async def submit(self, account: Account, params: RequestParams, options: JobOptions, job_id: str) -> Job:
        """Take a request; it starts at once if a slot is free. `job_id` is of no other job.

        Raises:
            InvalidRequestError: the family is unknown, or cannot do what is asked.
            UnsupportedTaskError: the family lacks a network for the task.
            EngineUnavailableError: the family's networks are not ready, and streams do not wait for them.
            QueueFullError, ShuttingDownError: try again later.
            DeadlineUnreachableError: the picture would be late.
        """
        self._check_open()
        self._admission.check_room()  # before the work of planning
        plan = await self._runner.plan(account, params)
        if not self._wake_seconds:
            self._runner.check_ready(plan)
        plan = await self._runner.tokenize(plan, params)
        self._check_open()  # it may be stopping by now
        self._admission.check_room(plan.held_bytes)
        job = Job(job_id, account, plan, options, turn=self._runner.open_turn(account, plan, options))
        self._admission.enqueue(job, options.priority, plan.held_bytes)
        try:
            self._check_deadline(job)
        except DeadlineUnreachableError:
            self._admission.withdraw(job)
            job.turn.close()
            raise
        self._jobs.add(job)
        self._report_positions()
        self._dispatch()
        return job

    def cancel(self, job: Job) -> None:
        """Stop a job at the next step; at once if it waits or fetches a picture. One that has ended stays as it is."""
        self._stop(job, CancelledByClientError("cancelled"))

    async def drain(self, seconds: float) -> bool:
        """Take nothing new; let what runs end, for at most `seconds`. Returns whether all did.

        Waiting streams are asked to retry elsewhere. What still runs when the time is over stops at its next step, for
        STOP_SECONDS at most.
        """
        self._draining = True
        for job in self._admission.waiting:
            self._stop(job, _shutting_down())
        ended = await self._ends(seconds)
        if not ended:
            for job in tuple(self._jobs):
                self._stop(job, _shutting_down())
            await self._ends(STOP_SECONDS)
        return ended

    async def _ends(self, seconds: float) -> bool:
        """Whether everything that runs has ended within `seconds`."""
        deadline = asyncio.get_running_loop().time() + seconds
        while self._runs:
            remaining = deadline - asyncio.get_running_loop().time()
            _, pending = await asyncio.wait(set(self._runs), timeout=max(0.0, remaining))
            if pending and remaining <= 0:
                return False
        return True

    def _stop(self, job: Job, reason: ImagegenError) -> None:
        """Stop a job: at once if it waits, at its next step if it runs."""
        job.stop(reason)
        if self._admission.withdraw(job):
            self._end(job, reason)
            self._dispatch()

    def _check_open(self) -> None:
        if self._draining:
            raise _shutting_down()

    def _dispatch(self) -> None:
        """Start what may start, and report their places to the others."""
        while (job := self._admission.start_next(self._may_start)) is not None:
            # A context of its own: else a job that another's end starts would log that call's name and id.
            run = asyncio.create_task(self._run(job), name=f"job {job.id}", context=contextvars.Context())
            self._runs.add(run)
            run.add_done_callback(self._runs.discard)
        self._report_positions()
        self._report_backlogs()
        if self._admission.waiting and self._admission.has_free_slot and self._next_check is None:
            self._next_check = asyncio.get_running_loop().call_later(WAKE_CHECK_SECONDS, self._check_again)

    def _may_start(self, job: Job) -> bool:
        """Whether the networks of a waiting stream are ready."""
        if self._wake_seconds:
            try:
                self._runner.check_ready(job.plan)
            except EngineUnavailableError:
                return False
        return True

    def _check_again(self) -> None:
        """Start the streams whose networks have become ready; end those that have waited for them too long."""
        self._next_check = None
        now = datetime.now(UTC)
        for job in self._admission.waiting:
            if (now - job.created).total_seconds() > self._wake_seconds and not self._may_start(job):
                reason = f"the networks of family {job.family!r} have not become ready"
                self._stop(job, EngineUnavailableError(reason, retry_after=RETRY_AFTER_SECONDS))
        self._dispatch()

    def _report_backlogs(self) -> None:
        """Set the gauge of each family that had streams."""
        waiting = self._admission.waiting
        seconds = dict.fromkeys(self._reported | {job.family for job in waiting}, 0.0)
        for job in waiting:
            seconds[job.family] += job.turn.request.work.seconds
        self._reported |= seconds.keys()
        for family, value in seconds.items():
            metrics.STREAM_BACKLOG.labels(family).set(value)

    def _check_deadline(self, job: Job) -> None:
        """Raise DeadlineUnreachableError if the forecast has a request end too late, with a margin."""
        deadline = job.options.deadline_seconds
        if deadline is None:
            return
        forecast = self._runner.turns.forecast()
        expected = forecast[job.turn.request]
        wait = next((wait for each, _, wait in self._places(forecast) if each is job), expected.wait)
        check_deadline(deadline, wait, expected.end - expected.wait)

    def _report_positions(self) -> None:
        """Report to those that wait how many start before them, and when."""
        if not self._jobs:
            return  # durable jobs alone need no forecast of the turns
        for job, index, seconds in self._places(self._runner.turns.forecast()):
            if job.queued is None or job.queued.position != index:
                job.publish(Queued(index, seconds))

    def _places(self, forecast: Mapping[ScheduledRequest, Forecast]) -> list[tuple[Job, int, float]]:
        """Those that wait: how many start before each, and when it starts, by its slot and by the engines."""
        running = [job for job in self._admission.running if job.turn.request in forecast]
        ends = sorted(forecast[job.turn.request].end for job in running)
        free = self._admission.free
        ahead = [job for job in running if not job.turn.request.started and forecast[job.turn.request].wait > 0]
        places = []
        for index, job in enumerate((*in_order(self._runner.turns, ahead), *self._admission.waiting)):
            place = index - len(ahead) - free
            slot = ends[min(place, len(ends) - 1)] if place >= 0 and ends else 0.0
            places.append((job, index, max(forecast[job.turn.request].wait, slot)))
        return places

    async def _run(self, job: Job) -> None:
        """Run one job to its end; nothing that goes wrong in it leaves here."""
        metrics.QUEUE_WAIT.labels(job.options.priority.value).observe((datetime.now(UTC) - job.created).total_seconds())
        with (
            structlog.contextvars.bound_contextvars(request_id=job.options.request_id, job_id=job.id),
            tracing.span("stream", parent=job.trace, attributes=outcomes.facts(job.id, job.task.value, job.family)),
        ):
            try:
                await self._finish(job, await self._runner.generate(job))
            except ImagegenError as error:
                await self._discard(job)
                self._end(job, error)
            except Exception:
                log.exception("job_crashed")
                await self._discard(job)
                self._end(job, ImagegenError("internal error"))
        self._admission.finish(job)
        self._dispatch()

    async def _finish(self, job: Job, artifact: Artifact) -> None:
        job.check_wanted()  # it may have been stopped while the picture went to the store
        job.succeed(artifact)
        self._forget(job)

    async def _discard(self, job: Job) -> None:
        """Remove a picture that nobody refers to. Where that fails, the sweep removes it in its time."""
        try:
            await self._runner.discard(job)
        except Exception:
            log.exception("picture_left_behind")

    def _end(self, job: Job, error: ImagegenError) -> None:
        job.fail(error)
        self._forget(job)

    def _forget(self, job: Job) -> None:
        outcomes.report(job)
        self._jobs.discard(job)


def in_order(turns: Turns, jobs: Sequence[Job]) -> list[Job]:
    """Jobs in the order in which engines serve them."""
    by_request = {job.turn.request: job for job in jobs}
    return [by_request[request] for request in turns.order(tuple(by_request))]


def _shutting_down() -> ShuttingDownError:
    return ShuttingDownError("this server is stopping")
