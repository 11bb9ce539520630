"""Bodies of requests that were compressed on their way (RFC 9110, 8.4), decompressed within a limit."""

import zlib
from collections.abc import Callable, Mapping
from types import MappingProxyType

import brotli  # type: ignore[import-untyped]  # published without types

from gateway.errors import ApiError, BadRequestError

STEP = 256 * 1024
"""Bytes that are decompressed at a time: what is too long is noticed before more of it is there."""
_GZIP, _ZLIB = zlib.MAX_WBITS | 16, zlib.MAX_WBITS


def check(header: str | None) -> str:
    """The coding of a body; "" for none.

    Raises:
        ApiError: 415, with the codings that are read (RFC 9110, 15.5.16).
    """
    coding = (header or "").strip().lower()
    if coding in {"", "identity"}:
        return ""
    if coding not in _CODINGS:
        known = ", ".join(_CODINGS)
        message = f"Content-Encoding must be one of {known}, or left out"
        raise ApiError(415, message, "UNSUPPORTED_MEDIA_TYPE", headers={"Accept-Encoding": known})
    return coding


def decompressed(body: bytearray, coding: str, limit: int) -> bytearray:
    """The body as it was before `coding`, which `check` has answered. Memory: up to limit + STEP.

    Raises:
        ApiError: 413, it is longer than `limit` bytes.
        BadRequestError: it is not of that coding, or cut off.
    """
    try:
        return _CODINGS[coding](body, limit)
    except (zlib.error, brotli.error, EOFError):
        raise BadRequestError(f"The body is not {coding}, though Content-Encoding says so, or is cut off") from None


def _inflated(window: int) -> Callable[[bytearray, int], bytearray]:
    def read(body: bytearray, limit: int) -> bytearray:
        found, rest = bytearray(), bytes(body)
        while rest:  # a gzip file may have several members (RFC 1952, 2.2)
            inflater = zlib.decompressobj(window)
            while not inflater.eof:
                part = inflater.decompress(rest, STEP)
                rest = inflater.unconsumed_tail
                _add(found, part, limit)
                if not part and not rest and not inflater.eof:
                    raise EOFError
            rest = inflater.unused_data if window == _GZIP else b""
        return found

    return read


def _unbrotlied(body: bytearray, limit: int) -> bytearray:
    decompressor, found, rest = brotli.Decompressor(), bytearray(), bytes(body)
    while not decompressor.is_finished():
        part = decompressor.process(rest, output_buffer_limit=STEP)
        rest = b""
        _add(found, part, limit)
        if not part and decompressor.can_accept_more_data() and not decompressor.is_finished():
            raise EOFError
    return found


def _add(found: bytearray, part: bytes, limit: int) -> None:
    found += part
    if len(found) > limit:
        raise ApiError(413, f"The body is longer than {limit} bytes once it is decompressed", "PAYLOAD_TOO_LARGE")


_CODINGS: Mapping[str, Callable[[bytearray, int], bytearray]] = MappingProxyType(
    {"gzip": _inflated(_GZIP), "x-gzip": _inflated(_GZIP), "deflate": _inflated(_ZLIB), "br": _unbrotlied}
)
