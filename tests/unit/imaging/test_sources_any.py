"""Fetching whatever is given, from whoever answers: a file or a clear refusal, and never from a private address."""

import asyncio
import ipaddress
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from unittest import mock

import httpcore2
import hypothesis.strategies as st
import pytest
from hypothesis import example, given, settings

from orchestrator.config import ANY_PORT
from orchestrator.errors import InvalidRequestError
from orchestrator.web import addresses
from orchestrator.web.addresses import PublicNetwork
from orchestrator.web.fetching import Fetcher, FetchSettings
from tests.unit.imaging.fetching import PUBLIC

LIMIT = 1000
INNER = ("Error", "Errno", "httpcore", "Timeout", "Traceback", "None")
Answer = bytes


@asynccontextmanager
async def answering(host: str, answer: bytes) -> AsyncIterator[tuple[int, list[bytes]]]:
    """A server that sends these bytes to everybody; gives its port, and what it was asked."""
    asked: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.read(1000))
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, host, 0)
    async with server:
        yield server.sockets[0].getsockname()[1], asked


async def fetched(url: str, *, allow_private: bool = True) -> bytes | str:
    """The file of a URL, or why there is none."""

    async def resolve(host: str, _port: int) -> list[str]:
        return [PUBLIC] if host == "pictures.example" else ["127.0.0.1"]

    bounds = FetchSettings(ports=ANY_PORT, max_bytes=LIMIT, seconds=2.0, allow_private=allow_private)
    fetcher = Fetcher(bounds, resolve)
    try:
        return await fetcher.fetch(url, "edit.image")
    except InvalidRequestError as error:
        (violation,) = error.violations
        assert violation.field == "edit.image"
        assert not any(inner in violation.description for inner in INNER)
        return violation.description
    finally:
        await fetcher.close()


@given(st.text(max_size=60) | st.text(max_size=40).map("http://{}".format) | st.binary(max_size=40).map(repr))
@example("http://a.example:99999/")
@example("http://[::1")
@example("http://\udcff/")
@example("https://user:word@a.example/")
@example("x" * 5000)
def test_any_text_is_fetched_or_refused(url: str) -> None:
    """Every name leads to this machine here, so whatever is a URL is refused for that."""
    assert isinstance(asyncio.run(fetched(url, allow_private=False)), str)


HEADS = st.sampled_from(
    [b"HTTP/1.1 200 OK\r\n", b"HTTP/1.0 200 OK\r\n", b"HTTP/1.1 302 Found\r\n", b"HTTP/1.1 304 \r\n", b""]
)
FIELDS = st.lists(
    st.sampled_from(
        [
            *(b"Content-Length: 5\r\n", b"Content-Length: 99999999\r\n", b"Content-Length: -1\r\n"),
            *(
                b"Transfer-Encoding: chunked\r\n",
                b"Content-Encoding: gzip\r\n",
                b"Location: /again\r\n",
                b"X: \xff\r\n",
            ),
        ]
    )
    | st.binary(max_size=20),
    max_size=4,
).map(b"".join)


@settings(max_examples=150, deadline=None)
@given(HEADS, FIELDS, st.binary(max_size=2 * LIMIT) | st.integers(0, 2 * LIMIT).map(bytes))
def test_any_answer_is_a_file_or_a_refusal(head: bytes, fields: bytes, body: bytes) -> None:
    async def run() -> bytes | str:
        async with answering("127.0.0.1", head + fields + b"\r\n" + body) as (port, _):
            return await fetched(f"http://127.0.0.1:{port}/a.png")

    found = asyncio.run(run())
    if isinstance(found, bytes):
        assert len(found) <= LIMIT


PLACES = st.sampled_from(
    [
        *(
            "http://127.0.0.1:{}/",
            "//127.0.0.1:{}/",
            "http://localhost:{}/x",
            "http://[::1]:{}/",
            "http://2130706433:{}/",
        ),
        *("http://0x7f.1:{}/", "http://[::ffff:127.0.0.1]:{}/", "http://user@127.0.0.1:{}/", "http://0:{}/"),
        *(
            "https://127.0.0.1:{}/",
            "HTTP://127.0.0.1:{}/",
            "http:\\\\127.0.0.1:{}/",
            "http://pictures.example@127.1:{}/",
        ),
    ]
) | st.text(st.characters(min_codepoint=33, max_codepoint=255), max_size=30).map(
    lambda text: "http://127.0.0.1:{}/" + text.replace("{", "").replace("}", "")
)


@pytest.mark.promise(
    "any URL, any answer, any redirect",
    "a file or a refusal in words",
    "orchestrator/web/fetching.py",
)
@settings(max_examples=60, deadline=None)
@given(PLACES)
def test_no_redirect_leads_to_an_address_that_is_not_public(place: str) -> None:
    async def run() -> tuple[bytes | str, list[bytes]]:
        async with answering("127.0.0.1", b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret") as (inside, asked):
            location = place.format(inside).encode("latin-1")
            answer = b"HTTP/1.1 302 Found\r\nLocation: " + location + b"\r\nContent-Length: 0\r\n\r\n"
            async with answering(PUBLIC, answer) as (outside, _):
                found = await fetched(f"http://pictures.example:{outside}/", allow_private=False)
            return found, asked

    with mock.patch.object(addresses, "is_public", lambda text: text == PUBLIC):
        found, asked = asyncio.run(run())
    assert isinstance(found, str)
    assert asked == []


@given(st.lists(st.ip_addresses().map(str), min_size=1, max_size=3))
@example(["8.8.8.8"])
@example(["8.8.8.8", "10.0.0.1"])
@example(["::ffff:8.8.8.8"])
@example(["64:ff9b::a00:1"])
def test_whatever_a_name_resolves_to_only_public_addresses_are_connected_to(found: list[str]) -> None:
    """All of them public, or none is tried: who answers with both means no good."""
    tried: list[str] = []

    async def connect(_self: object, host: str, *_: object) -> None:
        tried.append(host)
        raise httpcore2.ConnectError("nobody")

    async def resolve(_host: str, _port: int) -> list[str]:
        return found

    async def run() -> None:
        network = PublicNetwork(resolve=resolve)
        try:
            await network.connect_tcp("pictures.example", 80)
        except httpcore2.ConnectError:
            pass
        finally:
            network.close()

    with mock.patch.object(httpcore2.AnyIOBackend, "connect_tcp", connect):
        asyncio.run(run())
    assert set(tried) <= set(found)
    for address in map(ipaddress.ip_address, tried):
        assert address.is_global or "64:ff9b:" in str(address)
        assert not address.is_multicast
        assert not address.is_private or "64:ff9b:" in str(address)
    if not all(ipaddress.ip_address(each).is_global or each.startswith("64:ff9b") for each in found):
        assert tried == []
