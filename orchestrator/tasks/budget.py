"""A bound on the memory that client pictures take, over all jobs of the process together."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from orchestrator import metrics
from orchestrator.errors import InvalidRequestError, Reason, Violation

T = TypeVar("T")
MIB = 1 << 20


class MemoryBudget:
    """Bytes that may be taken at a time. Who comes first is served first, so a large request is not starved.

    A job takes all that it needs in one go, and holds it until it ends. So none waits for more while it holds some, and
    there is no deadlock.
    """

    def __init__(self, total: int, use: str) -> None:
        """All of it is free. `use` is the label of its metric."""
        self.total = self._free = total
        self._use = use
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @contextmanager
    def share(self) -> Iterator["Share"]:
        """A job's share; what it holds is given back at the end."""
        share = Share(self)
        try:
            yield share
        finally:
            share.keep(0)

    async def take(self, size: int, field: str) -> None:
        """Wait for bytes.

        Raises:
            InvalidRequestError: more than there ever will be; `field` is the request's that it names.
        """
        if size > self.total:
            said = f"needs {size // MIB + 1} MiB of memory with the rest of the request, and the server has"
            said += f" {self.total // MIB} MiB; send smaller pictures, or ask for a smaller result"
            raise InvalidRequestError(Violation(field, said, Reason.TOO_MANY_PIXELS))
        waiter = size, asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        self._serve()
        try:
            await waiter[1]
        except asyncio.CancelledError:
            if not waiter[1].cancelled():
                self.give(size)  # granted, and given up before it was noticed
            elif waiter in self._waiting:
                self._waiting.remove(waiter)
                self._serve()  # those behind it may need less
            raise

    def give(self, size: int) -> None:
        """Give bytes back that were taken."""
        self._free += size
        self._serve()

    def _serve(self) -> None:
        while self._waiting and self._waiting[0][0] <= self._free:
            size, granted = self._waiting.popleft()
            if not granted.cancelled():
                self._free -= size
                granted.set_result(None)
        metrics.PICTURE_MEMORY.labels(self._use).set(self.total - self._free)


class Share:
    """What one job has taken."""

    def __init__(self, budget: MemoryBudget) -> None:
        self._budget, self.size, self._taken = budget, 0, False

    async def take(self, size: int, field: str) -> None:
        """As MemoryBudget.take; once for each job.

        Raises:
            InvalidRequestError: more than there ever will be.
            RuntimeError: for the second time: it could wait for a job that waits for this one.
        """
        if self._taken:
            raise RuntimeError("a job takes its memory in one go")
        self._taken = True
        await self._budget.take(size, field)
        self.size = size

    def keep(self, size: int) -> None:
        """Give back what is above `size`."""
        if size < self.size:
            self._budget.give(self.size - size)
            self.size = size


@dataclass(frozen=True, slots=True)
class JobMemory:
    """One job's memory for pictures: files that it fetches, and what it works on.

    A job takes the first before the second, and no job that has the second waits for the first: no deadlock.
    """

    fetched: Share
    working: Share
    unless_stopped: Callable[[Awaitable[None]], Awaitable[None]]

    async def fetch(self, size: int, field: str) -> None:
        """Wait for memory for files. Raises as Share.take does, and what stops the job."""
        await self.unless_stopped(self.fetched.take(size, field))

    async def work(self, size: int, field: str) -> None:
        """Wait for memory for decoding and working. Raises as Share.take does, and what stops the job."""
        await self.unless_stopped(self.working.take(size, field))


@dataclass(frozen=True, slots=True)
class Budgets:
    """The memory of all jobs."""

    fetched: MemoryBudget
    working: MemoryBudget

    @classmethod
    def of(cls, fetched: int, working: int) -> "Budgets":
        """Of that many bytes each."""
        return cls(MemoryBudget(fetched, "fetched"), MemoryBudget(working, "working"))

    @contextmanager
    def job(self, unless_stopped: Callable[[Awaitable[None]], Awaitable[None]]) -> Iterator[JobMemory]:
        """The memory of one job, which is given back at the end. `unless_stopped` ends a wait when the job ends."""
        with self.fetched.share() as fetched, self.working.share() as working:
            yield JobMemory(fetched, working, unless_stopped)
