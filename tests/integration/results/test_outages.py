"""An S3 that is unreachable, hangs, breaks off or refuses; a process that is killed while it writes."""

import asyncio
import os
import sys
import time
from pathlib import Path

import pytest

from orchestrator.errors import NotFoundError, ResultStoreUnavailableError
from orchestrator.params import ImageFormat
from orchestrator.results import buckets
from orchestrator.results.buckets import Bucket
from orchestrator.results.keeping import Keeping
from orchestrator.results.store import ResultStore
from tests.integration.results import endpoints
from tests.integration.results.s3 import HASTY, Server
from tests.integration.results.store_harness import PICTURE, URL, StoreHarness, read

ROOT = Path(__file__).parents[3]

WRITER = """
import asyncio, sys
from pathlib import Path
from orchestrator.database.pool import Database
from orchestrator.params import ImageFormat
from orchestrator.results import buckets
from orchestrator.results.buckets import Bucket
from orchestrator.results.keeping import Keeping
from orchestrator.results.store import ResultStore

async def main():
    database = Database(sys.argv[1])
    await database.open()
    store = ResultStore(database, Bucket.local(Path(sys.argv[2])), public_url="", seconds=3600.0)
    for _ in range(1000):
        await store.write(1, bytes(16 * 1024 * 1024), ImageFormat.PNG)

asyncio.run(main())
"""


def store_at(harness: StoreHarness, url: str) -> ResultStore:
    """A store in another S3, on the same database."""
    return ResultStore(harness.database, Bucket.s3(endpoints.place(url), HASTY), public_url=URL, seconds=3600.0)


@pytest.fixture
def dead(free_port: int) -> str:
    return f"http://127.0.0.1:{free_port}"


async def test_an_endpoint_where_nobody_listens_is_reported_at_once(folder_harness: StoreHarness, dead: str) -> None:
    store, written = store_at(folder_harness, dead), await folder_harness.write()
    started = time.monotonic()
    with pytest.raises(ResultStoreUnavailableError, match=r"^the result store does not answer$") as caught:
        await store.write(1, PICTURE, ImageFormat.PNG)
    assert caught.value.retry_after > 0
    with pytest.raises(ResultStoreUnavailableError):
        await store.open(written)
    assert time.monotonic() - started < 5


async def test_an_endpoint_that_hangs_is_given_up(folder_harness: StoreHarness) -> None:
    with endpoints.hanging() as url:
        started = time.monotonic()
        with pytest.raises(ResultStoreUnavailableError):
            await store_at(folder_harness, url).write(1, PICTURE, ImageFormat.PNG)
        assert time.monotonic() - started < 10


async def test_an_upload_that_breaks_off_is_not_a_picture(folder_harness: StoreHarness) -> None:
    async with endpoints.breaking_off(after=100_000) as (url, sent):
        with pytest.raises(ResultStoreUnavailableError):
            await store_at(folder_harness, url).write(1, bytes(4_000_000), ImageFormat.PNG)
    assert sent.got == 100_000
    assert sent.connections > 1  # it was tried again
    (row,) = await folder_harness.rows()
    assert (row["size"], row["sha256"]) == (None, None)
    with pytest.raises(NotFoundError):
        await folder_harness.store.open(row["name"])


@pytest.mark.parametrize("size", [10_000_000, 20_000_000])
async def test_a_download_that_breaks_off_is_reported(folder_harness: StoreHarness, size: int) -> None:
    """Before its first byte, or, of a large picture, while it is read."""
    written = await folder_harness.write(bytes(size))
    async with endpoints.answering(endpoints.HEAD % size, 1_000_000) as (url, _):
        with pytest.raises(ResultStoreUnavailableError):
            await read(await store_at(folder_harness, url).open(written))


async def test_a_store_that_cannot_be_written_fails_its_check(
    s3_harness: StoreHarness, folder_harness: StoreHarness, dead: str, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does not answer, refuses the keys, is full; once it works it passes."""
    with pytest.raises(ResultStoreUnavailableError):
        await store_at(folder_harness, dead).check()
    with server.strict(), pytest.raises(ResultStoreUnavailableError):
        await s3_harness.store.check()
    await s3_harness.store.check()
    monkeypatch.setattr(buckets, "SPACE_BYTES", 1 << 60)
    with pytest.raises(ResultStoreUnavailableError):
        await folder_harness.store.check()
    monkeypatch.undo()
    await folder_harness.store.check()


async def test_a_picture_waits_in_memory_for_its_store(s3_harness: StoreHarness, server: Server) -> None:
    """It is stored when the store works again; more than may wait, or for longer, is refused as before."""
    keeping, tries = Keeping(max_bytes=len(PICTURE)), asyncio.Semaphore(0)

    async def store() -> str:
        tries.release()
        return await s3_harness.write()

    with server.strict():
        waiting = asyncio.create_task(keeping.until_stored(len(PICTURE), store))
        for _ in range(2):
            await tries.acquire()
        with pytest.raises(ResultStoreUnavailableError):
            await keeping.until_stored(1, store)
        with pytest.raises(ResultStoreUnavailableError):
            await Keeping(max_seconds=0.0).until_stored(1, store)
    async with asyncio.timeout(60):
        name = await waiting
    assert await read(await s3_harness.store.open(name)) == PICTURE
    assert s3_harness.lying() == [name]


async def test_a_sweep_of_a_store_that_is_unreachable_keeps_the_rows(s3_harness: StoreHarness, dead: str) -> None:
    await s3_harness.write()
    await s3_harness.age(3600)
    assert await store_at(s3_harness, dead).sweep() == 0
    assert len(await s3_harness.rows()) == 1
    assert await s3_harness.store.sweep() == 1
    assert s3_harness.lying() == []


async def test_a_delete_while_the_store_is_unreachable_is_completed_by_the_sweep(
    s3_harness: StoreHarness, dead: str
) -> None:
    name = await s3_harness.write()
    await store_at(s3_harness, dead).delete(name)
    with pytest.raises(NotFoundError):  # at once, though the object is still there
        await s3_harness.store.open(name)
    assert s3_harness.lying() == [name]
    assert await s3_harness.store.sweep() == 1
    assert s3_harness.lying() == []


async def test_a_bucket_that_is_not_there_is_an_outage(server: Server, s3_harness: StoreHarness) -> None:
    written = await s3_harness.write()
    bucket = Bucket.s3(server.place("no-such-bucket"), HASTY)
    store = ResultStore(s3_harness.database, bucket, public_url=URL, seconds=60.0)
    with pytest.raises(ResultStoreUnavailableError):
        await store.write(1, PICTURE, ImageFormat.PNG)
    with pytest.raises(ResultStoreUnavailableError):
        await store.open(written)


async def test_keys_that_s3_does_not_take_are_an_outage(server: Server, s3_harness: StoreHarness) -> None:
    """For whoever asks; the operator finds S3's own words in the log. Nothing is forgotten for it."""
    written = await s3_harness.write()
    with server.strict():
        with pytest.raises(ResultStoreUnavailableError):
            await s3_harness.write()
        with pytest.raises(ResultStoreUnavailableError):
            await s3_harness.store.open(written)
        await s3_harness.age(3600)
        assert await s3_harness.store.sweep() == 0
    assert await s3_harness.store.sweep() == 2
    assert server.list_keys() == []


async def test_no_key_is_logged(server: Server, s3_harness: StoreHarness, capfd: pytest.CaptureFixture[str]) -> None:
    with server.strict(), pytest.raises(ResultStoreUnavailableError):
        await s3_harness.write()
    assert "secret" not in repr(server.place())
    said = "".join(capfd.readouterr())
    assert "result store unavailable" in said
    assert "secret" not in said


@pytest.mark.promise(
    "half a picture",
    "size and hash are noted when it is whole",
    "orchestrator/results/store.py",
)
async def test_a_process_that_is_killed_while_it_writes_leaves_whole_pictures_or_none(
    folder_harness: StoreHarness, tmp_path: Path
) -> None:
    folder = tmp_path / "pictures"
    arguments = [sys.executable, "-c", WRITER, folder_harness.database.url, str(folder)]
    process = await asyncio.create_subprocess_exec(*arguments, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})
    try:
        async with asyncio.timeout(60):
            while len(folder_harness.lying()) < 3 or not list(folder.glob("*#*")):
                assert process.returncode is None
                await asyncio.sleep(0.001)  # until it is in the middle of a file
    finally:
        process.kill()
        await process.wait()
    rows = await folder_harness.rows()
    whole = [row["name"] for row in rows if row["size"] is not None]
    assert len(whole) >= 2
    for name in whole:
        assert len(await read(await folder_harness.store.open(name))) == 16 * 1024 * 1024
    for name in {row["name"] for row in rows} - set(whole):
        with pytest.raises(NotFoundError):
            await folder_harness.store.open(name)
    await folder_harness.age(86_400)
    assert await folder_harness.store.sweep() == len(rows)
    assert folder_harness.lying() == []
