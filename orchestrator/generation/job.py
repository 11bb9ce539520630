"""One request on its way through this process: its state, its events, and those who watch it."""

import asyncio
import secrets
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import TypeVar

from common import tracing
from orchestrator.accounts.account import Account
from orchestrator.cancellation import cancel_and_wait
from orchestrator.errors import CancelledByClientError, ImagegenError
from orchestrator.generation.events import Artifact, Event, Queued
from orchestrator.params import JobOptions
from orchestrator.scheduling.turns import Turn
from orchestrator.tasks.plan import Plan

T = TypeVar("T")

WATCHER_BACKLOG = 256
"""Events that wait for a slow watcher. Beyond that the oldest are lost to it; the last, the artifact, never is."""


def new_job_id() -> str:
    """An id for a job: 22 characters, 128 random bits."""
    return secrets.token_urlsafe(16)


class JobState(StrEnum):
    """Where a job is. The last four are ends."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    DELETED = "deleted"


@dataclass(eq=False)
class _Watcher:
    backlog: deque[tuple[int, Event]] = field(default_factory=lambda: deque(maxlen=WATCHER_BACKLOG))
    news: asyncio.Event = field(default_factory=asyncio.Event)


class Job:
    """A request from its arrival to its end. Lives in one event loop.

    Attributes:
        id: 22 characters, unguessable.
        account: whose it is.
        picture: its name in the result store, once it is there.
        family, task, seed: what to do, in short.
        plan: what to do, in full.
        options: how.
        turn: its use of the engines, closed when it has ended.
        durable: it is in the database, and its picture in the result store: nobody takes the bytes from here.
        trace: of the call that asked for it.
        stop_reason: set, the work stops at the next step and ends with this error.
        observer: is given each event at once, with its number from 1.
        confirm: raises an ImagegenError if the work is not this process's any more; asked before a picture leaves it
            for a place where the work of another could be overwritten.
    """

    def __init__(
        self,
        job_id: str,
        account: Account,
        plan: Plan,
        options: JobOptions,
        *,
        turn: Turn,
        durable: bool = False,
    ) -> None:
        """A job that waits."""
        self.turn = turn
        self.id, self.account, self.durable = job_id, account, durable
        self.family, self.task, self.seed = plan.family, plan.task.name, plan.seed
        self.plan = plan
        self.options = options
        self.stop_reason: ImagegenError | None = None
        self.created = datetime.now(UTC)
        self.trace = tracing.headers()
        self.started: datetime | None = None
        self.ended: datetime | None = None
        self.state = JobState.QUEUED
        self.queued: Queued | None = None
        self.artifact: Artifact | None = None
        self.picture: str | None = None
        self.error: ImagegenError | None = None
        self.observer: Callable[[int, Event], None] | None = None
        self.confirm: Callable[[], Awaitable[None]] | None = None
        self._stopping = asyncio.Event()
        self._sequence = 0
        self._kept: dict[type[Event], tuple[int, Event]] = {}
        self._watchers: set[_Watcher] = set()

    @property
    def is_ended(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.ended is not None

    @property
    def last_event(self) -> int:
        """Number of its newest event; 0 before the first."""
        return self._sequence

    @property
    def seconds(self) -> float | None:
        """Time from start to end; None if it never started or has not ended."""
        return (self.ended - self.started).total_seconds() if self.started and self.ended else None

    def start(self) -> None:
        """Leave the line: the work begins."""
        self.state, self.started = JobState.RUNNING, datetime.now(UTC)
        self._kept.pop(Queued, None)

    def stop(self, reason: ImagegenError) -> None:
        """Let the work end with that error, at its next step or as soon as it can be interrupted."""
        self.stop_reason = reason
        self._stopping.set()
        self.turn.stop(reason)

    def check_wanted(self) -> None:
        """Raise stop_reason if it is set."""
        if self.stop_reason is not None:
            raise self.stop_reason

    async def unless_stopped(self, work: Awaitable[T]) -> T:
        """What `work` answers. It is interrupted where it waits as soon as the job is to stop.

        Raises:
            ImagegenError: the stop_reason.
            Whatever `work` raises.
        """
        running, stop = asyncio.ensure_future(work), asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait({running, stop}, return_when=asyncio.FIRST_COMPLETED)
            self.check_wanted()
            return await running
        finally:
            await cancel_and_wait(running, stop)

    def publish(self, event: Event) -> None:
        """Inform the watchers. Of each kind of event the newest is kept for watchers who come later."""
        if isinstance(event, Queued):
            self.queued = event
        self._sequence += 1
        self._kept.pop(type(event), None)  # the newest comes last
        self._kept[type(event)] = (self._sequence, event)
        if self.observer is not None:
            self.observer(self._sequence, event)
        for watcher in self._watchers:
            watcher.backlog.append((self._sequence, event))
            watcher.news.set()

    def succeed(self, artifact: Artifact) -> None:
        """End with a picture."""
        self.artifact = artifact
        self.publish(artifact)
        self._end(JobState.SUCCEEDED)

    def fail(self, error: ImagegenError) -> None:
        """End without one."""
        # Its traceback and causes would hold the frames that it crossed, and their arrays, as long as the job is kept.
        error.__cause__ = error.__context__ = None
        self.error = error.with_traceback(None)
        self._end(JobState.CANCELLED if isinstance(error, CancelledByClientError) else JobState.FAILED)

    async def watch(self, after_sequence: int = 0) -> AsyncGenerator[tuple[int, Event], None]:
        """Kept events numbered above `after_sequence`, then new ones as they happen, until the job ends.

        Raises:
            ImagegenError: the one that the job failed with, after its events.
        """
        watcher = _Watcher()
        watcher.backlog.extend(item for item in self._kept.values() if item[0] > after_sequence)
        self._watchers.add(watcher)
        try:
            while watcher.backlog or not self.is_ended:
                while watcher.backlog:
                    yield watcher.backlog.popleft()
                if not self.is_ended:
                    watcher.news.clear()
                    await watcher.news.wait()
        finally:
            self._watchers.discard(watcher)
        if self.error is not None:
            raise self.error.with_traceback(None)  # else each watcher would add its frames to the others'

    def _end(self, state: JobState) -> None:
        self.turn.close()
        self.state = state
        self.ended = datetime.now(UTC)
        for watcher in self._watchers:
            watcher.news.set()
