"""What happens to the stack: each fault begins, lasts, and ends; then it is measured how long until all is well."""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg

from local import postgres
from tests.faults.clients import Clients
from tests.faults.programs import SECOND, Programs

RUNNING_SECONDS = 90.0
RECOVER_SECONDS = 180.0
"""For a job to end after a fault's end."""
POLL_SECONDS = 0.1

PROGRAMS = ("postgres", "triton", "stub", "orchestrator", SECOND, "gateway")


@dataclass(frozen=True)
class Lengths:
    """How long faults last, seconds: of what is frozen, and of what is used up or read-only."""

    frozen: float = 30.0
    used_up: float = 20.0


@dataclass(frozen=True)
class Outcome:
    """What a fault did.

    Attributes:
        kind: of the fault: "kill gateway".
        running: jobs that ran when it began.
        answered: seconds from its end until both orchestrators answered calls.
        ended: seconds from its end until a job ended; None where none did within RECOVER_SECONDS.
    """

    kind: str
    running: int
    answered: float
    ended: float | None


Fault = Callable[[Programs, Lengths], None]
"""Does it, and returns at its end. Blocks: it runs in a thread."""


def kill(name: str) -> Fault:
    """Kill -9, and started again at once."""

    def fault(programs: Programs, _: Lengths) -> None:
        programs.kill(name)
        programs.start_again(name)

    return fault


def freeze(name: str) -> Fault:
    """SIGSTOP for a while. A frozen Triton, or model in it, may have been replaced by its supervisor meanwhile."""

    def fault(programs: Programs, lengths: Lengths) -> None:
        frozen = programs.freeze(name)
        time.sleep(lengths.frozen)
        programs.resume(frozen)

    return fault


def freeze_then_kill(name: str) -> Fault:
    """Frozen for long enough that its jobs are given to others, then killed."""

    def fault(programs: Programs, lengths: Lengths) -> None:
        programs.freeze(name)
        time.sleep(lengths.frozen / 2)
        programs.kill(name)
        programs.start_again(name)

    return fault


def drain(name: str) -> Fault:
    """SIGTERM, as a rolling update sends it; started again when it has ended."""

    def fault(programs: Programs, _: Lengths) -> None:
        programs.drain(name)
        programs.start_again(name)

    return fault


def stop_at_once(programs: Programs, _: Lengths) -> None:
    """PostgreSQL's immediate stop, 5 s away."""
    programs.stop_postgres_at_once()
    time.sleep(5)
    programs.start_again(postgres.NAME)


def use_up_connections(programs: Programs, lengths: Lengths) -> None:
    """All connections that PostgreSQL gives are taken, and half of those of others ended first."""
    taken: list[psycopg.Connection] = []
    url = postgres.read_url(programs.settings)
    try:
        with psycopg.connect(url, autocommit=True) as admin:
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid() AND pid % 2 = 0"
            )
            with suppress(psycopg.OperationalError):
                while True:
                    taken.append(psycopg.connect(url))
            end = time.monotonic() + lengths.used_up
            while time.monotonic() < end:  # what others give back is taken, too
                with suppress(psycopg.OperationalError):
                    taken.append(psycopg.connect(url))
                time.sleep(0.05)
    finally:
        for connection in taken:
            connection.close()


def read_only_store(programs: Programs, lengths: Lengths) -> None:
    """The file system of the pictures refuses writes."""
    _remount(programs.results, "ro")
    time.sleep(lengths.used_up)
    _remount(programs.results, "rw")


def full_store(programs: Programs, lengths: Lengths) -> None:
    """The file system of the pictures is full."""
    ballast = programs.results.parent / "results" / ".ballast"
    with suppress(OSError), ballast.open("wb") as file:
        while True:
            file.write(bytes(65_536))
            file.flush()
    time.sleep(lengths.used_up)
    ballast.unlink()


def _remount(folder: Path, mode: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{mode}", str(folder)], check=True)  # noqa: S603, S607 - ours


FAULTS: dict[str, Fault] = {
    **{f"kill {name}": kill(name) for name in PROGRAMS},
    **{f"freeze {name}": freeze(name) for name in PROGRAMS},
    **{f"drain {name}": drain(name) for name in ("orchestrator", SECOND)},
    "freeze, then kill orchestrator": freeze_then_kill("orchestrator"),
    "immediate stop of postgres": stop_at_once,
    "connections used up": use_up_connections,
    "store read-only": read_only_store,
    "store full": full_store,
}
OF_STORE = ("store read-only", "store full")
"""Those that need a file system of their own for the pictures, which only root can mount."""


async def until_running(programs: Programs) -> int:
    """Until some job runs; how many do."""
    async with asyncio.timeout(RUNNING_SECONDS):
        while not (running := await asyncio.to_thread(_count_running, programs)):  # noqa: ASYNC110 - of a database
            await asyncio.sleep(POLL_SECONDS)
    return running


async def inflict(kind: str, programs: Programs, clients: Clients, lengths: Lengths) -> Outcome:
    """Let a fault happen, and measure from its end."""
    running = await until_running(programs)
    await asyncio.to_thread(FAULTS[kind], programs, lengths)
    over = time.time()
    answering = asyncio.create_task(_until_answering(clients, over))
    ended = await _until_a_job_ends(programs, over)
    return Outcome(kind, running, await answering, ended)


async def _until_answering(clients: Clients, over: float) -> float:
    async with asyncio.timeout(RECOVER_SECONDS):
        while not await clients.answer():  # noqa: ASYNC110 - of other processes
            await asyncio.sleep(POLL_SECONDS)
    return time.time() - over


async def _until_a_job_ends(programs: Programs, over: float) -> float | None:
    end = time.monotonic() + RECOVER_SECONDS
    while time.monotonic() < end:
        with suppress(psycopg.OperationalError):
            if (last := await asyncio.to_thread(_last_end, programs)) is not None and last > over:
                return last - over
        await asyncio.sleep(POLL_SECONDS)
    return None


def _count_running(programs: Programs) -> int:
    with suppress(psycopg.OperationalError), _connect(programs) as connection:
        row = connection.execute("SELECT count(*) FROM imagegen.jobs WHERE state = 'running'").fetchone()
        return int(row[0]) if row else 0
    return 0


def _last_end(programs: Programs) -> float | None:
    """Unix seconds of the newest end of a job with a picture, by the clock of this machine, as the database's."""
    with _connect(programs) as connection:
        row = connection.execute(
            "SELECT extract(epoch FROM max(ended_at))::float8 FROM imagegen.jobs WHERE state = 'succeeded'"
        ).fetchone()
    return None if row is None else row[0]


def _connect(programs: Programs) -> psycopg.Connection:
    return psycopg.connect(postgres.read_url(programs.settings), connect_timeout=5)
