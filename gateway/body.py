"""The body of a POST, from the socket to a JSON document, with every limit checked before the work that it bounds."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import TypeVar

import pydantic_core
from starlette.requests import Request

from gateway import multipart
from gateway.errors import ApiError, BadRequestError

# A client that sends slower than this holds a connection for nothing.
BODY_SECONDS = 60.0
# Each JSON value follows one of the marks [ { , so they bound the number of Python objects, whose memory is up to 20
# times the text's. Two texts of 100,000 commas still pass.
MAX_MARKS = 250_000
_MARKS = (b"[", b"{", b",")
# A body with a picture in it is copied about five times on its way to the orchestrator. This many of them are in memory
# at once; others wait in their sockets once this much of them has been read.
LARGE_BODIES = 4
LARGE_BYTES = 1024 * 1024
# What is larger is read apart from the event loop, which it would hold up by milliseconds.
QUICK_BYTES = 64 * 1024

Result = TypeVar("Result")


async def read(request: Request, limit: int, slots: asyncio.Semaphore, held: AsyncExitStack) -> bytes:
    """Read the body of a request that says that it is multipart, or does not deny that it is JSON.

    Args:
        request: whose body nobody has read yet.
        limit: longest body, bytes.
        slots: one is taken for a large body.
        held: gives the slot back when it is closed, which is when the body is done with.

    Raises:
        ApiError: 408 too slow; 413 too long, before the rest is read; 415 another media type.
    """
    _check_media_type(request.headers.get("content-type"))
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return await _read(request, limit, slots, held)
    except TimeoutError:
        raise ApiError(408, "The body did not arrive in time", "REQUEST_TIMEOUT") from None


async def apart(size: int, work: Callable[[], Result]) -> Result:
    """Do work on a body of so many bytes: at once if it is quick, else in a thread."""
    return work() if size <= QUICK_BYTES else await asyncio.to_thread(work)


def parse_json(body: bytes, name: str = "The body") -> object:
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


async def _read(request: Request, limit: int, slots: asyncio.Semaphore, held: AsyncExitStack) -> bytes:
    """Read at most `limit` bytes.

    A longer body is refused by its Content-Length before a byte of it is read, and a chunked one as soon as it is too
    long. The server discards what such a client still sends, so that the client gets to read the answer.
    """
    too_long = ApiError(413, f"The body is longer than {limit} bytes", "PAYLOAD_TOO_LARGE")
    announced = request.headers.get("content-length", "")
    if announced.isascii() and announced.isdigit() and int(announced[:20]) > limit:
        raise too_long
    body = bytearray()
    waits = True
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise too_long
        if len(body) > LARGE_BYTES and waits:
            await held.enter_async_context(slots)
            waits = False
    return bytes(body)
