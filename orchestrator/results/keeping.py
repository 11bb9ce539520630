"""Finished pictures whose store is unreachable: kept in memory, and stored when it is back, not generated again."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from orchestrator import metrics
from orchestrator.errors import DatabaseUnavailableError, ResultStoreUnavailableError

MAX_BYTES = 256 * 1024 * 1024
"""Of all pictures of this process that wait. What is more is not kept: its job returns to the queue."""
MAX_SECONDS = 600.0
"""Longest wait of one picture; the end of its attempt may come first."""
FIRST_SECONDS, LAST_SECONDS = 0.5, 5.0
"""Between two tries."""

T = TypeVar("T")
log = structlog.get_logger()


class Keeping:
    """The pictures of this process that wait for a store."""

    def __init__(self, max_bytes: int = MAX_BYTES, max_seconds: float = MAX_SECONDS) -> None:
        """Nothing waits yet."""
        self._max_bytes, self._max_seconds = max_bytes, max_seconds
        self._bytes = 0

    async def until_stored(self, size: int, store: Callable[[], Awaitable[T]]) -> T:
        """What `store` answers; it is called again while the store, or the database, is unreachable.

        Args:
            size: of the picture, bytes.
            store: stores it; may be repeated.

        Raises:
            ResultStoreUnavailableError, DatabaseUnavailableError: for too long, or too much waits already.
            Whatever else `store` raises.
        """
        try:
            return await store()
        except (ResultStoreUnavailableError, DatabaseUnavailableError) as error:
            if self._bytes + size > self._max_bytes:
                raise
            log.warning("picture_waits_for_its_store", bytes=size, error=str(error))
        self._bytes += size
        metrics.RESULTS_WAITING.inc(size)
        try:
            return await self._again(store)
        finally:
            self._bytes -= size
            metrics.RESULTS_WAITING.dec(size)

    async def _again(self, store: Callable[[], Awaitable[T]]) -> T:
        deadline, pause = time.monotonic() + self._max_seconds, FIRST_SECONDS
        while True:
            await asyncio.sleep(pause * random.uniform(0.8, 1.2))  # noqa: S311 - jitter
            pause = min(2 * pause, LAST_SECONDS)
            try:
                return await store()
            except (ResultStoreUnavailableError, DatabaseUnavailableError):
                if time.monotonic() >= deadline:
                    raise
