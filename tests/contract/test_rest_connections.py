"""What a client may do to the REST server before anybody knows its key: raw sockets, hostile heads, slow bodies."""

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from gateway.transport import body, connections, lingering
from gateway.transport.connections import address_of
from tests.certificates import Authority, Mounted
from tests.contract import rest_stack
from tests.contract.rest_fake import KEY
from tests.contract.rest_stack import Stack, http_server

pytestmark = pytest.mark.asyncio(loop_scope="module")

LIMIT = 200_000
HOST = "host: x\r\n"
POST = f"POST /rest_api/process HTTP/1.1\r\n{HOST}content-type: application/json\r\n"
WITH_KEY, UNKNOWN_KEY = f"x-api-key: {KEY}\r\n", "x-api-key: nobody\r\n"


class Raw:
    """A connection, byte by byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, text: str | bytes) -> None:
        """Write, whether the server still reads or not."""
        self.writer.write(text.encode("latin-1") if isinstance(text, str) else text)

    async def status(self) -> int:
        """Of the next answer; 0 if there is none."""
        async with asyncio.timeout(10):
            try:
                line = await self.reader.readline()
            except ConnectionError:
                return 0
        return int(line.split()[1]) if line else 0

    async def answer(self) -> tuple[int, dict[str, str], Any]:
        """The next answer: its status, headers and JSON."""
        status = await self.status()
        assert status, "the connection ended without an answer"
        headers = {}
        while (line := (await self.reader.readline()).decode().strip()) != "":
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        content = await self.reader.readexactly(int(headers.get("content-length", "0")))
        return status, headers, json.loads(content) if content else None

    async def ended(self) -> bool:
        """Whether the server closes, after whatever it still sends."""
        async with asyncio.timeout(10):
            with contextlib.suppress(ConnectionError):
                while await self.reader.read(65_536):
                    pass
        return True


@contextlib.asynccontextmanager
async def raw(stack: Stack) -> AsyncIterator[Raw]:
    reader, writer = await asyncio.open_connection(stack.address.host, stack.address.port)
    try:
        yield Raw(reader, writer)
    finally:
        writer.transport.abort()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="running")
async def _running() -> AsyncIterator[Stack]:
    async with rest_stack.stack(
        rest_wait_seconds=0.5,
        rest_retry_seconds=0.2,
        rest_max_body_bytes=LIMIT,
        rest_max_connections=60,
        rest_max_connections_of_address=40,
    ) as running:
        yield running


HEADS = {
    "a header without end": (f"GET /healthz HTTP/1.1\r\n{HOST}a: " + "a" * 100_000, 431),
    "headers without end": (f"GET /healthz HTTP/1.1\r\n{HOST}" + "a: b\r\n" * 50_000, 431),
    "many headers": (f"GET /healthz HTTP/1.1\r\n{HOST}" + "a: b\r\n" * 101 + "\r\n", 431),
    "many empty headers": (f"GET /healthz HTTP/1.1\r\n{HOST}" + "a:\r\n" * 5000 + "\r\n", 431),
    "a path without end": ("GET /" + "a" * 100_000, 431),
    "a long path": ("GET /" + "a" * 9000 + f" HTTP/1.1\r\n{HOST}\r\n", 414),
    "a long query": ("GET /healthz?" + "a" * 9000 + f" HTTP/1.1\r\n{HOST}\r\n", 414),
    "a method without end": ("G" * 100_000, 431),
    "no HTTP": ("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
    "two lengths": (f"{POST}content-length: 5\r\ncontent-length: 6\r\n\r\n", 400),
    "a length and chunks": (f"{POST}content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", 403),
    "a length below nothing": (f"{POST}content-length: -1\r\n\r\n", 400),
    "a length that is not a number": (f"{POST}content-length: 0x10\r\n\r\n", 400),
    "an unknown transfer coding": (f"{POST}transfer-encoding: gzip, chunked\r\n\r\n", 501),
    "a folded header": (f"GET /healthz HTTP/1.1\r\n{HOST}a: b\r\n c\r\n\r\n", 200),
    "NUL in a header": (f"GET /healthz HTTP/1.1\r\n{HOST}a: b\0c\r\n\r\n", 400),
    "NUL in a name": (f"GET /healthz HTTP/1.1\r\n{HOST}a\0b: c\r\n\r\n", 400),
    "NUL in the path": (f"GET /\0 HTTP/1.1\r\n{HOST}\r\n", 400),
    "a space before the colon": (f"GET /healthz HTTP/1.1\r\n{HOST}a : b\r\n\r\n", 400),
    "no host": ("GET /healthz HTTP/1.1\r\n\r\n", 400),
    "two hosts": (f"GET /healthz HTTP/1.1\r\n{HOST}{HOST}\r\n", 400),
    "HTTP/2 in clear": ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 404),
    "a bare line feed": ("GET /healthz HTTP/1.1\nhost: x\n\n", 200),
    "a chunk's size without end": (f"{POST}{WITH_KEY}transfer-encoding: chunked\r\n\r\n" + "1" * 100_000, 431),
    "a chunk's extension without end": (f"{POST}{WITH_KEY}transfer-encoding: chunked\r\n\r\n1;" + "a" * 100_000, 431),
    "trailers without end": (f"{POST}{WITH_KEY}transfer-encoding: chunked\r\n\r\n0\r\n" + "a: b\r\n" * 50_000, 431),
    "chunks of a byte": (f"{POST}{WITH_KEY}transfer-encoding: chunked\r\n\r\n" + "1\r\nx\r\n" * 5000, 400),
}


@pytest.mark.promise(
    "REST heads without end",
    "32 KiB, 100 headers, ten seconds",
    "gateway/transport/parser.py",
)
@pytest.mark.parametrize("head", HEADS)
async def test_heads_are_bounded(stack: Stack, head: str) -> None:
    """Each has an answer that its client can read, however much it still sends; the service goes on."""
    sent, status = HEADS[head]
    async with raw(stack) as connection:
        connection.send(sent)
        found, headers, document = await connection.answer()
        assert found == status
        if status not in {200, 403, 404}:
            assert headers["connection"] == "close"
            assert set(document) == {"message", "code"}
            assert len(document["message"]) < 200
            connection.writer.write_eof()
            assert await connection.ended()
    assert (await stack.client.get("/healthz")).status_code == 200


@pytest.mark.parametrize("sent", ["", "G", "GET /healthz HTTP/1.1\r\n", f"GET /healthz HTTP/1.1\r\n{HOST}a: b\r\n"])
async def test_a_head_has_its_time(stack: Stack, sent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.2)
    async with raw(stack) as connection:
        connection.send(sent)
        assert await connection.status() == (408 if sent else 0)


async def test_a_second_head_has_its_time_as_well(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.2)
    async with raw(stack) as connection:
        connection.send(f"GET /healthz HTTP/1.1\r\n{HOST}\r\n")
        assert (await connection.answer())[0] == 200
        connection.send("GET /healthz HTTP/1.1\r\n")
        assert await connection.status() == 408


async def test_pipelined_requests_are_answered_in_order(stack: Stack) -> None:
    async with raw(stack) as connection:
        connection.send(f"GET /healthz HTTP/1.1\r\n{HOST}\r\nGET /nowhere HTTP/1.1\r\n{HOST}\r\n" * 3)
        assert [(await connection.answer())[0] for _ in range(6)] == [200, 404] * 3


@pytest.mark.promise(
    "REST connections without end",
    "2,048, 512 of one address; the one idle longest is closed",
    "gateway/transport/connections.py",
)
async def test_connections_are_bounded_and_silent_ones_make_room(stack: Stack) -> None:
    """Sixty silent ones from one address, of which forty may be open: a request still gets its answer."""
    async with contextlib.AsyncExitStack() as opened:
        silent = [await opened.enter_async_context(raw(stack)) for _ in range(60)]
        for connection in silent:
            connection.send("GET /healthz HTTP/1.1\r\n")
        for _ in range(5):
            async with raw(stack) as connection:
                connection.send(f"GET /healthz HTTP/1.1\r\n{HOST}\r\n")
                assert (await connection.answer())[0] == 200
        assert await silent[0].ended()


async def test_an_address_whose_connections_are_all_in_use_is_answered(stack: Stack) -> None:
    """With a right key, and bodies that do not come: those are in use."""
    async with contextlib.AsyncExitStack() as opened:
        used = [await opened.enter_async_context(raw(stack)) for _ in range(40)]
        for connection in used:
            connection.send(f"{POST}{WITH_KEY}expect: 100-continue\r\ncontent-length: 10\r\n\r\n")
        for connection in used:
            assert await connection.status() == 100
        async with raw(stack) as connection:
            status, headers, document = await connection.answer()
            assert (status, document["code"]) == (503, "SERVICE_UNAVAILABLE")
            assert int(headers["retry-after"]) > 0


TOO_LARGE = b"x" * 5_000_000


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("close", ["", "connection: close\r\n", "connection: keep-alive\r\n"])
@pytest.mark.parametrize("key", ["", UNKNOWN_KEY, WITH_KEY])
async def test_an_answer_before_the_body_can_be_read(stack: Stack, version: str, close: str, key: str) -> None:
    """By clients that send their whole body before they read."""
    head = POST.replace("HTTP/1.1", f"HTTP/{version}") + key + close
    status = {"": 403, UNKNOWN_KEY: 404, WITH_KEY: 413}[key]
    async with raw(stack) as connection:
        connection.send(f"{head}content-length: {len(TOO_LARGE)}\r\n\r\n")
        for at in range(0, len(TOO_LARGE), 500_000):
            connection.send(TOO_LARGE[at : at + 500_000])
            await connection.writer.drain()
        found, headers, document = await connection.answer()
        assert (found, headers["connection"]) == (status, "close")
        assert document["message"]
        assert await connection.ended()


async def test_a_chunked_body_that_is_too_large_is_answered(stack: Stack) -> None:
    async with raw(stack) as connection:
        connection.send(f"{POST}{WITH_KEY}transfer-encoding: chunked\r\n\r\n")
        for _ in range(50):
            connection.send(b"186a0\r\n" + bytes(100_000) + b"\r\n")
            await connection.writer.drain()
        assert (await connection.answer())[0] == 413
        assert await connection.ended()


async def test_what_is_discarded_is_bounded(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lingering, "LINGER_BYTES", 1_000_000)
    async with raw(stack) as connection:
        connection.send(f"{POST}content-length: 1000000000\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            for _ in range(1000):
                connection.send(bytes(100_000))
                await connection.writer.drain()
            pytest.fail("100 MB were taken")


async def test_the_time_for_what_is_discarded_is_bounded(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lingering, "LINGER_SECONDS", 0.2)
    async with raw(stack) as connection:
        connection.send(f"{POST}content-length: 1000000\r\n\r\n")
        assert (await connection.answer())[0] == 403
        assert await connection.ended()


@pytest.mark.promise(
    "REST bodies of strangers",
    "none is read before the key is known",
    "gateway/upstream/known_keys.py",
)
@pytest.mark.parametrize("key", ["", UNKNOWN_KEY])
@pytest.mark.parametrize("length", ["content-length: 100000\r\n", "transfer-encoding: chunked\r\n"])
async def test_no_body_is_asked_for_before_the_key_is_known(stack: Stack, key: str, length: str) -> None:
    """The client waits for "100 Continue", as curl does."""
    async with raw(stack) as connection:
        connection.send(f"{POST}{key}expect: 100-continue\r\n{length}\r\n")
        assert await connection.status() == (404 if key else 403)


async def test_a_known_key_is_asked_for_its_body(stack: Stack) -> None:
    content = json.dumps(rest_stack.TEXT_ONLY)
    async with raw(stack) as connection:
        connection.send(f"{POST}{WITH_KEY}expect: 100-continue\r\ncontent-length: {len(content)}\r\n\r\n")
        assert await connection.status() == 100
        await connection.reader.readline()
        connection.send(content)
        assert (await connection.answer())[0] == 200


@pytest.mark.promise(
    "slow REST bodies",
    "64 KiB a second, and no pause of ten",
    "gateway/transport/body.py",
)
@pytest.mark.parametrize("media_type", ["application/json", "multipart/form-data; boundary=b"])
@pytest.mark.parametrize("length", ["content-length: 190000\r\n", "transfer-encoding: chunked\r\n"])
async def test_a_slow_body_is_given_up(
    stack: Stack, media_type: str, length: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A byte now and then, without end."""
    monkeypatch.setattr(body, "PATIENCE_SECONDS", 0.3)
    async with raw(stack) as connection:
        connection.send(POST.replace("application/json", media_type) + WITH_KEY + length + "\r\n")

        async def drip() -> None:
            while True:
                connection.send("1\r\nx\r\n" if "chunked" in length else "x")
                await asyncio.sleep(0.02)

        dripping = asyncio.create_task(drip())
        status, _, document = await connection.answer()
        dripping.cancel()
        assert (status, document["code"]) == (408, "REQUEST_TIMEOUT")


async def test_strangers_who_upload_slowly_keep_nobody_waiting(stack: Stack) -> None:
    """Twenty large bodies without a right key, and silence: each is answered at once, and an upload passes."""
    async with contextlib.AsyncExitStack() as opened:
        for number in range(20):
            connection = await opened.enter_async_context(raw(stack))
            key = f"x-api-key: nobody-{number}\r\n"
            connection.send(f"{POST}{key}content-length: {LIMIT}\r\n\r\n" + "x" * 100_000)
            assert await connection.status() == 404
        answer = await stack.client.post("/rest_api/process", json={**rest_stack.TEXT_ONLY, "padding_": "x" * 150_000})
        assert answer.status_code == 200


@pytest.mark.promise(
    "answers that nobody reads",
    "a minute without reading ends the connection",
    "gateway/transport/connections.py",
)
async def test_a_client_that_does_not_read_is_given_up(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred answers pipelined, none read."""
    monkeypatch.setattr(connections, "STALL_SECONDS", 0.3)
    async with raw(stack) as connection:
        connection.writer.get_extra_info("socket").setsockopt(1, 8, 4096)  # SO_RCVBUF
        connection.reader._limit = 1  # type: ignore[attr-defined]  # the reader stops at twice of it
        with contextlib.suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(10):
                while True:
                    connection.send(f"GET /openapi.json HTTP/1.1\r\n{HOST}\r\n")
                    await connection.writer.drain()
                    await asyncio.sleep(0.001)
        assert connection.writer.is_closing()


@pytest.mark.parametrize(
    "path", ["/rest_api/result/%00", "/rest_api/result/a%00b", "/results/%00", "/results/a%00.png"]
)
async def test_a_nul_in_an_id_is_not_found(stack: Stack, path: str) -> None:
    assert (await stack.client.get(path)).status_code == 404


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("1.2.3.4", "1.2.3.4", True),
        ("1.2.3.4", "1.2.3.5", False),
        ("::ffff:1.2.3.4", "1.2.3.4", True),
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("fe80::1%eth0", "fe80::2%eth0", True),
        ("", "1.2.3.4", False),
    ],
)
async def test_what_counts_as_one_address(first: str, second: str, *, same: bool) -> None:
    assert (address_of(first) == address_of(second)) is same


async def test_an_answer_before_the_body_can_be_read_through_tls(tmp_path: Path, stack: Stack) -> None:
    """There the server cannot close its half alone."""
    authority = Authority()
    files = Mounted(tmp_path / "rest", *authority.sign("rest"))
    settings: dict[str, Any] = {
        "rest_tls_cert_file": files.cert,
        "rest_tls_key_file": files.key,
        "rest_max_body_bytes": LIMIT,
    }
    context = ssl.create_default_context(cadata=authority.pem.decode())
    async with http_server(stack.orchestrator_port, **settings) as address:
        reader, writer = await asyncio.open_connection(
            address.host, address.port, ssl=context, server_hostname="127.0.0.1"
        )
        connection = Raw(reader, writer)
        connection.send(f"{POST}{WITH_KEY}connection: close\r\ncontent-length: {len(TOO_LARGE)}\r\n\r\n")
        for at in range(0, len(TOO_LARGE), 500_000):
            connection.send(TOO_LARGE[at : at + 500_000])
            await writer.drain()
        assert (await connection.answer())[0] == 413
        writer.transport.abort()
