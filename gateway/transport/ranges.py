"""Parts of a file: Range and If-Range (RFC 9110, 14)."""

import re
from dataclasses import dataclass

_ONE = re.compile(r"\s*bytes\s*=\s*(\d{0,18})\s*-\s*(\d{0,18})\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes of a file: from `start` to `end`, which is not part of it."""

    start: int
    end: int

    def header(self, size: int) -> str:
        """Content-Range of this part of a file of `size` bytes."""
        return f"bytes {self.start}-{self.end - 1}/{size}"


class UnsatisfiableError(Exception):
    """None of the bytes that are asked for are there."""


def wanted(header: str | None, condition: str | None, etag: str, size: int) -> Part | None:
    """The part that a request asks for; None for the whole.

    Several ranges, other units and what cannot be read are answered with the whole, as RFC 9110, 14.2 allows. So is a
    condition (If-Range) that does not name `etag` strongly.

    Raises:
        UnsatisfiableError: the range is beyond the end of the file.
    """
    found = _ONE.fullmatch(header or "")
    if found is None or not (found[1] or found[2]) or (condition is not None and condition.strip() != etag):
        return None
    if not found[1]:  # the last bytes
        start, end = max(0, size - int(found[2])), size
    else:
        start, end = int(found[1]), min(size, int(found[2]) + 1) if found[2] else size
        if found[2] and int(found[2]) < start:
            return None
    if start >= size or start >= end:
        raise UnsatisfiableError
    return Part(start, end)
