"""Jobs go into procrastinate's queue."""

from collections.abc import Coroutine
from typing import Any

from procrastinate.exceptions import ConnectorException
from procrastinate.tasks import Task

from orchestrator.database.pool import Connection
from orchestrator.jobs.submitting import Defer


def defer_to(task: Task[[str], Coroutine[Any, Any, None], [str]]) -> Defer:
    """What puts jobs into the queue, for a task that takes `job_id`."""

    async def defer(connection: Connection, job_id: str, rank: int) -> None:
        job = task.configure(connection=connection, queueing_lock=job_id, priority=rank)
        try:
            await job.defer_async(job_id=job_id)
        except ConnectorException as error:  # around the driver's own, which says whether the database is away
            raise (error.__cause__ or error) from None

    return defer
