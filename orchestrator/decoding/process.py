"""The decoding process: `python -m orchestrator.decoding.process DESCRIPTOR`, which the service starts.

It loads the decoders once and then forks for each file, so that a file finds a clean process, with limits of its own,
and whatever it does there ends with it. Nothing here is shared with another file, and nothing has a network or a key.
"""

import ctypes
import gc
import mmap
import os
import resource
import signal
import socket
import sys
from collections.abc import MutableMapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import structlog

from orchestrator.arrays import Pixels
from orchestrator.decoding import messages
from orchestrator.decoding.messages import Outcome, Task
from orchestrator.errors import InvalidRequestError
from orchestrator.imaging.decode import DecodeLimits, decode, measure

_KILLED_FIRST = "1000"
"""The kernel's score for what it kills first when memory is short (proc(5), oom_score_adj)."""
_DATA_PAGES = 5
"""Which number of /proc/self/statm counts writable private memory, in pages (proc(5))."""
_PR_SET_PDEATHSIG = 1
"""prctl(2): the signal that comes when the parent ends."""


def main(descriptor: int) -> None:
    """Fork for each socket that comes over the descriptor, until the service is gone."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel buries the dead
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_KILLED_FIRST)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    gc.disable()  # a fork lives for one file; and what the collector touches would be copied for it
    gc.freeze()
    with socket.socket(fileno=descriptor) as service:
        while True:
            data, descriptors, _, _ = socket.recv_fds(service, 1, 1)
            if not data:
                return
            if os.fork() == 0:
                service.close()
                _serve(socket.socket(fileno=descriptors[0]))
            messages.close(*descriptors)


def _serve(service: socket.socket) -> NoReturn:
    """Do one task in this process, which ends with it."""
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # decoders write lines of their own
        socket.send_fds(service, [b"{}"], [os.pidfd_open(os.getpid())])
        received = messages.receive(service)
        if received is not None:
            fields, (file,) = received
            outcome, descriptors = _perform(Task(**fields), file)
            messages.send(service, outcome, *descriptors)
    finally:
        os._exit(0)


def _perform(task: Task, file: int) -> tuple[Outcome, list[int]]:
    notes: list[dict[str, Any]] = []
    _keep_logs(notes)
    _limit(task)
    limits = DecodeLimits(max_pixels=task.max_pixels, max_side=task.max_side)
    shared = _Shared()
    try:
        data = os.pread(file, os.fstat(file).st_size, 0)
        if task.work == "measure":
            found = measure(data, limits, task.field)
            return Outcome(answer=[found.width, found.height, found.decoded, found.memory], notes=notes), []
        pixels = decode(data, limits, task.field, shared.allocate)
        os.ftruncate(shared.descriptor, pixels.nbytes)
        return Outcome(answer=[*pixels.shape], notes=notes), [shared.descriptor]
    except InvalidRequestError as error:
        return Outcome(violations=[*error.violations], notes=notes), []
    except MemoryError:
        return Outcome(out_of_memory=True), []


def _limit(task: Task) -> None:
    """Take no more memory and time than the task has, in addition to what the process has already."""
    pages = int(Path("/proc/self/statm").read_text().split()[_DATA_PAGES])
    memory = pages * mmap.PAGESIZE + task.memory
    resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (task.seconds + 1, task.seconds + 1))  # the service counts by the clock
    resource.setrlimit(resource.RLIMIT_FSIZE, (_result_bytes(task), _result_bytes(task)))


def _result_bytes(task: Task) -> int:
    """The largest picture: four channels."""
    return 4 * task.max_pixels


class _Shared:
    """Memory for the pixels that the service will see too; without a copy and without a name."""

    descriptor = -1

    def allocate(self, shape: tuple[int, ...]) -> Pixels:
        """As numpy.empty; called once."""
        self.descriptor = os.memfd_create("pixels")
        size = int(np.prod(shape))
        os.ftruncate(self.descriptor, size)
        return np.frombuffer(mmap.mmap(self.descriptor, size), np.uint8).reshape(shape)


def _keep_logs(notes: list[dict[str, Any]]) -> None:
    """Collect log lines in place of writing them: the service writes them with the request's id."""

    def keep(_logger: object, _method: str, line: MutableMapping[str, Any]) -> NoReturn:
        notes.append({name: str(value)[:500] for name, value in line.items()})
        raise structlog.DropEvent

    structlog.configure(processors=[keep], cache_logger_on_first_use=False)


if __name__ == "__main__":
    main(int(sys.argv[1]))
