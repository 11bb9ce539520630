"""The result store: pictures by names that cannot be guessed, for a time. Rows in the database say what is there.

A row is noted before its object is written, so that whatever a crash leaves behind is known, and swept when its time is
over. A picture without its size in the row was never finished: nobody gets it.

What is read is compared with the SHA-256 in the row: a picture up to VERIFIED_BYTES before its first byte is given out,
a larger one before its last.
"""

import asyncio
import hashlib
import re
import secrets
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

import structlog

from orchestrator import metrics
from orchestrator.config import Settings
from orchestrator.database.pool import Connection, Database, Row
from orchestrator.errors import CorruptResultError, ImagegenError, NotFoundError, ResultStoreUnavailableError
from orchestrator.params import ImageFormat
from orchestrator.results.buckets import Bucket
from orchestrator.results.faults import BucketError, MissingError, NotAFileError
from orchestrator.results.location import PRESIGNED_SECONDS, open_bucket, signs_links

SWEEP_BATCH = 100
"""Objects that one transaction of the sweep removes."""

WRITING_SECONDS = 3600.0
"""Longest time from a picture's row to its last byte, in which the sweep leaves it alone."""

REQUEST_TYPE = "application/x-protobuf"
"""Media type of requests that are too large for the database."""

VERIFIED_BYTES = 16 * 1024 * 1024
"""Pictures up to this size are read twice: once for their SHA-256, then for whoever asked. So no memory is held."""

CHECK_SECONDS = 10.0
"""How long a store that took a picture, or a check, is trusted to take the next picture."""

CHECK_NAME = "check"
"""The object that a check writes and removes."""

log = structlog.get_logger()

_NAME = re.compile(r"[A-Za-z0-9_-]{22}\.(jpeg|png|webp)")

_NOTE = """
    INSERT INTO imagegen.results (name, account_id, job_id, media_type, expires_at)
    VALUES (%(name)s, %(account)s, %(job)s, %(media_type)s, now() + make_interval(secs => %(seconds)s))"""

_WRITTEN = """
    UPDATE imagegen.results
    SET size = %(size)s, sha256 = %(sha256)s, expires_at = now() + make_interval(secs => %(seconds)s)
    WHERE name = %(name)s
    RETURNING expires_at"""

_REQUEST_WRITTEN = "UPDATE imagegen.results SET size = %(size)s WHERE name = %(name)s"

_FIND = """
    SELECT media_type, size, sha256 FROM imagegen.results
    WHERE name = %(name)s AND size IS NOT NULL AND expires_at > now()"""

_EXPIRE = "UPDATE imagegen.results SET expires_at = least(expires_at, now()) WHERE name = %(name)s"

_FORGET = "DELETE FROM imagegen.results WHERE name = ANY(%(names)s)"

# Rows that another sweeper holds are its own affair. A job that runs has a picture that is being written, and perhaps
# some of attempts that died.
_DUE = """
    SELECT name FROM imagegen.results AS result
    WHERE expires_at <= now()
      AND (size IS NOT NULL OR created_at <= now() - make_interval(secs => %(writing)s))
      AND NOT EXISTS (SELECT FROM imagegen.jobs WHERE id = result.job_id AND state IN ('queued', 'running'))
    ORDER BY expires_at
    LIMIT %(batch)s
    FOR UPDATE SKIP LOCKED"""


@dataclass(frozen=True, slots=True)
class Stored:
    """A stored picture, ready to be read: its media type, bytes in all, SHA-256 (32 bytes), and its bytes in chunks."""

    media_type: str
    size: int
    sha256: bytes
    chunks: AsyncIterator[bytes]


class Written(NamedTuple):
    """A picture that is stored: its name, and until when."""

    name: str
    expires: datetime


class ResultStore:
    """Pictures in a folder or in S3."""

    def __init__(
        self, database: Database, bucket: Bucket, *, public_url: str, seconds: float, presigned: bool = False
    ) -> None:
        """Use a bucket.

        Args:
            database: knows what is there.
            bucket: has the bytes.
            public_url: scheme and host of the gateway.
            seconds: how long a picture stays.
            presigned: links lead to the bucket itself, which must be able to sign.
        """
        self._database, self._bucket = database, bucket
        self._base, self._seconds, self._presigned = f"{public_url}/results/", seconds, presigned
        self._taken = float("-inf")
        self._checking = asyncio.Lock()

    @classmethod
    def from_settings(cls, settings: Settings, database: Database, environ: Mapping[str, str]) -> "ResultStore":
        """The store that the settings name; `environ` has the AWS_* variables.

        Raises:
            SettingsError: a folder that cannot be created, or links that S3 cannot sign.
        """
        presigned = signs_links(settings, environ)
        bucket = open_bucket(settings)
        url, seconds = settings.public_url, settings.result_seconds
        return cls(database, bucket, public_url=url, seconds=seconds, presigned=presigned)

    async def check(self) -> None:
        """Find out whether a picture could be stored now, before anybody works on it: by storing something.

        Raises:
            ResultStoreUnavailableError: it could not.
        """
        async with self._checking:
            if time.monotonic() - self._taken < CHECK_SECONDS:
                return
            with _reported(CHECK_NAME):
                await self._bucket.check_space()
                await self._bucket.put(CHECK_NAME, b"may this be written?", "text/plain")
                await self._bucket.delete(CHECK_NAME)
            self._taken = time.monotonic()

    async def note(self, connection: Connection, account_id: int, job_id: str | None, image_format: ImageFormat) -> str:
        """Note a picture that is about to be written; returns its name. To be committed before it is put."""
        name = f"{secrets.token_urlsafe(16)}.{image_format.value}"
        await connection.execute(_NOTE, self._row(name, account_id, job_id, image_format))
        return name

    async def put(self, name: str, data: bytes, image_format: ImageFormat) -> Written:
        """Write a picture that was noted. Its time begins now. May be repeated.

        Raises:
            ResultStoreUnavailableError: it could not be written, or was removed meanwhile.
            DatabaseUnavailableError: it is there, and counts as never finished.
        """
        self._taken = float("-inf")
        with _reported(name):
            await self._bucket.put(name, data, image_format.media_type)
        self._taken = time.monotonic()
        digest = await asyncio.to_thread(hashlib.sha256, data)
        written = {"name": name, "size": len(data), "sha256": digest.digest(), "seconds": self._seconds}
        rows = await self._database.run(_WRITTEN, written)
        if not rows:
            with _reported(name):
                await self._bucket.delete(name)
            raise ResultStoreUnavailableError("the picture was removed while it was written")
        return Written(name, rows[0]["expires_at"])

    async def write(
        self, account_id: int, data: bytes, image_format: ImageFormat, job_id: str | None = None
    ) -> Written:
        """Note and put a picture; `job_id` is of the durable job that it is for, if it is for one.

        Raises:
            ResultStoreUnavailableError, DatabaseUnavailableError: as put.
        """
        async with self._database.transaction() as connection:
            name = await self.note(connection, account_id, job_id, image_format)
        return await self.put(name, data, image_format)

    async def write_request(self, account_id: int, job_id: str, data: bytes) -> str:
        """Store the serialized request of a job that is too large for the database; returns its name.

        It is removed after the job's end, or, if there never was such a job, an hour later. Nobody can `open` it.

        Raises:
            ResultStoreUnavailableError, DatabaseUnavailableError: as put.
        """
        name = f"{secrets.token_urlsafe(16)}.request"
        row = {"name": name, "account": account_id, "job": job_id, "media_type": REQUEST_TYPE}
        await self._database.run(_NOTE, row | {"seconds": WRITING_SECONDS})
        with _reported(name):
            await self._bucket.put(name, data, REQUEST_TYPE)
        await self._database.run(_REQUEST_WRITTEN, {"name": name, "size": len(data)})
        return name

    async def read_request(self, name: str) -> bytes:
        """The request of write_request.

        Raises:
            ImagegenError: it is lost.
            ResultStoreUnavailableError: the store does not answer.
        """
        with _reported(name):
            try:
                _, chunks = await self._bucket.get(name)
                return b"".join([chunk async for chunk in chunks])
            except MissingError:
                log.exception("request_lost", name=name)
                raise ImagegenError("the stored request is lost") from None

    def link(self, name: str, expires: datetime) -> str:
        """URL under which anybody can read a picture until its time is over."""
        if not self._presigned:
            return self._base + name
        left = (expires - datetime.now(UTC)).total_seconds()  # by our clock, which may differ from the database's
        return self._bucket.sign(name, min(max(left, 1.0), PRESIGNED_SECONDS))

    async def open(self, name: str) -> Stored:
        """Find a picture by its name.

        Raises:
            NotFoundError: there is none, its time is over, or the name has not the form of one.
            CorruptResultError: it is not what was stored; of one above VERIFIED_BYTES before its last chunk.
            ResultStoreUnavailableError: the store does not answer, now or while the chunks are read.
            DatabaseUnavailableError: nobody knows.
        """
        if _NAME.fullmatch(name) is None:
            raise NotFoundError("no such picture")
        rows = await self._database.run(_FIND, {"name": name})
        if not rows:
            raise NotFoundError("no such picture")
        (row,) = rows
        if row["size"] <= VERIFIED_BYTES:
            async for _ in await self._read(name, row):
                pass
        return Stored(row["media_type"], row["size"], row["sha256"], await self._read(name, row))

    async def delete(self, name: str) -> None:
        """Remove a picture. From here on `open` refuses it; what cannot be removed now, the sweep removes.

        Raises:
            DatabaseUnavailableError: nothing was removed.
        """
        await self._database.run(_EXPIRE, {"name": name})
        if await self._remove(name):
            await self._database.run(_FORGET, {"names": [name]})

    async def sweep(self) -> int:
        """Remove all pictures whose time is over; returns how many went. Several processes may do so at once.

        Raises:
            DatabaseUnavailableError: the rest is for the next sweep.
        """
        total = 0
        while removed := await self._sweep_batch():
            total += removed
        return total

    async def _read(self, name: str, row: Row) -> AsyncIterator[bytes]:
        """The chunks of a picture's object; the last is held back until all of them are what was stored."""
        with _reported(name):
            try:
                size, chunks = await self._bucket.get(name)
            except MissingError:
                metrics.RESULTS_BROKEN.labels("missing").inc()
                log.error("picture_missing", name=name, size=row["size"])  # noqa: TRY400  # expected, no trace
                raise NotFoundError("no such picture") from None
            except NotAFileError as error:
                raise _corrupt(name, str(error)) from None
        if size != row["size"]:
            raise _corrupt(name, f"{size} bytes, not {row['size']}")
        return _verified(name, chunks, row["sha256"])

    async def _sweep_batch(self) -> int:
        async with self._database.transaction() as connection:
            cursor = await connection.execute(_DUE, {"writing": WRITING_SECONDS, "batch": SWEEP_BATCH})
            names = [row["name"] for row in await cursor.fetchall()]
            gone = await asyncio.gather(*map(self._remove, names))
            removed = [name for name, is_gone in zip(names, gone, strict=True) if is_gone]
            if removed:
                await connection.execute(_FORGET, {"names": removed})
        return len(removed)

    async def _remove(self, name: str) -> bool:
        """Remove an object; whether it is gone."""
        try:
            await self._bucket.delete(name)
        except BucketError as error:
            log.warning("picture not removed", name=name, error=str(error))
            return False
        return True

    def _row(self, name: str, account_id: int, job_id: str | None, image_format: ImageFormat) -> dict[str, object]:
        times = {"media_type": image_format.media_type, "seconds": self._seconds}
        return {"name": name, "account": account_id, "job": job_id, **times}


async def _verified(name: str, chunks: AsyncIterator[bytes], sha256: bytes) -> AsyncIterator[bytes]:
    """The chunks, the last once the SHA-256 of all of them is known to be right."""
    digest, held = hashlib.sha256(), b""
    with _reported(name):
        async for chunk in chunks:
            if held:
                yield held
            digest.update(chunk)  # of 64 KiB: 0.1 ms
            held = chunk
    if digest.digest() != sha256:
        raise _corrupt(name, f"SHA-256 {digest.hexdigest()}, not {sha256.hex()}")
    if held:
        yield held


def _corrupt(name: str, found: str) -> CorruptResultError:
    metrics.RESULTS_BROKEN.labels("corrupt").inc()
    log.error("picture_corrupt", name=name, found=found)
    return CorruptResultError("the stored picture is corrupt: it is not what was stored; generate it again")


@contextmanager
def _reported(name: str) -> Iterator[None]:
    """Errors of the bucket, logged, as the client's."""
    try:
        yield
    except BucketError as error:
        log.warning("result store unavailable", name=name, error=str(error))
        raise ResultStoreUnavailableError("the result store does not answer") from None
