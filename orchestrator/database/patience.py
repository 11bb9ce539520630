"""Waiting for a database that is away."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import stamina

from orchestrator.errors import DatabaseUnavailableError

T = TypeVar("T")


async def answered(work: Callable[[], Awaitable[T]]) -> T:
    """What the database answers, however long it is away: tried again and again, 0.1 to 2 s apart."""
    retrying = stamina.retry_context(
        on=DatabaseUnavailableError, attempts=None, timeout=None, wait_initial=0.1, wait_max=2.0
    )
    async for attempt in retrying:
        with attempt:
            return await work()
    raise AssertionError("retried without end")
