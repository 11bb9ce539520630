"""Retries while the database is unreachable."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import stamina

from orchestrator.errors import DatabaseUnavailableError

T = TypeVar("T")


async def retry_until_available(work: Callable[[], Awaitable[T]]) -> T:
    """What the database answers, however long it is unreachable: retried 0.1 to 2 s apart."""
    retrying = stamina.retry_context(
        on=DatabaseUnavailableError, attempts=None, timeout=None, wait_initial=0.1, wait_max=2.0
    )
    async for attempt in retrying:
        with attempt:
            return await work()
    raise AssertionError("retried without end")
