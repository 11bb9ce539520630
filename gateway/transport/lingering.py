"""How connections end whose client may still be sending."""

import asyncio
from collections.abc import Callable
from typing import Any

LINGER_SECONDS, LINGER_BYTES = 30.0, 256 * 1024 * 1024
"""For which, and of which, what a client still sends is discarded once its answer is written. A client that sends its
whole body before it reads would otherwise see a reset connection instead of the answer."""


class LingeringTransport:
    """A transport whose end waits until the client, which may still be sending, has read what was written to it."""

    def __init__(self, transport: asyncio.Transport, has_unread_input: Callable[[], bool]) -> None:
        self._transport, self._has_unread_input = transport, has_unread_input
        self._discarded = 0
        self._timer: asyncio.TimerHandle | None = None

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  # whatever the transport has
        return getattr(self._transport, name)

    def is_closing(self) -> bool:
        """Whether nothing will be written any more."""
        return self._timer is not None or self._transport.is_closing()

    def close(self) -> None:
        """Close, once what the client sends has ended or is beyond what is waited for (RFC 9112, 9.6)."""
        if self.is_closing():
            return
        if not self._has_unread_input():
            self._transport.close()
            return
        self._timer = asyncio.get_running_loop().call_later(LINGER_SECONDS, self._transport.abort)
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self._transport.resume_reading()

    def discard(self, size: int) -> None:
        """Count bytes that have arrived and that nobody reads."""
        self._discarded += size
        if self._discarded > LINGER_BYTES:
            self._transport.abort()

    def abort(self) -> None:
        """Close at once."""
        self._transport.abort()

    def end(self) -> None:
        """The transport has closed."""
        if self._timer is not None:
            self._timer.cancel()
