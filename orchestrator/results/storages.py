"""Storages of accounts: where storage://NAME/PATH is read from and written to.

The operator configures them (command.py), endpoint and keys included, so an endpoint may well be a private address.
What an account writes in a URL is a storage's name and a path under its prefix, and nothing else of it.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache, partial

import structlog
from pydantic import TypeAdapter

from orchestrator.database.pool import Database
from orchestrator.errors import InvalidRequestError, Reason, ResultStoreUnavailableError, Violation
from orchestrator.params import StorageUrl, StorageUrlError
from orchestrator.results.buckets import Bucket, S3Location, Timeouts
from orchestrator.results.faults import (
    NO_BUCKET,
    BucketError,
    MissingError,
    RefusedError,
    TooLargeError,
    UnreachableError,
)

S3 = "s3"
"""The one kind of storage that is served."""

TARGET = "output.target"

PLACES = TypeAdapter(S3Location)
"""A place as imagegen.storages.config has it, and back."""

OPEN_BUCKETS = 256
"""Of all accounts together, whose connections are kept."""

log = structlog.get_logger()

# S3's own words (Amazon S3 API reference, error responses); any other refusal is about permissions.
_REASONS = {
    "InvalidAccessKeyId": Reason.STORAGE_CREDENTIALS,
    "SignatureDoesNotMatch": Reason.STORAGE_CREDENTIALS,
    "ExpiredToken": Reason.STORAGE_TOKEN,
    "InvalidToken": Reason.STORAGE_TOKEN,
    NO_BUCKET: Reason.STORAGE_MISSING,
    "PermanentRedirect": Reason.STORAGE_MISSING,
}
_NAMES = "SELECT name FROM imagegen.storages WHERE account_id = %(account)s ORDER BY name LIMIT 20"
_FIND = "SELECT kind, config FROM imagegen.storages WHERE account_id = %(account)s AND name = %(name)s"


class Storages:
    """Reads and writes in the storages of any account."""

    def __init__(
        self, database: Database, max_bytes: int, *, seconds: float = 60.0, timeouts: Timeouts | None = None
    ) -> None:
        """Connect to nothing yet.

        Args:
            database: knows the storages.
            max_bytes: of an object that is read.
            seconds: longest time for reading or writing an object.
            timeouts: with S3.
        """
        self._database, self._max_bytes, self._seconds = database, max_bytes, seconds
        self._open = lru_cache(OPEN_BUCKETS)(partial(Bucket.s3, timeouts=timeouts))

    async def check(self, account_id: int, url: str, field: str) -> None:
        """Look whether the account has the storage of a URL; the storage itself is not asked.

        Raises:
            InvalidRequestError: it has not, or the URL has a wrong form; of `field`.
            DatabaseUnavailableError: nobody knows.
        """
        await self._find(account_id, _parsed(url, field), field)

    async def read(self, account_id: int, url: str, field: str) -> bytes:
        """The object of a URL. Memory: its size; what is larger than `max_bytes` is not read.

        Raises:
            InvalidRequestError: as check; there is no such object, it is too large, or may not be read.
            ResultStoreUnavailableError: the storage does not answer.
            DatabaseUnavailableError: as check.
        """
        place = _parsed(url, field)
        bucket = await self._find(account_id, place, field)
        with _said(place.name, field, "read"):
            async with asyncio.timeout(self._seconds):
                return await bucket.read(place.path, self._max_bytes)

    async def write(self, account_id: int, url: str, data: bytes, media_type: str, *, name: str = "") -> None:
        """Write an object, whole or not at all; what was there is replaced. `name` is its own where url is a folder.

        Raises:
            InvalidRequestError: as check, or it may not be written; of output.target.
            ResultStoreUnavailableError, DatabaseUnavailableError: as read.
        """
        place = _parsed(url, TARGET).with_file(name)
        bucket = await self._find(account_id, place, TARGET)
        with _said(place.name, TARGET, "written"):
            async with asyncio.timeout(self._seconds):
                await bucket.put(place.path, data, media_type)

    async def _find(self, account_id: int, place: StorageUrl, field: str) -> Bucket:
        rows = await self._database.run(_FIND, {"account": account_id, "name": place.name})
        if not rows:
            own = await self._database.run(_NAMES, {"account": account_id})
            known = ", ".join(row["name"] for row in own) or "none"
            text = f"names the storage {place.name}, which the account does not have; it has {known}"
            raise InvalidRequestError(Violation(field, text, Reason.STORAGE_UNKNOWN))
        (row,) = rows
        if row["kind"] != S3:
            text = f"storage {place.name} is of kind {row['kind']}, which this server does not serve; it serves {S3}"
            raise InvalidRequestError(Violation(field, text, Reason.STORAGE_UNKNOWN))
        with _said(place.name, field, "used"):
            return self._open(PLACES.validate_python(row["config"]))


def _parsed(url: str, field: str) -> StorageUrl:
    try:
        return StorageUrl.parse(url, or_folder=field == TARGET)
    except StorageUrlError as error:
        raise InvalidRequestError(Violation(field, str(error), error.reason)) from None


@contextmanager
def _said(name: str, field: str, done: str) -> Iterator[None]:
    """Errors of a storage as the client's: what S3 itself said, hosts and buckets in it, is in the log alone."""
    try:
        yield
    except (UnreachableError, TimeoutError) as error:
        log.warning("storage unavailable", storage=name, field=field, error=str(error))
        raise ResultStoreUnavailableError(f"storage {name} does not answer") from None
    except BucketError as error:
        log.info("storage refused", storage=name, field=field, error=str(error))
        raise InvalidRequestError(_violation(name, field, done, error)) from None


def _violation(name: str, field: str, done: str, error: BucketError) -> Violation:
    if isinstance(error, MissingError):
        text = f"is not there: storage {name} has nothing under this path"
        return Violation(field, text, Reason.STORAGE_MISSING)
    if isinstance(error, TooLargeError):
        text = f"is larger than {error.limit} bytes"
        return Violation(field, text, Reason.ABOVE_MAXIMUM, {"maximum": error.limit})
    code = error.code if isinstance(error, RefusedError) else ""
    reason = _REASONS.get(code, Reason.STORAGE_PERMISSION)
    return Violation(field, f"cannot be {done}: storage {name} refuses it", reason)
