"""The result store: names that cannot be guessed, nothing half-written, nothing outside the folder."""

import re
from pathlib import Path

import pytest

from orchestrator.errors import NotFoundError, SettingsError
from orchestrator.jobs.results import CHUNK_BYTES, ResultStore, Stored
from orchestrator.params import ImageFormat

URL = "http://pictures.example"


@pytest.fixture
def store(tmp_path: Path) -> ResultStore:
    return ResultStore(tmp_path / "a/results", URL)


async def read(stored: Stored) -> bytes:
    return b"".join([chunk async for chunk in stored.chunks])


def name_of(uri: str) -> str:
    return uri.rpartition("/")[2]


@pytest.mark.parametrize("image_format", [*ImageFormat])
async def test_what_is_put_is_found_under_its_uri(store: ResultStore, image_format: ImageFormat) -> None:
    uri = await store.put(b"picture", image_format)
    assert re.fullmatch(rf"{URL}/results/[A-Za-z0-9_-]{{22}}\.{image_format}", uri)
    stored = await store.open(name_of(uri))
    assert (stored.media_type, stored.size) == (image_format.media_type, 7)
    assert await read(stored) == b"picture"


async def test_every_picture_has_a_name_of_its_own(store: ResultStore) -> None:
    uris = {await store.put(b"same", ImageFormat.PNG) for _ in range(50)}
    assert len(uris) == 50


@pytest.mark.parametrize("size", [1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES, 1_000_003])
async def test_large_pictures_come_in_chunks(store: ResultStore, size: int) -> None:
    data = bytes(range(256)) * (size // 256 + 1)
    uri = await store.put(data[:size], ImageFormat.JPEG)
    stored = await store.open(name_of(uri))
    chunks = [chunk async for chunk in stored.chunks]
    assert stored.size == size
    assert b"".join(chunks) == data[:size]
    assert max(map(len, chunks)) <= CHUNK_BYTES


async def test_nothing_else_lies_in_the_folder(store: ResultStore, tmp_path: Path) -> None:
    """No temporary file is left, and no folder."""
    names = {name_of(await store.put(b"x" * 200_000, ImageFormat.WEBP)) for _ in range(3)}
    assert {path.name for path in (tmp_path / "a/results").rglob("*")} == names


async def test_a_picture_that_is_deleted_is_gone_and_may_be_deleted_again(store: ResultStore) -> None:
    uri, other = [await store.put(b"x", ImageFormat.PNG) for _ in range(2)]
    await store.delete(uri)
    await store.delete(uri)
    with pytest.raises(NotFoundError):
        await store.open(name_of(uri))
    assert await read(await store.open(name_of(other))) == b"x"


async def test_a_picture_that_is_being_read_may_be_deleted(store: ResultStore) -> None:
    uri = await store.put(b"x" * 1_000_000, ImageFormat.PNG)
    stored = await store.open(name_of(uri))
    await store.delete(uri)
    assert len(await read(stored)) == 1_000_000


@pytest.mark.parametrize(
    "name",
    [
        "",
        "A" * 22 + ".png",  # right in form, and not there
        "A" * 21 + ".png",
        "A" * 22 + ".gif",
        "A" * 22 + ".png\n",
        "A" * 22,
        "../" + "A" * 22 + ".png",
        "..%2f" + "A" * 16 + ".png",
        "/etc/passwd",
        "../../etc/passwd",
        "A" * 10 + "/../" + "A" * 8 + ".png",
        "Ä" * 22 + ".png",
        "A" * 1_000_000,
    ],
)
async def test_a_name_that_is_none_of_ours_is_not_found(store: ResultStore, name: str) -> None:
    with pytest.raises(NotFoundError, match=r"^no such picture$"):
        await store.open(name)


async def test_a_file_beside_the_store_is_out_of_reach(store: ResultStore, tmp_path: Path) -> None:
    outside = "B" * 22 + ".png"
    (tmp_path / "a" / outside).write_bytes(b"secret")
    for name in (outside, f"../{outside}", f"./../{outside}"):
        with pytest.raises(NotFoundError):
            await store.open(name)


async def test_a_store_finds_what_an_earlier_process_stored(store: ResultStore, tmp_path: Path) -> None:
    uri = await store.put(b"x", ImageFormat.PNG)
    again = ResultStore(tmp_path / "a/results", URL)
    assert await read(await again.open(name_of(uri))) == b"x"


def test_a_folder_that_cannot_be_made_is_an_error_of_its_setting(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match=r"^IMAGEGEN_RESULTS_URL="):
        ResultStore(tmp_path / "file", URL)
