"""The body of a POST, from the socket to a JSON document, with every limit checked before the work that it bounds."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

import pydantic_core
from starlette.requests import Request

from gateway.errors import ApiError, BadRequestError
from gateway.transport import multipart

# For which a client may send nothing, and after which it must have sent as much as the least rate asks for.
PATIENCE_SECONDS = 10.0
# Each JSON value follows one of the marks [ { , so they bound the number of Python objects, whose memory is up to 20
# times the text's. Two texts of 100,000 commas still pass.
MAX_MARKS = 250_000
_MARKS = (b"[", b"{", b",")
# What is larger needs memory of its account's share before it is read on.
SMALL_BYTES = 64 * 1024
# What is larger is read apart from the event loop, which it would hold up by milliseconds.
QUICK_BYTES = 64 * 1024

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Limits:
    """What a body may be.

    Attributes:
        size: bytes.
        rate: bytes a second at least, on average.
    """

    size: int
    rate: int


async def read(request: Request, limits: Limits, hold: Callable[[int], Awaitable[object]]) -> bytearray:
    """Read the body of a request that says that it is multipart, or does not deny that it is JSON.

    Args:
        request: whose body nobody has read yet.
        limits: of the body.
        hold: takes memory for a number of bytes; called at most once, before more than SMALL_BYTES are read.

    Raises:
        ApiError: 408 too slow; 413 too long, before the rest is read; 415 another media type; what `hold` raises.
    """
    _check_media_type(request.headers.get("content-type"))
    size = _announced(request, limits.size)
    if size is not None and size > SMALL_BYTES:
        await hold(size)
    body, chunks = bytearray(), request.stream()
    allowed = _Pace(limits.rate)
    while (chunk := await _next(chunks, allowed)) is not None:
        body += chunk
        allowed.received(len(chunk))
        if len(body) > limits.size:
            raise _too_long(limits.size)
        if size is None and len(body) > SMALL_BYTES:
            size = limits.size
            await allowed.without(hold(size))
    return body


async def run_off_loop(size: int, work: Callable[[], Result]) -> Result:
    """Do work on a body of `size` bytes: at once if it is quick, else in a thread."""
    return work() if size <= QUICK_BYTES else await asyncio.to_thread(work)


def parse_json(body: bytes | bytearray, name: str = "The body") -> object:
    """Parse a JSON text as RFC 8259 has it, in UTF-8, nested up to 200 deep. Of equal keys the last one counts.

    NaN, Infinity, lone surrogates and numbers of more than 4300 digits are not JSON here. Errors call it `name`.

    Raises:
        BadRequestError: it is not JSON, or has more values than any request needs.
    """
    if sum(body.count(mark) for mark in _MARKS) > MAX_MARKS:
        raise BadRequestError(f"{name} has more than {MAX_MARKS} JSON values")
    try:
        return pydantic_core.from_json(body.removeprefix(b"\xef\xbb\xbf"), allow_inf_nan=False)
    except ValueError as error:
        raise BadRequestError(f"{name} is not JSON: {error}") from None


def is_multipart(request: Request) -> bool:
    """Whether the body is a form with files."""
    return _media_type(request.headers.get("content-type")) == multipart.MEDIA_TYPE


def _media_type(header: str | None) -> str:
    """Without parameters. What says nothing is taken for JSON: many clients do so."""
    return (header or "application/json").partition(";")[0].strip().lower()


def _check_media_type(header: str | None) -> None:
    """Refuse what says that it is something else than JSON or a form with files."""
    media_type = _media_type(header)
    if media_type in {"application/json", multipart.MEDIA_TYPE}:
        return
    if not (media_type.startswith("application/") and media_type.endswith("+json")):
        message = f"Content-Type must be application/json or {multipart.MEDIA_TYPE}"
        raise ApiError(415, message, "UNSUPPORTED_MEDIA_TYPE")


def _announced(request: Request, most: int) -> int | None:
    """The length that a request announces; None if it does not."""
    text = request.headers.get("content-length", "")
    if not (text.isascii() and text.isdigit()):
        return None
    size = int(text[:20])
    if size > most:
        raise _too_long(most)
    return size


def _too_long(most: int) -> ApiError:
    return ApiError(413, f"The body is longer than {most} bytes", "PAYLOAD_TOO_LARGE")


class _Pace:
    """How long a body may take. The clock is stopped while this process keeps the client waiting."""

    def __init__(self, rate: int) -> None:
        self._clock = asyncio.get_running_loop().time
        self._rate, self._start, self._size = rate, self._clock(), 0

    def received(self, size: int) -> None:
        """Count bytes that have arrived."""
        self._size += size

    async def without(self, waiting: Awaitable[object]) -> None:
        """Wait for what is not the client's fault."""
        before = self._clock()
        await waiting
        self._start += self._clock() - before

    @property
    def deadline(self) -> float:
        """When the next bytes must be there."""
        stalled = self._clock() + PATIENCE_SECONDS
        return min(stalled, self._start + PATIENCE_SECONDS + self._size / self._rate) if self._rate else stalled


async def _next(chunks: AsyncIterator[bytes], pace: _Pace) -> bytes | None:
    """The next chunk of a body; None at its end."""
    try:
        async with asyncio.timeout_at(pace.deadline):
            return await anext(chunks, None)
    except TimeoutError:
        raise ApiError(408, "The body did not arrive in time", "REQUEST_TIMEOUT") from None
