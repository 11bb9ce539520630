"""Pictures by URL: which URLs, from which addresses, asked for how."""

import asyncio
import ssl
from pathlib import Path
from typing import Any

import pytest

from orchestrator.config import ANY_PORT
from orchestrator.errors import InvalidRequestError
from orchestrator.web.fetching import Fetcher, FetchSettings
from orchestrator.web.hosts import parse_hosts
from tests.integration.web import Web, redirect, status
from tests.unit.imaging.fetching import CHUNKED, PICTURE, PUBLIC, raw, refusal


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
    # Some spellings are not a URL's host, and some are names that nobody has.
    no_host = {"is not a URL", "cannot be fetched: its server cannot be reached"}
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
    fetcher = Fetcher(FetchSettings(ports=ANY_PORT), resolve)
    assert await refusal(fetcher, web.url("/a", "pictures.example")) == "refers to an address that is not public"
    assert not web.asked["/a"].is_set()
    await fetcher.close()


@pytest.mark.promise(
    "URLs of this network",
    "every address that a name has is checked, and the checked one is connected to",
    "orchestrator/web/addresses.py",
)
@pytest.mark.usefixtures("public")
async def test_a_name_that_is_private_the_second_time(web: Web) -> None:
    """What is connected to is what was checked: each resolution is, and there is one for each connection."""
    asked: list[str] = []

    async def resolve(host: str, _port: int) -> list[str]:
        asked.append(host)
        return [PUBLIC] if len(asked) == 1 else ["127.0.0.1"]

    fetcher = Fetcher(FetchSettings(ports=ANY_PORT), resolve)
    web.put("/a", PICTURE)
    assert await fetcher.fetch(web.url("/a", "pictures.example"), "edit.image") == PICTURE
    assert asked == ["pictures.example"]
    assert await refusal(fetcher, web.url("/a", "pictures.example")) == "refers to an address that is not public"
    await fetcher.close()


@pytest.mark.promise(
    "redirects to this network",
    "checked like the first",
    "orchestrator/web/fetching.py",
)
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


@pytest.mark.promise(
    "knocking on other people's ports",
    (
        "80, 443, 8080 and 8443, of pictures and of webhooks, also behind redirects "
        "(`IMAGEGEN_FETCH_PORTS`, `IMAGEGEN_WEBHOOK_PORTS`)"
    ),
    "orchestrator/web/urls.py",
)
@pytest.mark.parametrize("port", [22, 81, 5432, 6379, 65535])
async def test_ports_that_are_not_of_web_servers_are_refused(web: Web, fetcher: Fetcher, port: int) -> None:
    """Nobody is connected to, at the first URL as behind a redirect."""
    production = Fetcher(FetchSettings(allow_private=True))
    words = f"uses port {port}; allowed ports are 80, 443, 8080, 8443"
    assert await refusal(production, f"http://127.0.0.1:{port}/") == words
    await production.close()
    mixed = Fetcher(FetchSettings(ports=frozenset({web.port}), allow_private=True))
    said = await refusal(mixed, web.put("/a", redirect(f"https://127.0.0.1:{port}/")))
    assert said == f"is redirected to a URL that uses port {port}; allowed ports are {web.port}"
    await mixed.close()
    assert await fetcher.fetch(web.put("/b", PICTURE), "edit.image") == PICTURE


@pytest.mark.promise(
    "an account that fetches from anywhere",
    (
        "its own list of hosts, if the operator sets one (`accounts set NAME --source-hosts`); "
        "redirects lead to no other"
    ),
    "orchestrator/web/hosts.py",
)
async def test_the_hosts_of_an_account(web: Web) -> None:
    """Exact hosts and suffixes; a redirect leads to no other."""

    async def resolve(_host: str, _port: int) -> list[str]:
        return ["127.0.0.1"]

    fetcher = Fetcher(FetchSettings(ports=ANY_PORT, allow_private=True), resolve)
    hosts = parse_hosts("pictures.example,*.cdn.example")
    web.put("/a", PICTURE)
    web.put("/inside", redirect(web.url("/a", "b.cdn.example")))
    web.put("/outside", redirect(web.url("/a", "cdn.example")))
    for host in ("pictures.example", "PICTURES.example.", "a.b.cdn.example"):
        assert await fetcher.fetch(web.url("/inside", host), "edit.image", hosts) == PICTURE
    for url, host in (
        (web.url("/a", "evil.example"), "evil.example"),
        (web.url("/outside", "pictures.example"), "cdn.example"),
    ):
        with pytest.raises(InvalidRequestError, match=rf"leads to {host}, which is not one of the account's source"):
            await fetcher.fetch(url, "edit.image", hosts)
    await fetcher.close()


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
async def test_what_is_not_a_web_url_is_refused(strict: Fetcher, url: str) -> None:
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
    said = await refusal(fetcher, f"https://localhost:{port}/")
    assert said.startswith("cannot be fetched: its server has a certificate that is not trusted")
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


@pytest.mark.parametrize(
    "coding", [b"", b" ", b"identity", b"aws-chunked", b"AWS-Chunked", b"base64", b"utf-8", b"binary", b"none"]
)
async def test_a_content_encoding_that_means_nothing_is_ignored(web: Web, fetcher: Fetcher, coding: bytes) -> None:
    page = raw(PICTURE, b"Content-Encoding: %s\r\n" % coding, b"Content-Length: %d\r\n" % len(PICTURE))
    assert await fetcher.fetch(web.put("/a", page), "edit.image") == PICTURE


@pytest.mark.parametrize("coding", [b"gzip", b"GZIP", b"br", b"aws-chunked, zstd", b"deflate,"])
async def test_a_content_encoding_that_means_something_is_refused(web: Web, fetcher: Fetcher, coding: bytes) -> None:
    page = raw(PICTURE, b"Content-Encoding: %s\r\n" % coding, b"Content-Length: %d\r\n" % len(PICTURE))
    assert "which was not asked for" in await refusal(fetcher, web.put("/a", page))


@pytest.mark.parametrize(
    ("location", "path"),
    [
        ("/\u56fe.png".encode(), "/%E5%9B%BE.png"),
        ("/a b?q=\u56fe".encode(), "/a%20b?q=%E5%9B%BE"),
        (b"/%E5%9B%BE.png", "/%E5%9B%BE.png"),
        ("/\xe9.png".encode("latin-1"), "/%C3%A9.png"),
    ],
)
async def test_a_redirect_may_have_any_letters(web: Web, fetcher: Fetcher, location: bytes, path: str) -> None:
    async def page(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 302 Found\r\nConnection: close\r\nContent-Length: 0\r\nLocation: %s\r\n\r\n" % location)

    web.put(path, PICTURE)
    assert await fetcher.fetch(web.put("/start", page), "edit.image") == PICTURE
