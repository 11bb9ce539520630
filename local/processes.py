"""Starting programs that outlive us, knowing them again, and stopping them.

A program is known by its process id and its start time, by /proc: after a reboot, or when ids wrap around, another
program may have the id, and must not be stopped for it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from local.errors import StartError

_POLL = 0.05  # seconds between two checks
_KILL_SECONDS = 10.0  # that the system may take to remove what was killed
_TAIL_LINES = 15
_START_TIME = 19  # field 22 of /proc/PID/stat, counted from behind the name, which may hold spaces
_STATE = 0  # field 3
_MARK = "IMAGEGEN_NOTED_IN"  # variable of each program that is started: the file that it is noted in
_THREADS = 17  # field 20

# What this Python started itself, by pid, and must reap: the system keeps the remains of a child for its parent.
_children: dict[int, subprocess.Popen[bytes]] = {}


class AsUser(TypedDict, total=False):
    """Arguments of `subprocess.Popen`: the ids of a user, its group and no others."""

    user: int
    group: int
    extra_groups: list[int]


@dataclass(frozen=True)
class Process:
    """A program that was started, here or by an earlier run.

    Attributes:
        pid: process id; it is the leader of a session and group of its own.
        started: its start time, clock ticks since boot.
    """

    pid: int
    started: int

    def is_alive(self) -> bool:
        """Whether it still runs."""
        if child := _children.get(self.pid):
            child.poll()  # reaps it if it has ended
        stat = _read_stat(self.pid)
        return stat is not None and stat[1] == self.started and stat[0] not in "ZX"


def start(
    command: Sequence[str],
    env: Mapping[str, str],
    cwd: Path,
    log: Path,
    pid_file: Path,
    user: tuple[int, int] | None = None,
) -> Process:
    """Start a program in a session of its own, and note it.

    Args:
        command: program and arguments.
        env: its whole environment.
        cwd: its working folder.
        log: where its output goes; started again, the former one kept next to it as .old.
        pid_file: where it is noted for `load`.
        user: user and group that it runs as, with no other group; ours if None.

    Raises:
        StartError: the program cannot be run.
    """
    sweep(pid_file)
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists():
        log.replace(log.with_suffix(".old"))
    try:
        with log.open("wb") as output:
            popen = subprocess.Popen(
                command,
                env={**env, _MARK: _mark(pid_file)},
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                **as_user(user),
            )
    except OSError as error:
        raise StartError(f"{command[0]} cannot be started: {error}") from error
    _children[popen.pid] = popen
    stat = _read_stat(popen.pid)  # there, if only as remains, until it is reaped
    process = Process(popen.pid, stat[1] if stat else 0)
    pid_file.parent.mkdir(parents=True, exist_ok=True)
    fresh = pid_file.with_suffix(".new")
    fresh.write_text(json.dumps({"pid": process.pid, "started": process.started}), encoding="utf-8")
    fresh.replace(pid_file)
    return process


def as_user(user: tuple[int, int] | None) -> AsUser:
    """Return the arguments of `subprocess.Popen` that run a program as another user; only root may."""
    return {} if user is None else {"user": user[0], "group": user[1], "extra_groups": []}


def load(pid_file: Path) -> Process | None:
    """Return the program noted in the file if it still runs, else None."""
    process = _read_note(pid_file)
    return process if process is not None and process.is_alive() else None


def sweep(pid_file: Path) -> None:
    """Kill what an earlier run left behind; nothing if the noted program still runs.

    That is the children of a noted program that has ended, and a program that was started but not noted, because the
    one that started it was killed.
    """
    process = _read_note(pid_file)
    if process is not None and process.is_alive():
        return
    if process is not None:
        _kill_group(process)
    for pid in _list_marked(pid_file):
        _signal(os.kill, pid, signal.SIGKILL)
    pid_file.unlink(missing_ok=True)


def wait_ready(name: str, process: Process, is_ready: Callable[[], bool], seconds: float, log: Path) -> None:
    """Wait until a program answers.

    Args:
        name: for the message.
        process: ends the wait when it ends.
        is_ready: asks the program itself; called again and again.
        seconds: longest wait.
        log: its output, whose end goes into the message.

    Raises:
        StartError: it ended, or was not ready in time.
    """
    deadline = time.monotonic() + seconds
    while process.is_alive():
        if is_ready():
            return
        if time.monotonic() > deadline:
            raise StartError(f"{name} was not ready within {seconds:.0f} s. The end of {log}:\n{read_tail(log)}")
        time.sleep(_POLL)
    raise StartError(f"{name} ended while it started. The end of {log}:\n{read_tail(log)}")


def stop(process: Process, pid_file: Path, grace: float, polite_signal: signal.Signals = signal.SIGTERM) -> bool:
    """Stop a program and what it started, politely first.

    Args:
        process: what `start` or `load` gave.
        pid_file: removed when it is gone.
        grace: seconds that it has to end by itself after the signal; then it is killed.
        polite_signal: asks it to end.

    Returns:
        Whether it ended by itself.
    """
    polite = True
    if process.is_alive():
        _signal(os.kill, process.pid, polite_signal)
        polite = _wait_gone(process, grace)
    _kill_group(process)
    _wait_gone(process, _KILL_SECONDS)
    if child := _children.pop(process.pid, None):
        child.wait()
    pid_file.unlink(missing_ok=True)
    return polite


def read_tail(log: Path) -> str:
    """Return the last lines of a log; long ones cut."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return "(no log)"
    return "\n".join(line[:500] for line in lines[-_TAIL_LINES:])


def _read_note(pid_file: Path) -> Process | None:
    try:
        noted = json.loads(pid_file.read_text(encoding="utf-8"))
        return Process(int(noted["pid"]), int(noted["started"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _mark(pid_file: Path) -> str:
    return str(pid_file.resolve())


def _list_marked(pid_file: Path) -> list[int]:
    """Processes that were started to be noted in the file, and their children, by the variable they inherited."""
    mark = f"{_MARK}={_mark(pid_file)}".encode("utf-8", "surrogateescape")
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):  # it ended meanwhile, or is another user's
            if entry.name.isdigit() and mark in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
    return found


def _wait_gone(process: Process, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while process.is_alive():
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL)
    return True


def _kill_group(process: Process) -> None:
    """Kill a program and its children, Triton's stubs say, also those that it left behind.

    As long as its group has members the system gives its id to nobody else; so an id with another start time says that
    the group is gone, and that the new bearer is to be left alone.
    """
    stat = _read_stat(process.pid)
    if stat is None or stat[1] == process.started:
        _signal(os.killpg, process.pid, signal.SIGKILL)


def _signal(send: Callable[[int, int], None], pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):  # it ended meanwhile
        send(pid, number)


def _read_stat(pid: int) -> tuple[str, int] | None:
    """Return the state and the start time of a process, or of its remains (state Z); None if there is none.

    A process of which only the first thread has ended has not ended itself: its others may hold its ports still.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = stat[stat.rindex(")") + 2 :].split()
    return fields[_STATE] if int(fields[_THREADS]) <= 1 else "R", int(fields[_START_TIME])
