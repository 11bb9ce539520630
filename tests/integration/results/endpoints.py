"""Servers that are not S3: they hang, close the connection, or say too much."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass

from orchestrator.results.buckets import S3Location

HEAD = b'HTTP/1.1 200 OK\r\nLast-Modified: Wed, 25 Nov 2026 06:00:00 GMT\r\nETag: "x"\r\nContent-Length: %d\r\n\r\n'


def place(url: str) -> S3Location:
    """A bucket of a server."""
    return S3Location(bucket="pictures", endpoint=url, region="us-east-1", keys=("AKIAKEY", "secret"))


Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Sent:
    """What a server got and gave, bytes; and how many connections it had."""

    got: int = 0
    gave: int = 0
    connections: int = 0


@contextlib.contextmanager
def hanging() -> Iterator[str]:
    """URL of a server that takes connections, and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@contextlib.asynccontextmanager
async def breaking_off(after: int) -> AsyncIterator[tuple[str, Sent]]:
    """URL of a server that reads some bytes of a request, and closes the connection."""
    sent = Sent()

    async def serve(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        sent.connections += 1
        await reader.readexactly(after)
        sent.got = after

    async with _serving(serve) as url:
        yield url, sent


@contextlib.asynccontextmanager
async def answering(head: bytes, body: int) -> AsyncIterator[tuple[str, Sent]]:
    """URL of a server that answers every request with a head and some zeros, and closes the connection."""
    sent = Sent()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sent.connections += 1
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head)
        for _ in range(body // 65536):
            writer.write(bytes(65536))
            await writer.drain()
            sent.gave += 65536

    async with _serving(serve) as url:
        yield url, sent


@contextlib.asynccontextmanager
async def recording() -> AsyncIterator[tuple[str, list[bytes]]]:
    """URL of a server that has nothing, and the heads of the requests that it gets."""
    heads: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    async with _serving(serve) as url:
        yield url, heads


@contextlib.asynccontextmanager
async def _serving(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[str]:
    """URL of a server whose connections are all gone in the end."""
    running = set[asyncio.Task[None]]()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        running.add(asyncio.current_task())  # type: ignore[arg-type]  # there is one
        try:
            await serve(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            writer.transport.abort()
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async with await asyncio.start_server(connected, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
