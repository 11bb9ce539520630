"""Pictures by URL: in time, in little memory, and with nothing left open."""

import asyncio
import gzip
import tracemalloc

import pytest

from orchestrator.config import ANY_PORT
from orchestrator.web.fetching import Fetcher, FetchSettings
from tests.integration.web import Page, Web, dripping, endless, file, redirect, silent
from tests.unit.imaging.fetching import CHUNKED, PICTURE, raw, refusal


async def test_a_packed_answer_is_not_unpacked(web: Web, fetcher: Fetcher) -> None:
    packed = gzip.compress(bytes(1 << 24))
    url = web.put("/a", raw(packed, b"Content-Encoding: gzip\r\n", b"Content-Length: %d\r\n" % len(packed)))
    assert "Content-Encoding gzip" in await refusal(fetcher, url)


async def in_time(fetcher: Fetcher, url: str) -> str:
    """What is said within about half a second."""
    fetcher._settings = FetchSettings(ports=ANY_PORT, allow_private=True, seconds=0.3)
    async with asyncio.timeout(3):
        return await refusal(fetcher, url)


def one_field_after_the_other() -> Page:
    async def page(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n")
        while not reader.at_eof():
            writer.write(b"X: y\r\n")
            await writer.drain()
            await asyncio.wait({asyncio.ensure_future(reader.read(1))}, timeout=0.05)

    return page


@pytest.mark.promise(
    "slow and endless pages",
    "one deadline for all, bytes counted as they come, nothing unpacked",
    "orchestrator/web/fetching.py",
)
@pytest.mark.parametrize("page", [silent(), dripping(PICTURE), one_field_after_the_other()])
async def test_slow_servers_end_at_the_deadline(web: Web, fetcher: Fetcher, page: Page) -> None:
    assert await in_time(fetcher, web.put("/a", page)) == "did not arrive within 0.3 seconds"
    async with asyncio.timeout(3):
        await web.left["/a"].wait()  # the connection is closed
    assert fetcher._pool.connections == []


async def test_redirects_share_one_deadline(web: Web, fetcher: Fetcher) -> None:
    web.put("/b", silent())
    assert await in_time(fetcher, web.put("/a", redirect("/b"))) == "did not arrive within 0.3 seconds"


async def test_a_name_server_that_never_answers(web: Web) -> None:
    async def resolve(_host: str, _port: int) -> list[str]:
        await asyncio.Event().wait()
        return []

    fetcher = Fetcher(FetchSettings(ports=ANY_PORT, connect_seconds=0.2), resolve)
    async with asyncio.timeout(3):
        said = await refusal(fetcher, web.url("/", "slow.example"))
    assert said == "cannot be fetched: its server cannot be reached"
    await fetcher.close()


@pytest.mark.parametrize("answers", [[], ["127.0.0.3"]])
async def test_a_host_that_is_not_there(web: Web, answers: list[str]) -> None:
    async def resolve(_host: str, _port: int) -> list[str]:
        return answers

    fetcher = Fetcher(FetchSettings(ports=ANY_PORT, allow_private=True), resolve)
    assert await refusal(fetcher, web.url("/", "none.example")) == "cannot be fetched: its server cannot be reached"
    await fetcher.close()


async def test_the_next_address_is_tried(web: Web) -> None:
    async def resolve(_host: str, _port: int) -> list[str]:
        return ["127.0.0.3", "127.0.0.1"]

    fetcher = Fetcher(FetchSettings(ports=ANY_PORT, allow_private=True), resolve)
    web.put("/a", PICTURE)
    assert await fetcher.fetch(web.url("/a", "two.example"), "edit.image") == PICTURE
    await fetcher.close()


@pytest.mark.parametrize("page", [endless(declared=None), endless(declared=2 << 30), raw(bytes(2 << 20))])
async def test_too_much_is_refused_in_little_memory(web: Web, fetcher: Fetcher, page: Page) -> None:
    """2 GB behind no Content-Length, or an honest one; and a file that ends where the connection does."""
    url = web.put("/a", page)
    tracemalloc.start()
    try:
        assert await refusal(fetcher, url) == "is larger than 1048576 bytes"
        async with asyncio.timeout(3):
            await web.left["/a"].wait()
        assert tracemalloc.get_traced_memory()[1] < 12 << 20  # of it 4 MB are the server's
    finally:
        tracemalloc.stop()


async def test_what_comes_after_the_declared_length_is_not_read(web: Web, fetcher: Fetcher) -> None:
    """2 GB behind a small Content-Length."""
    assert await fetcher.fetch(web.put("/a", endless(declared=100)), "edit.image") == bytes(100)
    async with asyncio.timeout(3):
        await web.left["/a"].wait()


async def test_a_file_of_just_the_limit(web: Web, fetcher: Fetcher) -> None:
    assert len(await fetcher.fetch(web.put("/a", bytes(1 << 20)), "edit.image")) == 1 << 20
    assert "larger" in await refusal(fetcher, web.put("/b", bytes((1 << 20) + 1)))


async def test_a_server_that_hangs_up_or_speaks_otherwise(web: Web, fetcher: Fetcher) -> None:
    async def ssh(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-x\r\n")

    async def fields(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n" + b"X-Field: y\r\n" * 100_000)

    for page in (file(PICTURE, declared=len(PICTURE) + 1), ssh, fields, raw(b"zz\r\n", CHUNKED)):
        assert "closed the connection or sent invalid HTTP" in await refusal(fetcher, web.put("/a", page))


async def test_giving_up_closes_the_connection(web: Web, fetcher: Fetcher) -> None:
    task = asyncio.create_task(fetcher.fetch(web.put("/a", silent()), "edit.image"))
    async with asyncio.timeout(3):
        await web.asked["/a"].wait()
        task.cancel()
        await web.left["/a"].wait()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_many_failures_leave_room_for_the_next(web: Web) -> None:
    """Of two connections none is lost."""
    fetcher = Fetcher(FetchSettings(ports=ANY_PORT, allow_private=True, seconds=0.2, max_connections=2))
    url = web.put("/a", silent())
    await asyncio.gather(*(refusal(fetcher, url) for _ in range(12)))
    assert await fetcher.fetch(web.put("/b", PICTURE), "edit.image") == PICTURE
    await fetcher.close()
