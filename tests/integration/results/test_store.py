"""The result store, in a folder and in S3: whole or not at all, for its time and no longer, nothing left behind."""

import asyncio
import os
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from prometheus_client import REGISTRY

from orchestrator.errors import CorruptResultError, NotFoundError, ResultStoreUnavailableError
from orchestrator.params import ImageFormat
from orchestrator.results import store as module
from orchestrator.results.buckets import CHUNK_BYTES
from tests.integration.results.s3 import BUCKET, Server
from tests.integration.results.store_harness import DIGEST, PICTURE, URL, StoreHarness, read

DAY = 86_400.0
JOB = "j" * 22


@pytest.mark.parametrize("image_format", [*ImageFormat])
async def test_what_is_written_is_read(harness: StoreHarness, image_format: ImageFormat) -> None:
    name, expires = await harness.store.write(harness.account, PICTURE, image_format)
    assert re.fullmatch(rf"[A-Za-z0-9_-]{{22}}\.{image_format}", name)
    assert harness.lying() == [name]
    assert abs((expires - datetime.now(UTC)).total_seconds() - 3600) < 60
    stored = await harness.store.open(name)
    assert (stored.media_type, stored.size, stored.sha256) == (image_format.media_type, len(PICTURE), DIGEST)
    assert await read(stored) == PICTURE


async def test_every_picture_has_a_name_of_its_own(harness: StoreHarness) -> None:
    assert len({await harness.write(b"same") for _ in range(20)}) == 20


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES, CHUNK_BYTES + 1, 8 * 1024 * 1024 + 7])
async def test_pictures_come_in_chunks_of_bounded_size(harness: StoreHarness, size: int) -> None:
    data = bytes(range(251)) * (size // 251 + 1)
    name = await harness.write(data[:size])
    chunks = [chunk async for chunk in (await harness.store.open(name)).chunks]
    assert all(0 < len(chunk) <= CHUNK_BYTES for chunk in chunks)
    assert b"".join(chunks) == data[:size]


async def test_a_link_leads_to_the_picture(harness: StoreHarness) -> None:
    written = await harness.store.write(harness.account, PICTURE, ImageFormat.WEBP)
    link = harness.store.link(*written)
    if isinstance(harness.where, Path):
        assert link == f"{URL}/results/{written.name}"
        return
    async with httpx.AsyncClient() as client:
        answer = await client.get(link)
    assert answer.status_code == 200
    assert answer.content == PICTURE
    assert answer.headers["Content-Type"] == "image/webp"


@pytest.mark.promise(
    "reading other people's pictures",
    "128 random bits in a name; an end to its time",
    "orchestrator/results/store.py",
)
async def test_a_picture_whose_time_is_over_is_refused_before_it_is_swept(harness: StoreHarness) -> None:
    name = await harness.write()
    await harness.age(3599)
    assert await read(await harness.store.open(name)) == PICTURE
    await harness.age(1)
    with pytest.raises(NotFoundError):
        await harness.store.open(name)
    assert harness.lying() == [name]


async def test_the_time_begins_when_the_picture_is_whole(harness: StoreHarness) -> None:
    name = await harness.note()
    await harness.age(1800)
    _, expires = await harness.store.put(name, PICTURE, ImageFormat.PNG)
    assert abs((expires - datetime.now(UTC)).total_seconds() - 3600) < 60


async def test_a_picture_that_was_never_finished_is_nobodys(harness: StoreHarness) -> None:
    """A crash between the row and the object, and one between the object and its size in the row."""
    only_noted, only_lying = await harness.note(), await harness.note()
    await harness.bucket.put(only_lying, PICTURE, "image/png")
    for name in (only_noted, only_lying):
        with pytest.raises(NotFoundError):
            await harness.store.open(name)
    await harness.age(module.WRITING_SECONDS - 1)
    assert await harness.store.sweep() == 0  # they may still be written
    await harness.age(1)
    assert await harness.store.sweep() == 2
    assert (harness.lying(), await harness.rows()) == ([], [])


async def test_a_put_may_be_repeated(harness: StoreHarness) -> None:
    name = await harness.note()
    for _ in range(2):
        await harness.store.put(name, PICTURE, ImageFormat.PNG)
    assert await read(await harness.store.open(name)) == PICTURE


async def test_what_was_removed_while_it_was_written_leaves_nothing(harness: StoreHarness) -> None:
    name = await harness.note()
    await harness.database.run("DELETE FROM imagegen.results")
    with pytest.raises(ResultStoreUnavailableError):
        await harness.store.put(name, PICTURE, ImageFormat.PNG)
    assert harness.lying() == []


async def test_a_picture_that_lost_its_object_is_not_found(harness: StoreHarness) -> None:
    name = await harness.write()
    await harness.bucket.delete(name)
    with pytest.raises(NotFoundError):
        await harness.store.open(name)


@pytest.mark.parametrize(
    "found", [PICTURE[:-1], PICTURE + b"!", b"", bytes([PICTURE[0] ^ 1]) + PICTURE[1:], PICTURE[:-1] + b"!"]
)
async def test_a_picture_that_is_not_what_was_stored_is_corrupt(harness: StoreHarness, found: bytes) -> None:
    """Cut, longer, of other bytes: not one byte of it is given out."""
    name, before = await harness.write(), broken("corrupt")
    await harness.bucket.put(name, found, "image/png")
    with pytest.raises(CorruptResultError, match="the stored picture is corrupt"):
        await harness.store.open(name)
    assert broken("corrupt") == before + 1


async def test_a_large_picture_that_is_corrupt_never_ends_well(harness: StoreHarness) -> None:
    """It is compared while it is read; its last bytes are held back, and an error comes in their place."""
    large = bytes(module.VERIFIED_BYTES + 1)
    name = await harness.write(large)
    assert sum([len(chunk) async for chunk in (await harness.store.open(name)).chunks]) == len(large)
    await harness.bucket.put(name, b"!" + large[1:], "image/png")
    stored, got = await harness.store.open(name), list[bytes]()

    async def collect() -> None:
        async for chunk in stored.chunks:
            got.append(chunk)

    with pytest.raises(CorruptResultError):
        await collect()
    assert 0 < sum(map(len, got)) < len(large)


async def test_a_picture_that_is_missing_before_its_time_is_counted(harness: StoreHarness) -> None:
    name, before = await harness.write(), broken("missing")
    await harness.bucket.delete(name)
    with pytest.raises(NotFoundError):
        await harness.store.open(name)
    assert broken("missing") == before + 1


@pytest.mark.parametrize("kind", ["link", "folder", "pipe"])
async def test_nothing_but_a_file_is_read(folder_harness: StoreHarness, tmp_path: Path, kind: str) -> None:
    """A link to the very same bytes, even."""
    name = await folder_harness.write()
    file = tmp_path / "pictures" / name
    if kind == "link":
        file.rename(tmp_path / "outside.png")
        file.symlink_to(tmp_path / "outside.png")
    else:
        file.unlink()
        file.mkdir() if kind == "folder" else os.mkfifo(file)
    with pytest.raises(CorruptResultError):
        await folder_harness.store.open(name)


async def test_a_check_writes_and_leaves_nothing(harness: StoreHarness) -> None:
    await harness.store.check()
    assert harness.lying() == []
    await harness.write()
    await harness.store.check()


def broken(kind: str) -> float:
    """How many broken pictures were read."""
    return REGISTRY.get_sample_value("imagegen_results_broken_total", {"kind": kind}) or 0.0


async def test_what_is_deleted_is_gone_and_may_be_deleted_again(harness: StoreHarness) -> None:
    name, other = await harness.write(), await harness.write()
    for _ in range(2):
        await harness.store.delete(name)
        with pytest.raises(NotFoundError):
            await harness.store.open(name)
    assert harness.lying() == [other]
    assert [row["name"] for row in await harness.rows()] == [other]


async def test_a_sweep_takes_what_is_over_and_nothing_else(harness: StoreHarness) -> None:
    over = [await harness.write(b"old") for _ in range(5)]
    fresh = await harness.write()
    await harness.age(3600, *over)
    assert await harness.store.sweep() == 5
    assert harness.lying() == [fresh]
    assert [row["name"] for row in await harness.rows()] == [fresh]
    assert await harness.store.sweep() == 0


@pytest.mark.parametrize("state", ["queued", "running"])
async def test_what_a_job_that_is_not_over_has_written_stays(harness: StoreHarness, state: str) -> None:
    await harness.job(JOB, state)
    name = await harness.note(JOB)
    await harness.store.put(name, PICTURE, ImageFormat.PNG)
    await harness.age(DAY)
    assert await harness.store.sweep() == 0
    assert harness.lying() == [name]
    await harness.database.run("UPDATE imagegen.jobs SET state = 'failed'")
    assert await harness.store.sweep() == 1
    assert harness.lying() == []


async def test_two_sweepers_share_the_work(harness: StoreHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each picture is removed once; neither waits for the other's rows."""
    monkeypatch.setattr(module, "SWEEP_BATCH", 3)
    for _ in range(20):
        await harness.write(b"old")
    await harness.age(DAY)
    swept = await asyncio.gather(*(harness.store.sweep() for _ in range(3)))
    assert sum(swept) == 20
    assert (harness.lying(), await harness.rows()) == ([], [])


async def test_a_sweeper_leaves_to_another_what_that_one_holds(harness: StoreHarness) -> None:
    held, free = await harness.write(), await harness.write()
    await harness.age(DAY)
    async with harness.database.transaction() as connection:
        await connection.execute("SELECT FROM imagegen.results WHERE name = %s FOR UPDATE", (held,))
        async with asyncio.timeout(5):
            assert await harness.store.sweep() == 1
        assert harness.lying() == [held]
    assert free not in harness.lying()
    assert await harness.store.sweep() == 1


async def test_a_sweep_that_dies_after_the_object_is_completed(harness: StoreHarness) -> None:
    """The row is still there: the next sweep removes it, and does not mind that the object has gone."""
    name = await harness.write()
    await harness.age(DAY)
    await harness.bucket.delete(name)
    assert await harness.store.sweep() == 1
    assert await harness.rows() == []


@pytest.mark.parametrize("name", ["", "..", "../secret.png", "a.png", "%2e%2e/x.png", "A" * 22, f"{'A' * 22}.gif"])
async def test_a_name_that_is_none_of_ours_is_not_found(harness: StoreHarness, name: str) -> None:
    with pytest.raises(NotFoundError):
        await harness.store.open(name)


async def test_a_row_alone_reaches_no_other_object(harness: StoreHarness) -> None:
    """Names are drawn, and checked again: a row that somebody has put there by hand opens nothing else."""
    sql = """INSERT INTO imagegen.results (name, account_id, media_type, size, sha256, expires_at)
             VALUES ('../secret.png', 1, 'image/png', 1, '', 'infinity')"""
    await harness.database.run(sql)
    with pytest.raises(NotFoundError):
        await harness.store.open("../secret.png")


async def test_what_a_killed_process_has_left_of_a_file_is_swept(folder_harness: StoreHarness, tmp_path: Path) -> None:
    name = await folder_harness.note()
    for number in (1, 2):
        (tmp_path / f"pictures/{name}#{number}").write_bytes(PICTURE[:100])
    with pytest.raises(NotFoundError):
        await folder_harness.store.open(name)
    await folder_harness.age(DAY)
    assert await folder_harness.store.sweep() == 1
    assert folder_harness.lying() == []


async def test_what_cannot_be_removed_is_tried_again_and_holds_up_nothing(
    folder_harness: StoreHarness, tmp_path: Path
) -> None:
    stuck, free = await folder_harness.write(), await folder_harness.write()
    file = tmp_path / "pictures" / stuck
    file.unlink()
    (file / "inside").mkdir(parents=True)  # a folder in its place cannot be removed as a file
    await folder_harness.age(DAY)
    assert await folder_harness.store.sweep() == 1
    assert free not in folder_harness.lying()
    await folder_harness.store.delete(stuck)  # says nothing, and leaves the row
    assert [row["name"] for row in await folder_harness.rows()] == [stuck]
    (file / "inside").rmdir()
    file.rmdir()
    assert await folder_harness.store.sweep() == 1


@pytest.mark.parametrize(("left", "shown"), [(100.4, "100"), (8 * DAY, "604800"), (-5.0, "1")])
def test_a_presigned_link_ends_with_the_picture(
    server: Server, s3_harness: StoreHarness, left: float, shown: str
) -> None:
    link = s3_harness.store.link("a.png", datetime.now(UTC) + timedelta(seconds=left))
    assert link.startswith(f"{server.url}/pictures/made/here/a.png?")
    assert f"X-Amz-Expires={shown}&" in link
    assert "secret" not in link


async def test_a_large_picture_is_one_request_to_s3(server: Server, s3_harness: StoreHarness) -> None:
    """No multipart upload that a crash could leave half done, unseen."""
    name = await s3_harness.write(bytes(20 * 1024 * 1024))
    tag = server.client.head_object(Bucket=BUCKET, Key=f"made/here/{name}")["ETag"]
    assert "-" not in tag  # of a multipart upload it would have "-4"
    assert server.uploads() == []
