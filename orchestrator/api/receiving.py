"""How the message of a call is received: of bounded size, within a bounded time, and only a few at once.

gRPC knows one limit of size for all methods, which must let pictures pass, and it buffers a message until it is whole.
So no message is asked for before it is known who calls, and what is asked for at a time is bounded: until then a call
takes no more than its window of 64 KiB (transport.py). A small message comes with the headers of its call. Whoever
keeps the server waiting for one loses their turn as soon as others wait for it.
"""

import asyncio
import contextlib
import ctypes
from typing import Any

import grpc

from orchestrator.api.rotation import Rotation
from orchestrator.errors import InvalidRequestError, MessageLateError, Violation

OPEN_BYTES = 4096
"""Largest message of a method that needs no key."""
SMALL_BYTES = 64 * 1024
"""Largest message of a method that takes no pictures."""

SMALL_SECONDS = 5.0
"""For a small message, as long as nobody else waits."""
PROMPT_SECONDS = 0.01
"""For a small message while others wait: it is there, and handed over in a fraction of this."""
MAX_OPEN, MAX_SMALL = 2, 4
"""Small messages that are received at a time, of callers without a key and with one."""

LARGE_SECONDS = 120.0
"""For a message with pictures."""
MIN_LARGE, MAX_LARGE, MAX_LARGE_OF_ACCOUNT = 2, 16, 4
"""Messages with pictures that are received at a time, in all (by the memory that is there) and of one account."""

TURN_SECONDS = 30.0
"""For which a call waits for its turn."""
MAX_WAITING = 512
"""Calls of one caller that wait for their turn."""

_TRIM_BYTES = 4 * 1024 * 1024
_TRIM_SECONDS = 2.0
"""Free memory is returned to the system _TRIM_SECONDS after a message of more than _TRIM_BYTES."""

Context = grpc.aio.ServicerContext[Any, Any]


def large_at_once(memory: int, most: int) -> int:
    """How many messages of `most` bytes are received at a time in `memory` bytes."""
    return max(MIN_LARGE, min(MAX_LARGE, memory // most))


class Receiver:
    """Receives the messages of all calls of a server."""

    def __init__(self, large: int = MAX_LARGE) -> None:
        """`large` messages with pictures are received at a time."""
        self._open = Rotation(MAX_OPEN, MAX_OPEN, MAX_WAITING)
        self._small = Rotation(MAX_SMALL, MAX_SMALL, MAX_WAITING)
        self._large = Rotation(large, min(large, MAX_LARGE_OF_ACCOUNT), MAX_WAITING)
        self._trimming: asyncio.TimerHandle | None = None

    async def open(self, context: Context, peer: str) -> bytes | None:
        """Receive a message of a caller without a key, of OPEN_BYTES at most; None if there is none.

        Raises:
            InvalidRequestError: it is larger.
            MessageLateError: it did not arrive in time.
            QueueFullError: too many others are received.
        """
        return self._checked(await _receive_promptly(context, self._open, peer), OPEN_BYTES)

    async def small(self, context: Context, account_id: int) -> bytes | None:
        """Receive a message of an account, of SMALL_BYTES at most; None if there is none. Raises as `open`."""
        return self._checked(await _receive_promptly(context, self._small, account_id), SMALL_BYTES)

    async def large(self, context: Context, account_id: int, most: int) -> bytes | None:
        """Receive a message of an account, with pictures, of `most` bytes; None if there is none. Raises as `open`."""
        async with self._large.turn(account_id, TURN_SECONDS):
            try:
                async with asyncio.timeout(LARGE_SECONDS):
                    return self._checked(await context.read(), most)
            except TimeoutError:
                raise MessageLateError(f"the message did not arrive within {LARGE_SECONDS:.0f} seconds") from None

    def _checked(self, message: Any, most: int) -> bytes | None:  # noqa: ANN401  # bytes, or grpc's mark of the end
        if message is grpc.aio.EOF:
            return None
        assert isinstance(message, bytes)  # noqa: S101  # no deserializer is given
        if len(message) > _TRIM_BYTES and self._trimming is None:
            self._trimming = asyncio.get_running_loop().call_later(_TRIM_SECONDS, self._trim)
        if len(message) > most:
            raise InvalidRequestError(Violation("request", f"has {len(message)} bytes; the limit is {most}"))
        return message

    def _trim(self) -> None:
        self._trimming = None
        asyncio.get_running_loop().run_in_executor(None, _return_memory)


async def _receive_promptly(context: Context, turns: Rotation, caller: str | int) -> object:
    async with turns.turn(caller, TURN_SECONDS):
        reading = asyncio.ensure_future(context.read())
        try:
            deadline = asyncio.get_running_loop().time() + SMALL_SECONDS
            while not reading.done():
                await asyncio.wait({reading}, timeout=PROMPT_SECONDS)
                for _ in range(2):  # of a busy event loop: what arrived meanwhile is handed over in two rounds
                    await asyncio.sleep(0)
                if not reading.done() and (turns.is_waited_for(caller) or asyncio.get_running_loop().time() > deadline):
                    raise MessageLateError("the message of the call did not arrive in time")
            return reading.result()
        finally:
            reading.cancel()


def _return_memory() -> None:
    """malloc_trim(3) where there is one: a message arrives in pieces, and glibc keeps the pages between them."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
