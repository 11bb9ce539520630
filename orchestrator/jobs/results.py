"""The result store: pictures by a name that cannot be guessed, in a folder, through obstore."""

import re
import secrets
from collections.abc import AsyncIterable, AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import obstore
from obstore.store import LocalStore

from orchestrator.errors import NotFoundError, SettingsError
from orchestrator.params import ImageFormat

CHUNK_BYTES = 64 * 1024

_NAME = re.compile(r"[A-Za-z0-9_-]{22}\.(jpeg|png|webp)")


@dataclass(frozen=True, slots=True)
class Stored:
    """A stored picture, ready to be read."""

    media_type: str
    size: int
    chunks: AsyncIterator[bytes]


class ResultStore:
    """Pictures in a local folder. A file is written whole or not at all (obstore writes aside and renames)."""

    def __init__(self, folder: Path, public_url: str) -> None:
        """Use `folder`, made if missing; URIs begin with `public_url`.

        Raises:
            SettingsError: the folder cannot be made.
        """
        try:
            self._store = LocalStore(folder, mkdir=True)
        except OSError as error:
            raise SettingsError(f"IMAGEGEN_RESULTS_URL={str(folder)!r}: {error}") from error
        self._base = f"{public_url}/results/"

    async def put(self, data: bytes, image_format: ImageFormat) -> str:
        """Store a picture under a new name of 128 random bits; returns its URI."""
        name = f"{secrets.token_urlsafe(16)}.{image_format.value}"
        await obstore.put_async(self._store, name, data)
        return self._base + name

    async def open(self, name: str) -> Stored:
        """Find a picture by the last part of its URI.

        Raises:
            NotFoundError: there is none, or the name has not the form of one.
        """
        match = _NAME.fullmatch(name)
        if match is None:
            raise NotFoundError("no such picture")
        try:
            answer = await obstore.get_async(self._store, name)
        except FileNotFoundError:
            raise NotFoundError("no such picture") from None
        chunks = answer.stream(min_chunk_size=CHUNK_BYTES)
        return Stored(ImageFormat(match[1]).media_type, answer.meta["size"], _cut(chunks))

    async def delete(self, uri: str) -> None:
        """Remove a picture by its URI. One that is gone already is no error."""
        try:
            await obstore.delete_async(self._store, uri.removeprefix(self._base))
        except FileNotFoundError:
            return


async def _cut(chunks: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    """Chunks of at most CHUNK_BYTES: the store's own may be larger."""
    async for chunk in chunks:
        for start in range(0, len(chunk), CHUNK_BYTES):
            yield bytes(chunk[start : start + CHUNK_BYTES])
