"""What an attempt does is written to the database while it does it, for watchers anywhere."""

import asyncio
from contextlib import aclosing, suppress
from types import TracebackType
from typing import Self

from orchestrator.errors import CancelledByClientError, DatabaseUnavailableError, ImagegenError
from orchestrator.generation.events import Event
from orchestrator.generation.job import Job
from orchestrator.jobs.records import Attempt
from orchestrator.jobs.store import JobStore

BATCH_SECONDS = 0.25
"""Events of so long go into one statement."""
CHECK_SECONDS = 1.0
"""An attempt without events asks so often whether its job is still its own."""


class EventRecorder:
    """Saves a job's events while a `with` block runs, and stops the job once it is not the attempt's any more."""

    def __init__(self, store: JobStore, attempt: Attempt, job: Job) -> None:
        self._store, self._attempt, self._job = store, attempt, job
        self.unsaved: list[tuple[int, Event]] = []
        self._news = asyncio.Event()

    async def __aenter__(self) -> Self:
        """Begin."""
        self._tasks = [
            asyncio.create_task(self._hear(), name=f"hear {self._job.id}"),
            asyncio.create_task(self._save(), name=f"share {self._job.id}"),
        ]
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """Stop. What is not saved yet stays in `unsaved`."""
        await asyncio.sleep(0)  # to hear what was published last
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _hear(self) -> None:
        with suppress(ImagegenError):  # the job's, which whoever runs it sees
            async with aclosing(self._job.watch()) as events:
                async for item in events:
                    self.unsaved.append(item)
                    self._news.set()

    async def _save(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(CHECK_SECONDS):
                    await self._news.wait()
            self._news.clear()
            try:
                is_current = await self._save_batch()
            except DatabaseUnavailableError:
                continue
            if not is_current:
                self._job.stop(CancelledByClientError("the job is not this worker's any more"))
                return
            await asyncio.sleep(BATCH_SECONDS)

    async def _save_batch(self) -> bool:
        if not self.unsaved:
            return await self._store.is_current(self._attempt)
        batch = tuple(self.unsaved)
        is_current = await self._store.save_events(self._attempt, batch)
        del self.unsaved[: len(batch)]
        return is_current
