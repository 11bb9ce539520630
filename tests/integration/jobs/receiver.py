"""A receiver of webhooks that verifies them, and answers as a test wants."""

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Receiver:
    """What came.

    Attributes:
        url: where to.
        answers: heads of the answers to come, in order; after them 204. None: it never answers.
        bodies: of what came, by the order of coming.
        ids: their webhook-id headers.
        news: something came.
    """

    url: str = ""
    answers: list[str | None] = field(default_factory=list)
    bodies: list[Any] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    heads: list[dict[str, str]] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    async def wait(self, count: int) -> None:
        """Until that many have arrived."""
        async with asyncio.timeout(20):
            while len(self.ids) < count:
                self.news.clear()
                await self.news.wait()

    def verify(self, index: int, secret: bytes) -> None:
        """As the standard asks receivers to."""
        head, body = self.heads[index], self.raw[index]
        signed = f"{head['webhook-id']}.{head['webhook-timestamp']}.".encode() + body
        expected = base64.b64encode(hmac.digest(secret, signed, hashlib.sha256)).decode()
        assert f"v1,{expected}" in head["webhook-signature"].split(" ")

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, one webhook."""
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            assert lines[0].startswith("POST ")
            head = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:] if line)}
            body = await reader.readexactly(int(head["content-length"]))
            self.heads.append(head)
            self.raw.append(body)
            self.bodies.append(json.loads(body))
            self.ids.append(head["webhook-id"])
            self.news.set()
            answer = self.answers.pop(0) if self.answers else "204 No Content\r\n"
            if answer is None:
                await reader.read()  # until it hangs up
            else:
                writer.write(f"HTTP/1.1 {answer}connection: close\r\n\r\n".encode())
                await writer.drain()
        writer.close()


@contextlib.asynccontextmanager
async def receiving(host: str = "127.0.0.1") -> AsyncIterator[Receiver]:
    """A receiver on loopback."""
    receiver = Receiver()
    server = await asyncio.start_server(receiver._take, host, 0)
    receiver.url = f"http://{host}:{server.sockets[0].getsockname()[1]}/hook?token=secret"
    async with server:
        yield receiver
