"""HTTP as h11 parses it, with limits that h11 does not have."""

from typing import Any

import h11

MAX_HEAD_BYTES = 32 * 1024
"""Longest request line and headers, together; also longest line of a chunk, and longest trailers."""
MAX_TARGET_BYTES = 8 * 1024
"""Longest path and query."""
MAX_HEADERS = 100
_MIN_CHUNK_BYTES, _FREE_CHUNKS = 64, 1024
"""Chunks of a body must have the first on average, after the second. Each costs as much as a kilobyte."""
_CODES = {408: "REQUEST_TIMEOUT", 414: "URI_TOO_LONG", 431: "HEADERS_TOO_LARGE"}


class LimitedParser(h11.Connection):
    """h11's, with limits that it does not have. Its own limit is the bytes of an event that is not whole."""

    def __init__(self) -> None:
        super().__init__(h11.SERVER, MAX_HEAD_BYTES)
        self.status = 400
        self.is_broken = False
        self._chunks = self._bytes = 0

    def next_event(self) -> Any:  # noqa: ANN401  # any of h11's events, and two marks
        """As of h11.

        Raises:
            h11.RemoteProtocolError: what came is not HTTP, or beyond a limit; `status` is the answer to it.
        """
        try:
            event = super().next_event()
        except h11.RemoteProtocolError as error:
            self.status, self.is_broken = error.error_status_hint, True
            raise
        if isinstance(event, h11.Request):
            self._chunks = self._bytes = 0
            if len(event.target) > MAX_TARGET_BYTES:
                self._refuse(414)
            if len(event.headers) > MAX_HEADERS:
                self._refuse(431)
        elif isinstance(event, h11.Data) and event.chunk_end:
            self._chunks, self._bytes = self._chunks + 1, self._bytes + len(event.data)
            if self._chunks > _FREE_CHUNKS + self._bytes // _MIN_CHUNK_BYTES:
                self._refuse(400)
        return event

    def _refuse(self, status: int) -> None:
        self.status, self.is_broken = status, True
        raise h11.RemoteProtocolError("beyond a limit", status)


def refusal(status: int, otherwise: str) -> tuple[str, str]:
    """The code and the message of an answer to what is beyond a limit, or is not HTTP."""
    messages = {
        414: f"The path and query are longer than {MAX_TARGET_BYTES} bytes",
        431: f"The request has more than {MAX_HEADERS} headers, or they are longer than {MAX_HEAD_BYTES} bytes",
    }
    return _CODES.get(status, "BAD_REQUEST"), messages.get(status, otherwise)
