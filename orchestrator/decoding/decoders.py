"""Decoding from the service's side: starts the decoding process, and asks it for one file at a time each."""

import asyncio
import mmap
import os
import signal
import socket
import subprocess
import sys
import threading
from base64 import b64decode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Literal

import numpy as np
import structlog

from common.errors import SettingsError
from orchestrator import metrics
from orchestrator.arrays import Pixels
from orchestrator.decoding import messages
from orchestrator.decoding.messages import Outcome, Task
from orchestrator.errors import InvalidRequestError, Reason, Violation
from orchestrator.imaging.decode import DecodeLimits, Measured

HEADER_MEMORY = 256 << 20
"""Bytes that reading a file's header may take: the file, twice, and what decoders set up."""

_ONE_PIXEL = b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg==")
"""A grey PNG file."""

log = structlog.get_logger()


class DecoderProcess:
    """The process that forks for each file; started when it is first needed, and again if it has ended."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    def start(self) -> None:
        """Start the process where it does not run. It may take a second: call it in a thread."""
        with self._lock:
            if self._process is None or self._process.poll() is not None:
                self._stop()
                self._start()

    def fork(self) -> socket.socket:
        """A connection to a new decoder.

        Raises:
            OSError: the process has ended.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            try:
                if self._control is None:
                    raise ConnectionResetError("the decoding process is not running")
                socket.send_fds(self._control, [b"1"], [theirs.fileno()])
            except OSError:
                ours.close()
                raise
        return ours

    def close(self) -> None:
        """End the process; decoders that run end with it."""
        with self._lock:
            self._stop()

    def _start(self) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603  # our own module
                [sys.executable, "-m", "orchestrator.decoding.process", str(theirs.fileno())],
                env=_environment(),
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    def _stop(self) -> None:
        if self._control is not None:
            self._control.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._control = self._process = None


class Decoders:
    """Reads files, a few at a time, each in a process with its own limits of memory and time."""

    def __init__(self, process: DecoderProcess, *, at_once: int, seconds: int) -> None:
        """Nothing is started yet.

        Args:
            process: that forks.
            at_once: files that are decoded at a time; others wait.
            seconds: longest time for one file, of the clock and of the CPU.
        """
        self._process, self._seconds = process, seconds
        self._places = asyncio.Semaphore(at_once)

    async def prove(self) -> None:
        """Decode one pixel, so that a system on which decoders cannot run is found at start.

        Raises:
            SettingsError: they cannot.
        """
        try:
            await self.decode(_ONE_PIXEL, DecodeLimits(), "file", HEADER_MEMORY)
        except (InvalidRequestError, OSError) as error:
            raise SettingsError(
                f"files cannot be decoded here ({error}): the decoding process needs Linux 5.3 or newer, and to be"
                " allowed fork, memfd_create and pidfd_open"
            ) from error

    async def measure(self, data: bytes, limits: DecodeLimits, field: str) -> Measured:
        """See imaging.decode.measure.

        Raises:
            InvalidRequestError: as there; and the decoder crashed, or needed too much memory or time.
        """
        answer, _ = await self._ask("measure", data, limits, field, HEADER_MEMORY + 2 * len(data))
        return Measured(*answer)

    async def decode(self, data: bytes, limits: DecodeLimits, field: str, memory: int) -> Pixels:
        """See imaging.decode.decode. `memory` is what `measure` found, in bytes.

        The pixels are in memory that the process has shared, and are given back when nothing refers to them any more.

        Raises:
            InvalidRequestError: as there; and the decoder crashed, or needed too much memory or time.
        """
        shape, descriptors = await self._ask("decode", data, limits, field, memory)
        try:
            return np.frombuffer(mmap.mmap(descriptors[0], 0), np.uint8).reshape(shape)
        finally:
            messages.close(*descriptors)

    async def _ask(
        self, work: Literal["measure", "decode"], data: bytes, limits: DecodeLimits, field: str, memory: int
    ) -> tuple[list[int], list[int]]:
        task = Task(
            work=work,
            field=field,
            max_pixels=limits.max_pixels,
            max_side=limits.max_side,
            memory=memory,
            seconds=self._seconds,
        )
        async with self._places:
            outcome, descriptors = await self._outcome(task, data)
        for note in outcome.notes:
            log.info(note.pop("event", "decoder"), **note)
        if outcome.out_of_memory:
            raise self._failed("out_of_memory", field, "needs more memory than a picture of its size may take")
        if outcome.violations:
            metrics.DECODED.labels("refused").inc()
            raise InvalidRequestError(*outcome.violations)
        metrics.DECODED.labels("done").inc()
        return outcome.answer, descriptors

    async def _outcome(self, task: Task, data: bytes) -> tuple[Outcome, list[int]]:
        """What a new decoder answers.

        Raises:
            InvalidRequestError: nothing, or not in time.
        """
        try:
            async with asyncio.timeout(self._seconds), self._decoder() as decoder:
                await asyncio.to_thread(_hand_over, decoder, task, data)
                received = await _receive(decoder)
        except TimeoutError:
            said = f"takes more than {self._seconds} seconds to decode; send a smaller or simpler file"
            raise self._failed("timed_out", task.field, said) from None
        except OSError as error:
            log.warning("decoder lost", reason=repr(error))
            received = None
        if received is None:
            raise self._failed(
                "crashed", task.field, "cannot be decoded: its decoder crashed; send it as another kind of file"
            )
        fields, descriptors = received
        return messages.outcome(fields), descriptors

    @asynccontextmanager
    async def _decoder(self) -> AsyncIterator[socket.socket]:
        """A connection to a new decoder, which is dead afterwards, whatever happened."""
        await asyncio.to_thread(self._process.start)
        with self._process.fork() as connection:
            connection.setblocking(False)
            hello = await _receive(connection)
            if hello is None:
                raise ConnectionResetError("the decoder ended before it started")
            _, (pidfd,) = hello
            try:
                yield connection
            finally:
                with suppress(ProcessLookupError):
                    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
                await _readable(pidfd)  # it is dead, and its memory is free
                os.close(pidfd)

    def _failed(self, outcome: str, field: str, description: str) -> InvalidRequestError:
        metrics.DECODED.labels(outcome).inc()
        log.warning("picture not decoded", field=field, outcome=outcome)
        return InvalidRequestError(Violation(field, description, Reason.UNIDENTIFIED_IMAGE))


def _environment() -> dict[str, str]:
    """Of the process: no settings and no keys. One thread of each library: what has threads must not fork."""
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    single = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}
    return kept | single | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


def _hand_over(decoder: socket.socket, task: Task, data: bytes) -> None:
    """Send a task and the file, which is in memory without a name."""
    descriptor = os.memfd_create("file")
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
        messages.send(decoder, task, descriptor)
    finally:
        os.close(descriptor)


async def _receive(connection: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """The next message."""
    await _readable(connection.fileno())
    return messages.receive(connection)


async def _readable(descriptor: int) -> None:
    """Wait until a descriptor can be read."""
    loop = asyncio.get_running_loop()
    ready = loop.create_future()

    def set_ready() -> None:
        if not ready.done():
            ready.set_result(None)

    loop.add_reader(descriptor, set_ready)
    try:
        await ready
    finally:
        loop.remove_reader(descriptor)
