"""kill -9 of one program of the stack after another, and how long until all is well again."""

import asyncio
import os
import signal
import time
from dataclasses import dataclass

import psycopg

from local import postgres, processes
from local.services import Service, pid_file
from local.settings import Settings

POLL_SECONDS = 0.1
RUNNING_SECONDS = 60.0


@dataclass(frozen=True)
class Kill:
    """One death.

    Attributes:
        name: of the program.
        running: jobs that ran then.
        answered: seconds until the program answered again.
        begun: seconds until all jobs that ran then had begun again, or ended; None where none ran.
    """

    name: str
    running: int
    answered: float
    begun: float | None


async def kill(settings: Settings, service: Service) -> Kill:
    """Kill a program, start it again as `make up` would, and see what runs."""
    before = await asyncio.to_thread(_running, settings)
    start = time.monotonic()
    await asyncio.to_thread(_kill, settings, service)
    begun = asyncio.create_task(_until_begun(settings, before, start)) if before else None
    await asyncio.to_thread(service.start)
    answered = time.monotonic() - start
    return Kill(service.name, len(before), answered, await begun if begun else None)


async def until_running(settings: Settings) -> None:
    """Until some job runs."""
    async with asyncio.timeout(RUNNING_SECONDS):
        while not await asyncio.to_thread(_running, settings):  # noqa: ASYNC110 - of a database
            await asyncio.sleep(POLL_SECONDS)


def _kill(settings: Settings, service: Service) -> None:
    noted = pid_file(settings, service.name)
    process = processes.load(noted)
    assert process is not None, f"{service.name} has died by itself"
    os.kill(process.pid, signal.SIGKILL)
    while process.is_alive():
        time.sleep(0.01)
    processes.sweep(noted)


def _running(settings: Settings) -> dict[str, int]:
    """Jobs that run, each with its fence."""
    with psycopg.connect(postgres.read_url(settings), connect_timeout=5) as connection:
        rows = connection.execute("SELECT id, fence FROM imagegen.jobs WHERE state = 'running'").fetchall()
    return dict(rows)


async def _until_begun(settings: Settings, before: dict[str, int], start: float) -> float:
    """Seconds from `start` until each job has another attempt, or an end."""
    left = before
    while left:
        await asyncio.sleep(POLL_SECONDS)
        try:
            now = await asyncio.to_thread(_running_or_queued, settings, list(left))
        except psycopg.OperationalError:  # it may be what was killed
            continue
        left = {job_id: fence for job_id, fence in left.items() if job_id in now and now[job_id] <= fence}
    return time.monotonic() - start


def _running_or_queued(settings: Settings, job_ids: list[str]) -> dict[str, int]:
    """Those of the jobs that have not ended; the fence of one that waits again does not count as another attempt."""
    query = """
        SELECT id, CASE state WHEN 'running' THEN fence ELSE 0 END
        FROM imagegen.jobs WHERE id = ANY(%s) AND state IN ('queued', 'running')
    """
    with psycopg.connect(postgres.read_url(settings), connect_timeout=5) as connection:
        return dict(connection.execute(query, [job_ids]).fetchall())
