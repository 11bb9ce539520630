"""The processes that run the models of a Triton: one stub for each."""

import os
import signal
from pathlib import Path


def find_stub(triton_pid: int, model: str) -> int:
    """Process id of a model's stub."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal() and _parent(folder) == triton_pid:
            words = (folder / "cmdline").read_bytes().split(b"\0")
            if words[0].endswith(b"triton_python_backend_stub") and f"/{model}/".encode() in words[1]:
                return int(folder.name)
    raise LookupError(f"Triton {triton_pid} has no stub of {model}")


def send(triton_pid: int, model: str, number: signal.Signals) -> None:
    """Send a signal to a model's stub: SIGKILL as the system does when memory is short, SIGSTOP to freeze it."""
    os.kill(find_stub(triton_pid, model), number)


def _parent(folder: Path) -> int | None:
    try:
        stat = (folder / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:  # it has ended
        return None
    return int(stat[stat.rindex(")") + 2 :].split()[1])
