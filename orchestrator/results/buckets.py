"""Objects in a folder, S3, Google's or Azure's storage, through obstore: written whole or not at all, within bounds.

Everything that goes wrong leaves as an error of faults.py; what it means to a client is the callers' to say.
"""

import asyncio
import itertools
import os
import stat
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import obstore
from obstore.store import AzureStore, GCSStore, LocalStore, S3Store

from orchestrator.results.faults import (
    MissingError,
    NotAFileError,
    RefusedError,
    TooLargeError,
    UnreachableError,
    translated,
)

if TYPE_CHECKING:  # obstore has no such module while it runs
    from obstore.store import ObjectStore

SPACE_BYTES = 16 * 1024 * 1024
"""A disk with less left is full: a picture that is being written may need as much."""

CHUNK_BYTES = 64 * 1024
"""Largest piece of an object that is handed on, bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """How long a cloud's storage is waited for, seconds.

    Attributes:
        connect: for a connection.
        read: for the answer to a request, and for each further part of it.
        total: for all of an answer: a slow reader of a picture has as long.
        retry: after this a failed request is not sent again.
        retries: of a request, at most.
    """

    connect: float = 3.0
    read: float = 30.0
    total: float = 600.0
    retry: float = 20.0
    retries: int = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Location:
    """Where in S3 a bucket is.

    Attributes:
        bucket: its name.
        prefix: of every object's name in it; may be empty.
        endpoint: http or https URL of the server; None for AWS's, or AWS_ENDPOINT_URL.
        region: None for AWS_REGION, else us-east-1.
        keys: access key id and secret access key; None for what the AWS_* variables or the machine's role give.
    """

    bucket: str
    prefix: str = ""
    endpoint: str | None = None
    region: str | None = None
    keys: tuple[str, str] | None = field(default=None, repr=False)


class Bucket:
    """Objects by their paths, "/" between the parts. Safe to use from several tasks, and from several processes."""

    def __init__(self, store: "ObjectStore", folder: Path | None = None) -> None:
        """`folder` is where a local store's files are."""
        self._store, self._folder = store, folder

    @classmethod
    def local(cls, folder: Path) -> "Bucket":
        """A folder, created if missing.

        Raises:
            OSError: it cannot be created.
        """
        return cls(LocalStore(folder, mkdir=True), folder)

    @classmethod
    def s3(cls, place: S3Location, timeouts: Timeouts | None = None) -> "Bucket":
        """A bucket of an S3. Connects to nothing yet.

        Raises:
            RefusedError: obstore does not take the place.
        """
        given: dict[str, object] = {"endpoint": place.endpoint, "region": place.region}
        if place.keys is not None:
            key_id, secret = place.keys
            keys = {"access_key_id": key_id, "secret_access_key": secret, "token": None, "expires_at": None}
            given["credential_provider"] = lambda: keys  # goes before all AWS_* variables, a session's token among them
        with translated():
            store = S3Store(
                place.bucket,
                prefix=place.prefix or None,
                **_waits(timeouts or Timeouts()),
                **{name: value for name, value in given.items() if value is not None},  # type: ignore[arg-type]  # by name
            )
        return cls(store)

    @classmethod
    def gcs(cls, bucket: str, prefix: str = "", timeouts: Timeouts | None = None) -> "Bucket":
        """A bucket of Google Cloud Storage. Connects to nothing yet.

        Keys are those of the GOOGLE_* variables; without them the identity of the machine, or of its pod.

        Raises:
            RefusedError: obstore does not take it.
        """
        with translated():
            return cls(GCSStore(bucket, prefix=prefix or None, **_waits(timeouts or Timeouts())))

    @classmethod
    def azure(cls, account: str, container: str, prefix: str = "", timeouts: Timeouts | None = None) -> "Bucket":
        """A container of a storage account of Azure. Connects to nothing yet.

        Keys are those of the AZURE_* variables, by which a pod also has its identity (AZURE_FEDERATED_TOKEN_FILE);
        without them the identity of the machine.

        Raises:
            RefusedError: obstore does not take it.
        """
        with translated():
            waits = _waits(timeouts or Timeouts())
            return cls(AzureStore(container, account_name=account, prefix=prefix or None, **waits))

    @property
    def signs(self) -> bool:
        """Whether `sign` works."""
        return isinstance(self._store, S3Store)

    async def check_space(self) -> None:
        """Raise UnreachableError if a folder's disk has less than SPACE_BYTES left; a cloud has no such bound."""
        if self._folder is not None:
            with translated():
                left = await asyncio.to_thread(os.statvfs, self._folder)
            if left.f_bavail * left.f_frsize < SPACE_BYTES:
                raise UnreachableError(f"{left.f_bavail * left.f_frsize} bytes are left, fewer than {SPACE_BYTES}")

    async def put(self, path: str, data: bytes, media_type: str) -> None:
        """Write an object: nobody ever sees a part of it. What was there is replaced.

        Raises:
            RefusedError, UnreachableError: as their names say; nothing was written, or all of it.
        """
        # One request: a broken multipart upload would leave parts behind.
        try:
            with translated():
                if self._folder is None:
                    kind = {"Content-Type": media_type}
                    await obstore.put_async(self._store, path, data, use_multipart=False, attributes=kind)
                else:
                    await obstore.put_async(self._store, path, data, use_multipart=False)
                    await asyncio.to_thread(_flush, self._folder / path)
        except MissingError:
            raise RefusedError("no such bucket") from None

    async def get(self, path: str) -> tuple[int, AsyncIterator[bytes]]:
        """Size of an object, bytes, and its bytes in chunks of at most CHUNK_BYTES, fetched as they are asked for.

        Raises:
            MissingError, RefusedError, UnreachableError: at once, or, the last, while reading.
            NotAFileError: in a folder: there is a link, or something else that is not a file.
        """
        if self._folder is not None:
            with translated():
                size = await asyncio.to_thread(_size, self._folder / path)
            return size, _read(self._folder / path)
        with translated():
            answer = await obstore.get_async(self._store, path)
        return answer.meta["size"], _cut(answer.stream(min_chunk_size=CHUNK_BYTES))

    async def read(self, path: str, max_bytes: int) -> bytes:
        """A whole object; one that says that it is larger than `max_bytes` is not read at all.

        Raises:
            TooLargeError: it is.
            MissingError, RefusedError, UnreachableError: as get.
        """
        size, chunks = await self.get(path)
        data = bytearray()
        if size <= max_bytes:
            async for chunk in chunks:
                data += chunk
                if len(data) > max_bytes:
                    break
        if size > max_bytes or len(data) > max_bytes:
            raise TooLargeError(max_bytes)
        return bytes(data)

    async def delete(self, path: str) -> None:
        """Remove an object, and what a crash has left of writing it. It is no error if it is gone already.

        Raises:
            RefusedError, UnreachableError: it may be there still.
        """
        try:
            with translated():
                await obstore.delete_async(self._store, path)
        except MissingError:  # of a folder; S3 says nothing
            pass
        if self._folder is not None:
            await asyncio.to_thread(_remove_parts, self._folder / path)

    def sign(self, path: str, seconds: float) -> str:
        """A presigned URL under which anybody can read an object for some seconds, up to 7 days. Makes no request."""
        return obstore.sign(self._store, "GET", path, timedelta(seconds=seconds))  # type: ignore[call-overload,no-any-return]  # see signs


def _waits(timeouts: Timeouts) -> dict[str, Any]:
    """Arguments of obstore's stores."""
    return {
        "client_options": {
            "allow_http": True,  # the endpoint's URL says which it is
            "connect_timeout": timedelta(seconds=timeouts.connect),
            "read_timeout": timedelta(seconds=timeouts.read),
            "timeout": timedelta(seconds=timeouts.total),
        },
        "retry_config": {"max_retries": timeouts.retries, "retry_timeout": timedelta(seconds=timeouts.retry)},
    }


async def _cut(stream: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Chunks of at most CHUNK_BYTES: the store's own may be larger."""
    with translated():
        async for part in stream:
            for start in range(0, len(part), CHUNK_BYTES):
                yield bytes(part[start : start + CHUNK_BYTES])


def _size(path: Path) -> int:
    """Size of a file, bytes; links are not followed, so nothing outside the folder is ever read."""
    found = path.lstat()
    if not stat.S_ISREG(found.st_mode):
        raise NotAFileError(f"{path} is not a file: {stat.filemode(found.st_mode)}")
    return found.st_size


async def _read(path: Path) -> AsyncIterator[bytes]:
    """The bytes of a file. It is opened for the first of them, and closed when nobody asks for more."""
    with translated():
        descriptor = await asyncio.to_thread(os.open, path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            while chunk := await asyncio.to_thread(os.read, descriptor, CHUNK_BYTES):
                yield chunk
        finally:
            os.close(descriptor)


def _flush(file: Path) -> None:
    """Bring a file and its name onto the disk: a job that says it has a picture has it after a power cut, too."""
    for path in (file, file.parent):
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _remove_parts(file: Path) -> None:
    """Remove the files that obstore writes before it renames one: NAME#1, and NAME#2 where #1 was there already."""
    for number in itertools.count(1):
        try:
            file.with_name(f"{file.name}#{number}").unlink()
        except FileNotFoundError:
            return
