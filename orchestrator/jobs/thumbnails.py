"""Small copies of the pictures of jobs: generated when they are asked for, and kept in memory for a while."""

import asyncio

from cachetools import LRUCache

from orchestrator.decoding.decoders import Decoders
from orchestrator.errors import InvalidRequestError, PreconditionError
from orchestrator.imaging.decode import DecodeLimits
from orchestrator.imaging.thumbnail import thumbnail
from orchestrator.jobs.records import JobRecord
from orchestrator.results.store import ResultStore

KEPT_BYTES = 16 << 20
"""Thumbnails that are kept, bytes: some 2,000."""
MAX_FILE_BYTES = 64 << 20
LIMITS = DecodeLimits(max_pixels=32 * 1024 * 1024)
"""Larger pictures have no thumbnail: decoding them takes memory that the jobs need."""


class Thumbnails:
    """Reads, decodes and reduces one picture at a time, so that lists do not take the cores of the jobs."""

    def __init__(self, results: ResultStore, decoders: Decoders) -> None:
        """Keep nothing yet.

        Args:
            results: has the pictures.
            decoders: of thumbnails alone: those of the jobs are not held up.
        """
        self._results, self._decoders = results, decoders
        self._kept: LRUCache[str, bytes] = LRUCache(KEPT_BYTES, getsizeof=len)
        self._turn = asyncio.Lock()

    async def read(self, record: JobRecord) -> bytes:
        """The thumbnail of a job's picture, as WebP.

        Raises:
            PreconditionError: the job has no picture, or one that is too large.
            NotFoundError: its picture has gone.
            CorruptResultError, ResultStoreUnavailableError, DatabaseUnavailableError: as ResultStore.open.
        """
        if record.artifact is None or record.picture is None:
            raise PreconditionError("the job has no picture: only jobs that succeeded have a thumbnail")
        if (known := self._kept.get(record.picture)) is not None:
            return known
        async with self._turn:
            if (known := self._kept.get(record.picture)) is None:
                known = self._kept[record.picture] = await self._generate(record.picture)
            return known

    async def _generate(self, name: str) -> bytes:
        stored = await self._results.open(name)
        if stored.size > MAX_FILE_BYTES:
            raise PreconditionError("the picture is too large for a thumbnail")
        data = b"".join([chunk async for chunk in stored.chunks])
        try:
            measured = await self._decoders.measure(data, LIMITS, "picture")
            picture = await self._decoders.decode(data, LIMITS, "picture", measured.memory)
        except InvalidRequestError:  # of our own picture: it is above the limits
            raise PreconditionError("the picture is too large for a thumbnail") from None
        return await asyncio.to_thread(thumbnail, picture)
