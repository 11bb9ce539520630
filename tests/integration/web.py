"""A web server on loopback whose pages misbehave as a test wants."""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

Page = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
"""Answers one request, whose head has been read."""


@dataclass
class Web:
    """The server.

    Attributes:
        host, port: where it listens.
        pages: by their path.
        asked: set once a path was asked for.
        left: set once a client has hung up on a page that was still being answered, or was read to its end.
    """

    host: str = "127.0.0.1"
    port: int = 0
    pages: dict[str, Page] = field(default_factory=dict)
    asked: dict[str, asyncio.Event] = field(default_factory=lambda: defaultdict(asyncio.Event))
    left: dict[str, asyncio.Event] = field(default_factory=lambda: defaultdict(asyncio.Event))

    def url(self, path: str, host: str | None = None) -> str:
        """URL of a page, under another name of the host if one is given."""
        return f"http://{host or self.host}:{self.port}{path}"

    def put(self, path: str, page: Page | bytes) -> str:
        """Serve a page, or a file; returns its URL."""
        self.pages[path] = file(page) if isinstance(page, bytes) else page
        return self.url(path)

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, one request."""
        path = "?"
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            path = head.split(b" ")[1].decode()
            self.asked[path].set()
            await self.pages.get(path, status(404))(reader, writer)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client has had enough; `left` waits for it
        finally:
            self.left[path].set()
            writer.close()


@contextlib.asynccontextmanager
async def serve_web(host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[Web]:
    """A web server for the length of a block."""
    web = Web(host)
    server = await asyncio.start_server(web.answer, host, port)
    web.port = server.sockets[0].getsockname()[1]
    try:
        yield web
    finally:
        server.close()


def file(data: bytes, *, declared: int | None = None) -> Page:
    """A file, with a Content-Length that may lie."""

    async def page(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        length = len(data) if declared is None else declared
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % length)
        writer.write(data)

    return page


def status(code: int) -> Page:
    """No file, but a status."""

    async def page(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 %d Status\r\nConnection: close\r\nContent-Length: 0\r\n\r\n" % code)

    return page


def redirect(to: str) -> Page:
    """Look there."""

    async def page(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        location = to.encode()
        writer.write(b"HTTP/1.1 302 Found\r\nLocation: %s\r\nConnection: close\r\nContent-Length: 0\r\n\r\n" % location)

    return page


def silent() -> Page:
    """Never answers; notices when the client hangs up."""

    async def page(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.read()

    return page


def held(data: bytes, until: asyncio.Event) -> Page:
    """A file that comes when the event is set, unless the client hangs up before."""

    async def page(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        opened, gone = asyncio.ensure_future(until.wait()), asyncio.ensure_future(reader.read())
        await asyncio.wait({opened, gone}, return_when=asyncio.FIRST_COMPLETED)
        gone.cancel()
        if opened.done():
            await file(data)(reader, writer)
        opened.cancel()

    return page


def dripping(data: bytes) -> Page:
    """One byte a second."""

    async def page(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(data))
        gone = asyncio.ensure_future(reader.read())
        for byte in data:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.wait({gone}, timeout=1)
            if gone.done():
                return
        gone.cancel()

    return page


def endless(*, declared: int | None) -> Page:
    """Zeros until the client hangs up, behind a small Content-Length, or none (chunked)."""

    async def page(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        chunk = bytes(1 << 20)
        if declared is None:
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            chunk = b"100000\r\n" + chunk + b"\r\n"
        else:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % declared)
        for _ in range(2048):
            writer.write(chunk)
            await writer.drain()

    return page
