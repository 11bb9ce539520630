"""Cancelled tasks are waited for within bounds, whatever they do with the cancellation."""

import asyncio
from typing import Any

import structlog

AGAIN_SECONDS = 0.2
"""After which a task that still runs is cancelled again."""

log = structlog.get_logger()


async def cancel_and_wait(*tasks: asyncio.Future[Any] | None, seconds: float = 5.0) -> bool:
    """Cancel tasks until they have ended, for at most `seconds`. Returns whether all have; what they raise is dropped.

    One cancellation is not enough: until Python 3.12 asyncio.wait_for swallows one that comes at the moment at which
    what it waits for is there (cpython issue 86296), and psycopg's pool waits by it.
    """
    running: set[asyncio.Future[Any]] = {task for task in tasks if task is not None and not task.done()}
    end = asyncio.get_running_loop().time() + seconds
    while running:
        left = end - asyncio.get_running_loop().time()
        if left <= 0:
            names = [task.get_name() for task in running if isinstance(task, asyncio.Task)]
            log.error("task_ignores_cancellation", tasks=names)
            return False
        for each in running:
            each.cancel()
        _, running = await asyncio.wait(running, timeout=min(AGAIN_SECONDS, left))
    for ended in tasks:
        if ended is not None and not ended.cancelled():
            ended.exception()  # retrieved, so that nobody logs it as forgotten
    return True
