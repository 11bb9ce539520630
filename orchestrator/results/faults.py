"""What can go wrong with a bucket. Messages are for the log: they name hosts, buckets and paths."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError

_STATUS = re.compile(r"status code: (\d{3})")
_ELSEWHERE = "redirect without LOCATION"  # the answer of S3 in another region than the bucket's
_CODE = re.compile(r"<Code>(\w+)</Code>")
NO_BUCKET = "NoSuchBucket"
_NO_BUCKETS = {NO_BUCKET, "ContainerNotFound"}
"""Words of S3 and Google, and of Azure, for a bucket that does not exist."""
_XML, _NEWLINE = "<?xml", "\n"
_WORTH_WAITING = {408, 425, 429}
"""Answers of the 400s that are about the moment, not about the request (RFC 9110, 8470, 6585)."""


class BucketError(Exception):
    """Root of what can go wrong with a bucket. The message is for the log."""


class MissingError(BucketError):
    """There is no such object."""


class NotAFileError(BucketError):
    """What is there is not a file: a link, say, which is not followed."""


class RefusedError(BucketError):
    """S3 refuses: the keys, what they may do, the bucket, the region. Asking again changes nothing.

    Attributes:
        code: S3's own word for it; "" where it has none.
    """

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code


class TooLargeError(BucketError):
    """The object is larger than `limit` bytes."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"more than {limit} bytes")
        self.limit = limit


class UnreachableError(BucketError):
    """No answer, or one of a server in trouble; asking again may help."""


@contextmanager
def translated() -> Iterator[None]:
    """Errors of obstore, which are many and speak Rust, as those of this module."""
    try:
        yield
    except FileNotFoundError as error:
        text, code = _said(error), _code(error)
        raise (RefusedError(text, code) if code in _NO_BUCKETS else MissingError(text)) from None
    except (PermissionDeniedError, UnauthenticatedError, ValueError, NotImplementedError) as error:
        raise RefusedError(_said(error), _code(error)) from None
    except (BaseError, OSError) as error:
        text = _said(error)
        status = int(found[1]) if (found := _STATUS.search(text)) else 0
        is_final = (300 <= status < 500 and status not in _WORTH_WAITING) or _ELSEWHERE in text
        raise (RefusedError(text, _code(error)) if is_final else UnreachableError(text)) from None


def _said(error: Exception) -> str:
    """What obstore says first, and S3's own word for it."""
    return f"{str(error).partition(_XML)[0].partition(_NEWLINE)[0][:500]} {_code(error)}".strip()


def _code(error: Exception) -> str:
    """S3's own word for an error; "" where it has none."""
    return found[1] if (found := _CODE.search(str(error))) else ""
