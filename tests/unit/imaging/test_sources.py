"""Pictures by URL: from public addresses, in time, in bounds."""

import asyncio
import gzip
import ssl
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import InvalidRequestError
from orchestrator.imaging import addresses
from orchestrator.imaging.sources import Fetcher, FetchSettings
from tests.integration.web import Page, Web, dripping, endless, file, redirect, serve_web, silent, status

PICTURE = bytes(range(256)) * 400
PUBLIC = "127.0.0.2"
"""An address of this machine that some tests take for public."""


@pytest.fixture
async def web() -> AsyncIterator[Web]:
    """A web server on 127.0.0.1, and on PUBLIC too."""
    async with serve_web() as served:
        server = await asyncio.start_server(served.answer, PUBLIC, served.port)
        yield served
        server.close()


@pytest.fixture
async def fetcher() -> AsyncIterator[Fetcher]:
    """May fetch from everywhere, in little time."""
    made = Fetcher(FetchSettings(allow_private=True, seconds=5, max_bytes=1 << 20))
    yield made
    await made.close()


@pytest.fixture
async def strict() -> AsyncIterator[Fetcher]:
    """As it is in production."""
    made = Fetcher(FetchSettings())
    yield made
    await made.close()


@pytest.fixture
def public(monkeypatch: pytest.MonkeyPatch) -> None:
    """Takes PUBLIC for a public address."""
    real = addresses.is_public
    monkeypatch.setattr(addresses, "is_public", lambda address: address == PUBLIC or real(address))


async def refusal(fetcher: Fetcher, url: str) -> str:
    """What is said of a URL that is not fetched; never anything of the program's own."""
    with pytest.raises(InvalidRequestError) as caught:
        await fetcher.fetch(url, "edit.image")
    (violation,) = caught.value.violations
    assert violation.field == "edit.image"
    for inner in ("Error", "Errno", "httpcore", "Timeout", "127.0", "None", "0x"):
        assert inner not in violation.description
    return violation.description


async def test_a_file_is_fetched_whole(web: Web, fetcher: Fetcher) -> None:
    assert await fetcher.fetch(web.put("/a.png?b=c&d", PICTURE), "edit.image") == PICTURE
    assert await fetcher.fetch(web.put("/empty", b""), "edit.image") == b""


async def test_names_are_resolved(web: Web, fetcher: Fetcher) -> None:
    web.put("/a", PICTURE)
    assert await fetcher.fetch(web.url("/a", "localhost"), "edit.image") == PICTURE


async def test_a_chunked_file(web: Web, fetcher: Fetcher) -> None:
    assert (
        await fetcher.fetch(web.put("/a", raw(b"5\r\nabcde\r\n1\r\nf\r\n0\r\n\r\n", CHUNKED)), "edit.image")
        == b"abcdef"
    )


CHUNKED = b"Transfer-Encoding: chunked\r\n"


def raw(body: bytes, *fields: bytes) -> Page:
    async def page(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n" + b"".join(fields) + b"\r\n" + body)

    return page


ODD = ("0177.0.0.1", "127.0.0.1.", "①②⑦.0.0.1")


@pytest.mark.parametrize(
    "host",
    [
        *ODD,
        *("127.0.0.1", "localhost", "127.1", "0x7f.1", "2130706433"),
        "0.0.0.0",  # noqa: S104 - asked, not bound
        *("[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]"),
    ],
)
async def test_this_machine_is_refused(web: Web, strict: Fetcher, host: str) -> None:
    web.put("/a", PICTURE)
    said = await refusal(strict, web.url("/a", host))
    # Some spellings are no URL's host, and some are names that nobody has.
    no_host = {"is no URL, or is redirected to what is none", "cannot be fetched: its server cannot be reached"}
    assert said == "refers to an address that is not public" or (host in ODD and said in no_host)
    assert not web.asked["/a"].is_set()


@pytest.mark.parametrize(
    "host", ["10.0.0.1", "169.254.169.254", "192.168.0.1", "[fe80::1]", "[fd00::1]", "[64:ff9b::a00:1]"]
)
async def test_private_networks_are_refused(strict: Fetcher, host: str) -> None:
    assert await refusal(strict, f"http://{host}/latest/meta-data") == "refers to an address that is not public"


@pytest.mark.parametrize("answers", [["10.0.0.1"], ["127.0.0.1"], [PUBLIC, "192.168.0.1"], ["::1", PUBLIC]])
@pytest.mark.usefixtures("public")
async def test_a_name_with_a_private_address_is_refused(web: Web, answers: list[str]) -> None:
    async def resolve(_host: str, _port: int) -> list[str]:
        return answers

    web.put("/a", PICTURE)
    fetcher = Fetcher(FetchSettings(), resolve)
    assert await refusal(fetcher, web.url("/a", "pictures.example")) == "refers to an address that is not public"
    assert not web.asked["/a"].is_set()
    await fetcher.close()


@pytest.mark.usefixtures("public")
async def test_a_name_that_is_private_the_second_time(web: Web) -> None:
    """What is connected to is what was looked at: each resolution is, and there is one for each connection."""
    asked: list[str] = []

    async def resolve(host: str, _port: int) -> list[str]:
        asked.append(host)
        return [PUBLIC] if len(asked) == 1 else ["127.0.0.1"]

    fetcher = Fetcher(FetchSettings(), resolve)
    web.put("/a", PICTURE)
    assert await fetcher.fetch(web.url("/a", "pictures.example"), "edit.image") == PICTURE
    assert asked == ["pictures.example"]
    assert await refusal(fetcher, web.url("/a", "pictures.example")) == "refers to an address that is not public"
    await fetcher.close()


@pytest.mark.parametrize(
    "to",
    [
        *("http://127.0.0.1:{port}/secret", "http://localhost:{port}/secret", "//127.0.0.1:{port}/secret"),
        *("http://169.254.169.254/secret", "http://[::1]:{port}/secret", "http://2130706433:{port}/secret"),
        "https://127.0.0.1:{port}/secret",
    ],
)
@pytest.mark.usefixtures("public")
async def test_redirects_to_private_addresses_are_refused(web: Web, strict: Fetcher, to: str) -> None:
    web.put("/a", redirect(to.format(port=web.port)))
    web.put("/secret", PICTURE)
    assert await refusal(strict, web.url("/a", PUBLIC)) == "refers to an address that is not public"
    assert web.asked["/a"].is_set()
    assert not web.asked["/secret"].is_set()


@pytest.mark.usefixtures("public")
async def test_a_public_page_is_fetched_as_in_production(web: Web, strict: Fetcher) -> None:
    web.put("/a", redirect("b/c"))
    web.put("/b/c", PICTURE)
    assert await strict.fetch(web.url("/a", PUBLIC), "edit.image") == PICTURE


@pytest.mark.parametrize("hops", [5, 6])
async def test_redirects_are_counted(web: Web, fetcher: Fetcher, hops: int) -> None:
    for hop in range(hops):
        web.put(f"/{hop}", redirect(f"/{hop + 1}"))
    web.put(f"/{hops}", PICTURE)
    if hops == 5:
        assert await fetcher.fetch(web.url("/0"), "edit.image") == PICTURE
    else:
        assert await refusal(fetcher, web.url("/0")) == "is redirected more than 5 times"


async def test_a_loop_of_redirects_ends(web: Web, fetcher: Fetcher) -> None:
    assert await refusal(fetcher, web.put("/a", redirect("/a"))) == "is redirected more than 5 times"


@pytest.mark.parametrize(
    "to", ["file:///etc/passwd", "ftp://127.0.0.1/a", "gopher://127.0.0.1/", "http://[::", "data:,x"]
)
async def test_redirects_to_anything_but_the_web_are_refused(web: Web, fetcher: Fetcher, to: str) -> None:
    said = await refusal(fetcher, web.put("/a", redirect(to)))
    assert "redirected to" in said
    assert "URL" in said


@pytest.mark.parametrize(
    "url",
    [
        *("file:///etc/passwd", "ftp://example.com/a.png", "gopher://example.com/", "/etc/passwd", "example.com/a.png"),
        *("", "http:", "http://", "http:///a", "://x", "http://[::1", "http://a:99999/", "http://a:0/", "data:,x"),
        *(
            "javascript:alert(1)",
            "http://\x00/",
            "http://a/\n",
            "unix:///tmp/x",
            "http://xn--\u00ff\u00ff/",
            "http://" + "é" * 300,
        ),
    ],
)
async def test_what_is_no_url_of_the_web_is_refused(strict: Fetcher, url: str) -> None:
    assert "URL" in await refusal(strict, url)


@pytest.mark.parametrize("user", ["user:password@", "user@", ":@", "127.0.0.1#@"])
async def test_passwords_are_refused(web: Web, fetcher: Fetcher, user: str) -> None:
    url = web.put("/a", PICTURE).replace("http://", f"http://{user}")
    if user == "127.0.0.1#@":  # all but the address is a fragment
        assert await refusal(fetcher, url) == "cannot be fetched: its server cannot be reached"
    else:
        assert "password" in await refusal(fetcher, url)


async def test_a_url_that_is_too_long(web: Web, fetcher: Fetcher) -> None:
    assert "2048 characters" in await refusal(fetcher, web.url("/" + "a" * 2048))
    assert "2048 characters" in await refusal(fetcher, web.put("/a", redirect("/" + "a" * 2048)))


@pytest.mark.parametrize("code", [204, 206, 304, 401, 404, 500])
async def test_other_answers_than_200(web: Web, fetcher: Fetcher, code: int) -> None:
    assert f"status {code}" in await refusal(fetcher, web.put("/a", status(code)))


async def test_a_redirect_to_nowhere(web: Web, fetcher: Fetcher) -> None:
    assert "status 302" in await refusal(fetcher, web.put("/a", status(302)))


async def test_a_packed_answer_is_not_unpacked(web: Web, fetcher: Fetcher) -> None:
    packed = gzip.compress(bytes(1 << 24))
    url = web.put("/a", raw(packed, b"Content-Encoding: gzip\r\n", b"Content-Length: %d\r\n" % len(packed)))
    assert "Content-Encoding" in await refusal(fetcher, url)


async def in_time(fetcher: Fetcher, url: str) -> str:
    """What is said within about half a second."""
    fetcher._settings = FetchSettings(allow_private=True, seconds=0.3)
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

    fetcher = Fetcher(FetchSettings(connect_seconds=0.2), resolve)
    async with asyncio.timeout(3):
        said = await refusal(fetcher, web.url("/", "slow.example"))
    assert said == "cannot be fetched: its server cannot be reached"
    await fetcher.close()


@pytest.mark.parametrize("answers", [[], ["127.0.0.3"]])
async def test_a_host_that_is_not_there(web: Web, answers: list[str]) -> None:
    async def resolve(_host: str, _port: int) -> list[str]:
        return answers

    fetcher = Fetcher(FetchSettings(allow_private=True), resolve)
    assert await refusal(fetcher, web.url("/", "none.example")) == "cannot be fetched: its server cannot be reached"
    await fetcher.close()


async def test_the_next_address_is_tried(web: Web) -> None:
    async def resolve(_host: str, _port: int) -> list[str]:
        return ["127.0.0.3", "127.0.0.1"]

    fetcher = Fetcher(FetchSettings(allow_private=True), resolve)
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
        assert "breaks off" in await refusal(fetcher, web.put("/a", page))


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
    fetcher = Fetcher(FetchSettings(allow_private=True, seconds=0.2, max_connections=2))
    url = web.put("/a", silent())
    await asyncio.gather(*(refusal(fetcher, url) for _ in range(12)))
    assert await fetcher.fetch(web.put("/b", PICTURE), "edit.image") == PICTURE
    await fetcher.close()


async def test_what_is_sent(fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy, no cookie, no wish for packing; one connection serves both requests."""
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    heads: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            heads.append(head)
            writer.write(b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nContent-Length: 1\r\n\r\nx")

    async def quiet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await answer(reader, writer)
        except asyncio.IncompleteReadError:
            writer.close()

    server = await asyncio.start_server(quiet, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    for _ in range(2):
        assert await fetcher.fetch(f"http://127.0.0.1:{port}/a b?c=%20d#e", "edit.image") == b"x"
    await fetcher.close()
    server.close()
    expected = (
        f"GET /a%20b?c=%20d HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUser-Agent: imagegen\r\n"
        "Accept: image/*,*/*;q=0.5\r\nAccept-Encoding: identity\r\n\r\n"
    )
    assert [head.decode() for head in heads] == [expected] * 2
    assert len(fetcher._pool.connections) == 0


async def test_certificates_are_looked_at(fetcher: Fetcher) -> None:
    """Nobody vouches for this server's, and it belongs to localhost."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(Path(__file__).with_name("self_signed.pem"))

    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    assert await refusal(fetcher, f"https://localhost:{port}/") == "cannot be fetched: its server cannot be reached"
    trusting = ssl.create_default_context(cafile=Path(__file__).with_name("self_signed.pem"))
    fetcher._pool._ssl_context = trusting
    assert await fetcher.fetch(f"https://localhost:{port}/", "edit.image") == b"x"
    server.close()


async def test_the_log_keeps_queries_out(web: Web, fetcher: Fetcher, capsys: pytest.CaptureFixture[Any]) -> None:
    await refusal(fetcher, web.url("/none?signature=secret", "user:secret@127.0.0.1"))
    logged = capsys.readouterr()
    assert "picture not fetched" in logged.out + logged.err
    assert "/none" in logged.out + logged.err
    assert "secret" not in logged.out + logged.err
