"""A bound on what the clients' pictures take once they are decoded, over all jobs of the process together."""

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from orchestrator import metrics
from orchestrator.errors import InvalidRequestError, Violation


class PixelBudget:
    """Pixels that may be decoded at a time. Who comes first is served first, so a large request is not starved.

    A job takes all that it needs in one go, before it decodes anything, and holds it until it ends. So none waits for
    more while it holds some, and there is no deadlock.
    """

    def __init__(self, pixels: int) -> None:
        """All of it is free."""
        self._pixels = self._free = pixels
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @contextmanager
    def share(self) -> Iterator["Share"]:
        """A job's share; what it has taken is given back at the end."""
        share = Share(self)
        try:
            yield share
        finally:
            self._give(share.pixels)

    async def take(self, pixels: int, field: str) -> None:
        """Wait for pixels.

        Raises:
            InvalidRequestError: more than there ever will be; `field` is the request's that it names.
        """
        if pixels > self._pixels:
            wrong = f"with the request's other pictures is {pixels} pixels; the limit is {self._pixels} together"
            raise InvalidRequestError(Violation(field, wrong))
        waiter = pixels, asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        self._serve()
        try:
            await waiter[1]
        except asyncio.CancelledError:
            if not waiter[1].cancelled():
                self._give(pixels)  # granted, and given up before it was noticed
            elif waiter in self._waiting:
                self._waiting.remove(waiter)
                self._serve()  # those behind it may need less
            raise

    def _give(self, pixels: int) -> None:
        self._free += pixels
        self._serve()

    def _serve(self) -> None:
        while self._waiting and self._waiting[0][0] <= self._free:
            pixels, granted = self._waiting.popleft()
            if not granted.cancelled():
                self._free -= pixels
                granted.set_result(None)
        metrics.DECODED_PIXELS.set(self._pixels - self._free)


class Share:
    """What one job has taken."""

    def __init__(self, budget: PixelBudget) -> None:
        self._budget, self.pixels = budget, 0

    async def take(self, pixels: int, field: str) -> None:
        """As PixelBudget.take; once for each job.

        Raises:
            InvalidRequestError: more than there ever will be.
            RuntimeError: for the second time: it could wait for a job that waits for this one.
        """
        if self.pixels:
            raise RuntimeError("a job takes its pixels in one go")
        await self._budget.take(pixels, field)
        self.pixels = pixels
