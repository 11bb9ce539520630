"""Servers that are no S3: they hang, break off, or say more than is good."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

from orchestrator.results.buckets import Place

HEAD = b'HTTP/1.1 200 OK\r\nLast-Modified: Wed, 25 Nov 2026 06:00:00 GMT\r\nETag: "x"\r\nContent-Length: %d\r\n\r\n'


def place(url: str) -> Place:
    """A bucket of a server."""
    return Place(bucket="pictures", endpoint=url, region="us-east-1", keys=("AKIAKEY", "secret"))


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
    """URL of a server that reads so many bytes of a request, and closes the connection."""
    sent = Sent()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sent.connections += 1
        with contextlib.suppress(asyncio.IncompleteReadError):
            await reader.readexactly(after)
        sent.got = max(sent.got, after)
        writer.transport.abort()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield _url(server), sent


@contextlib.asynccontextmanager
async def answering(head: bytes, body: int) -> AsyncIterator[tuple[str, Sent]]:
    """URL of a server that answers every request with a head and so many zeros, and closes the connection."""
    sent = Sent()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sent.connections += 1
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(head)
            for _ in range(body // 65536):
                writer.write(bytes(65536))
                await writer.drain()
                sent.gave += 65536
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield _url(server), sent


def _url(server: asyncio.Server) -> str:
    return f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
