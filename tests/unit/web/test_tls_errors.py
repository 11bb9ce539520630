"""Servers whose TLS is not right: pictures and webhooks say what is wrong."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from orchestrator.config import ANY_PORT
from orchestrator.errors import InvalidRequestError
from orchestrator.web.fetching import Fetcher, FetchSettings
from orchestrator.web.posting import Poster, PostError
from tests.certificates import Authority

EXPIRED = datetime.now(UTC) - timedelta(days=1)


async def _resolve(_host: str, _port: int) -> list[str]:
    return ["127.0.0.1"]


async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One byte of a file, whatever is asked."""
    writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx")
    writer.close()


async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)
    writer.close()


@asynccontextmanager
async def serving(context: ssl.SSLContext | None, page: Callable[..., object] = answer) -> AsyncIterator[int]:
    server = await asyncio.start_server(page, "127.0.0.1", 0, ssl=context)  # type: ignore[arg-type]  # either page
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def context_of(authority: Authority, folder: Path, expires: datetime | None) -> ssl.SSLContext:
    certificate, key = authority.sign("server", expires)
    file = folder / "server.pem"
    file.write_bytes(certificate + key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context


async def said(url: str, trusted: bytes | None) -> tuple[str, str]:
    """What a client learns of a picture's URL, and of a webhook's."""
    fetcher = Fetcher(FetchSettings(allow_private=True, ports=ANY_PORT), _resolve)
    poster = Poster(seconds=5, max_connections=2, allow_private=True, ports=ANY_PORT, resolve=_resolve)
    if trusted is not None:
        for each in (fetcher, poster):
            each._pool._ssl_context = ssl.create_default_context(cadata=trusted.decode())
    try:
        with pytest.raises(InvalidRequestError) as refused:
            await fetcher.fetch(url, "edit.image")
        with pytest.raises(PostError) as failed:
            await poster.post(url, {}, b"{}")
    finally:
        await fetcher.close()
        await poster.close()
    return refused.value.violations[0].description, str(failed.value)


@pytest.mark.parametrize(
    ("host", "expires", "is_trusted", "words"),
    [
        ("localhost", None, False, "has a certificate that is not trusted"),
        ("localhost", EXPIRED, True, "has a certificate that has expired"),
        ("other.example", None, True, "has a certificate for another host name"),
        ("127.0.0.2", None, True, "has a certificate for another host name"),
    ],
)
async def test_what_is_wrong_with_a_certificate(
    tmp_path: Path, host: str, expires: datetime | None, *, is_trusted: bool, words: str
) -> None:
    authority = Authority()
    async with serving(context_of(authority, tmp_path, expires)) as port:
        picture, webhook = await said(f"https://{host}:{port}/", authority.pem if is_trusted else None)
    assert picture.startswith(f"cannot be fetched: its server {words}")
    assert webhook.startswith(f"the server {words}")


async def test_https_at_a_port_of_http() -> None:
    async with serving(None) as port:
        picture, webhook = await said(f"https://localhost:{port}/", None)
    words = "does not speak TLS at this port; try http in place of https"
    assert (picture, webhook) == (f"cannot be fetched: its server {words}", f"the server {words}")


async def test_a_server_that_hangs_up_on_the_handshake() -> None:
    async with serving(None, hang_up) as port:
        picture, webhook = await said(f"https://localhost:{port}/", None)
    assert picture.endswith("its server closed the connection during the TLS handshake")
    assert webhook == "the server closed the connection during the TLS handshake"


async def test_a_certificate_in_order_is_taken(tmp_path: Path) -> None:
    authority = Authority()
    fetcher = Fetcher(FetchSettings(allow_private=True, ports=ANY_PORT), _resolve)
    fetcher._pool._ssl_context = ssl.create_default_context(cadata=authority.pem.decode())
    async with serving(context_of(authority, tmp_path, None)) as port:
        assert await fetcher.fetch(f"https://localhost:{port}/", "edit.image") == b"x"
    await fetcher.close()


async def test_nobody_listening_is_not_taken_for_tls() -> None:
    async with serving(None) as port:
        pass
    picture, webhook = await said(f"https://localhost:{port}/", None)
    assert picture == "cannot be fetched: its server cannot be reached"
    assert webhook == "the server cannot be reached"
