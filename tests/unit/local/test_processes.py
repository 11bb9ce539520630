"""Programs started, known again and stopped."""

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from local import processes
from local.errors import StartError

FOREVER = "import time; print('started', flush=True); time.sleep(600)"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {FOREVER}"
PARENT = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {STUBBORN!r}]); {FOREVER}"


class Program:
    """A Python program in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "logs/program.log"
        self.pid_file = folder / "pids/program.json"
        self.folder = folder
        self.process: processes.Process | None = None

    def start(self, code: str) -> processes.Process:
        command = [sys.executable, "-u", "-c", code]
        self.process = processes.start(command, dict(os.environ), self.folder, self.log, self.pid_file)
        return self.process

    def start_with_child(self) -> int:
        """Start a program that starts another; returns the other's pid, when both run."""
        process = self.start(PARENT)
        self.wait("started\nstarted")
        return next(int(path.name) for path in Path("/proc").glob("[0-9]*") if _parent(int(path.name)) == process.pid)

    def wait(self, text: str, seconds: float = 20) -> None:
        assert self.process
        ready = lambda: text in self.log.read_text()  # noqa: E731
        processes.wait_ready("program", self.process, ready, seconds, self.log)


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    """A program that is gone after the test, whatever came."""
    program = Program(tmp_path)
    yield program
    if program.process:
        processes.stop(program.process, program.pid_file, 0)


def test_a_program_is_found_again_by_its_file_and_stopped(program: Program) -> None:
    process = program.start(FOREVER)
    program.wait("started")
    again = processes.load(program.pid_file)
    assert again == process
    assert processes.stop(process, program.pid_file, 10)
    assert not process.is_alive()
    assert processes.load(program.pid_file) is None
    assert not program.pid_file.exists()


def test_it_leads_a_session_so_that_ctrl_c_passes_it_by(program: Program) -> None:
    process = program.start(FOREVER)
    assert os.getsid(process.pid) == os.getpgid(process.pid) == process.pid


def test_one_that_was_not_noted_yet_is_found_and_killed(program: Program) -> None:
    """As where the program that started it was killed in between."""
    process = program.start(FOREVER)
    program.wait("started")
    program.pid_file.unlink()
    assert processes.load(program.pid_file) is None
    processes.sweep(program.pid_file.with_name("other.json"))
    assert process.is_alive()
    processes.sweep(program.pid_file)
    wait_gone(process.pid)


def test_one_that_ignores_sigterm_is_killed(program: Program) -> None:
    process = program.start(STUBBORN)
    program.wait("started")
    assert not processes.stop(process, program.pid_file, 0.3)
    assert not process.is_alive()


def test_its_children_go_with_it(program: Program) -> None:
    child = program.start_with_child()
    assert program.process
    processes.stop(program.process, program.pid_file, 10)
    wait_gone(child)


def test_the_children_of_one_that_was_killed_go_too(program: Program) -> None:
    """By `stop` here, and by `sweep` in another run, which has the file alone."""
    for clean in (lambda process: processes.stop(process, program.pid_file, 10), lambda _: None):
        child = program.start_with_child()
        assert program.process
        os.kill(program.process.pid, signal.SIGKILL)
        wait_gone(program.process.pid)
        assert _parent(child) is not None
        clean(program.process)
        processes.sweep(program.pid_file)
        wait_gone(child)
        assert not program.pid_file.exists()


def test_sweeping_leaves_alone_what_runs(program: Program) -> None:
    process = program.start(FOREVER)
    processes.sweep(program.pid_file)
    assert process.is_alive()
    assert processes.load(program.pid_file) == process


def test_another_program_with_its_pid_is_left_alone(program: Program) -> None:
    """After a reboot, or when pids have wrapped around."""
    noted_elsewhere, program.pid_file = program.pid_file, program.pid_file.with_name("other.json")
    process = program.start(FOREVER)
    program.pid_file = noted_elsewhere
    program.pid_file.write_text(json.dumps({"pid": process.pid, "started": process.started - 1}))
    assert processes.load(program.pid_file) is None
    assert not processes.Process(process.pid, process.started - 1).is_alive()
    processes.sweep(program.pid_file)
    assert process.is_alive()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"pid": "x", "started": 1}', "not json"])
def test_a_broken_pid_file_is_not_a_program(tmp_path: Path, text: str) -> None:
    (tmp_path / "p").write_text(text)
    assert processes.load(tmp_path / "p") is None


def test_one_that_ends_while_it_starts_is_reported_with_its_log(program: Program) -> None:
    program.start("raise SystemExit('the reason')")
    with pytest.raises(StartError, match=r"program ended while it started.*\n.*the reason"):
        program.wait("never")


def test_one_that_is_not_ready_in_time_is_reported(program: Program) -> None:
    program.start(FOREVER)
    with pytest.raises(StartError, match="program was not ready within 0 s"):
        program.wait("never", seconds=0.2)


def test_a_program_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="/nowhere cannot be started"):
        processes.start(["/nowhere"], {}, tmp_path, tmp_path / "log", tmp_path / "pid")


def test_the_former_log_is_kept_next_to_the_new_one(program: Program) -> None:
    program.log.parent.mkdir()
    program.log.write_text("before")
    program.start(FOREVER)
    assert program.log.with_suffix(".old").read_text() == "before"


def wait_gone(pid: int) -> None:
    deadline = time.monotonic() + 10
    while _parent(pid) is not None and time.monotonic() < deadline:
        time.sleep(0.02)
    assert _parent(pid) is None


def _parent(pid: int) -> int | None:
    """Return a process's parent; None if it is gone, or only its remains are there."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[1])
