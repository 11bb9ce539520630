"""Who watches durable jobs, on any server: one statement for all watchers to whom something may have happened."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field

import structlog

from orchestrator.cancellation import cancel_and_wait
from orchestrator.database.listen import EVENTS, Listener
from orchestrator.errors import DatabaseUnavailableError, ImagegenError, NotFoundError, ShuttingDownError
from orchestrator.generation.events import Artifact, Event, Queued
from orchestrator.generation.job import JobState
from orchestrator.jobs.records import EventBatch, JobRecord
from orchestrator.jobs.store import JobStore

PAUSE_SECONDS = 0.05
"""Between two reads of events: what happens meanwhile is read together."""
RETRY_SECONDS = 1.0
"""Between two attempts to reach a database that is unreachable."""
POSITION_SECONDS = 2.0
"""Between two reads of the places in the queue."""
BATCH = 200
"""Jobs that one statement reads."""

log = structlog.get_logger()


@dataclass(eq=False)
class _Watcher:
    """One who watches.

    Attributes:
        after: number of the newest event that it has received.
        pending: of each kind the newest event that it has not taken yet.
        is_over: whether its watch ends, once it has taken what is pending.
        error: what it ends with then; None for nothing.
        queued: the last place that it has received.
        waits: whether the job waits, so that its place is of interest.
        first_event: events of its job have numbers above this.
        known: number up to which the client knows the job's events.
    """

    after: int
    pending: dict[type[Event], tuple[int, Event]] = field(default_factory=dict)
    is_over: bool = False
    error: ImagegenError | None = None
    queued: Queued | None = None
    waits: bool = False
    first_event: int = 0
    known: int = 0
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def send(self, number: int, event: Event) -> None:
        """Take an event that it does not know yet."""
        if number > self.after:
            self.after = number
            self.pending[type(event)] = number, event
            self.news.set()

    def send_place(self, queued: Queued) -> None:
        """Take a place in the queue, if that has changed."""
        if self.waits and (self.queued is None or self.queued.position != queued.position):
            self.queued = queued
            self.send(max(self.after + 1, self.first_event + 1), queued)

    def finish(self, error: ImagegenError | None) -> None:
        """Let the watch end, after what is pending."""
        self.is_over, self.error, self.waits = True, error, False
        self.news.set()

    def take(self) -> tuple[int, Event]:
        """The oldest event that is pending."""
        number, event = min(self.pending.values(), key=lambda item: item[0])
        del self.pending[type(event)]
        return number, event


class JobWatchers:
    """The watchers of this process. `start`, then `close` once."""

    def __init__(self, store: JobStore, listener: Listener, show: Callable[[JobRecord], Artifact | None]) -> None:
        """Nobody watches yet.

        Args:
            store: of the jobs.
            listener: hears of what happens to them.
            show: the picture of a job as watchers receive it; None if it has none.
        """
        self._store, self._show = store, show
        self._watchers: dict[str, set[_Watcher]] = {}
        self._dirty: set[str] = set()
        self._news = asyncio.Event()
        self._unsubscribe = listener.subscribe(EVENTS, self._hear)
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def watchers(self) -> int:
        """How many watch."""
        return sum(map(len, self._watchers.values()))

    async def start(self) -> None:
        """Start reading events."""
        self._tasks = [
            asyncio.create_task(self._event_loop(), name="watch jobs"),
            asyncio.create_task(self._position_loop(), name="watch the queue"),
        ]

    async def close(self) -> None:
        """Stop, and end all watches with ShuttingDownError."""
        self._unsubscribe()
        await cancel_and_wait(*self._tasks)
        for watcher in [each for watchers in self._watchers.values() for each in watchers]:
            watcher.finish(ShuttingDownError("this server is stopping"))

    async def watch(
        self, job_id: str, after: int, place: Queued | None = None
    ) -> AsyncGenerator[tuple[int, Event], None]:
        """Events of a job numbered above `after`, as they happen, until it ends.

        Args:
            job_id: the job.
            after: number of the newest event that the watcher knows.
            place: in the queue, as it knows it.

        Raises:
            ImagegenError: the one that the job failed with, after its events.
            NotFoundError: there is no such job, or its picture was removed.
            ShuttingDownError: this server stops.
        """
        watcher = _Watcher(after, queued=place, known=after)
        self._watchers.setdefault(job_id, set()).add(watcher)
        self._hear(job_id)
        try:
            while watcher.pending or not watcher.is_over:
                while watcher.pending:
                    yield watcher.take()
                watcher.news.clear()
                if not watcher.is_over:
                    await watcher.news.wait()
        finally:
            self._watchers[job_id].discard(watcher)
            if not self._watchers[job_id]:
                del self._watchers[job_id]
        if watcher.error is not None:
            raise watcher.error

    def _hear(self, job_id: str | None) -> None:
        """Note that something may have happened to a job; None: to all."""
        self._dirty.update(self._watchers if job_id is None else {job_id} & self._watchers.keys())
        if self._dirty:
            self._news.set()

    async def _event_loop(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            batch = [self._dirty.pop() for _ in range(min(BATCH, len(self._dirty)))]
            try:
                await self._read_events({job_id: self._known(job_id) for job_id in batch if job_id in self._watchers})
            except DatabaseUnavailableError:
                self._dirty.update(batch)
                await asyncio.sleep(RETRY_SECONDS)
            except Exception:
                log.exception("watching_failed", jobs=len(batch))
            await asyncio.sleep(PAUSE_SECONDS)
            if self._dirty:
                self._news.set()

    def _known(self, job_id: str) -> int:
        """Number of the newest event that all watchers of a job have received."""
        return min(watcher.after for watcher in self._watchers[job_id])

    async def _read_events(self, known: dict[str, int]) -> None:
        if not known:
            return
        seen = await self._store.events(known)
        for job_id in known:
            for watcher in self._watchers.get(job_id, ()):
                self._send(watcher, seen.get(job_id))
        await self._count({job_id for job_id, news in seen.items() if news.state is JobState.QUEUED})

    def _send(self, watcher: _Watcher, seen: EventBatch | None) -> None:
        if seen is None:
            watcher.finish(NotFoundError("no such job"))
            return
        watcher.waits, watcher.first_event = seen.state is JobState.QUEUED, seen.first_event
        for number, event in seen.events:
            watcher.send(number, event)
        if (end := seen.end) is not None:
            if (artifact := self._show(end)) is not None and end.sequence > watcher.known:
                watcher.send(max(end.sequence, watcher.after + 1), artifact)
            gone = NotFoundError("the picture was removed") if end.state is JobState.DELETED else None
            watcher.finish(end.error or gone)

    async def _position_loop(self) -> None:
        """Report places while anybody waits in the queue."""
        while True:
            await asyncio.sleep(POSITION_SECONDS)
            waiting = {job_id for job_id, watchers in self._watchers.items() if any(each.waits for each in watchers)}
            try:
                await self._count(waiting)
            except DatabaseUnavailableError:
                pass  # it is logged where it was noticed, and tried again soon
            except Exception:
                log.exception("counting_failed", jobs=len(waiting))

    async def _count(self, job_ids: set[str]) -> None:
        if not job_ids:
            return
        for job_id, queued in (await self._store.positions(job_ids)).items():
            for watcher in self._watchers.get(job_id, ()):
                watcher.send_place(queued)
