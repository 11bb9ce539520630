"""The attacker's hands: calls of raw bytes, HTTP of raw bytes, and whether an answer says that something broke."""

import asyncio
import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import grpc
import httpx

from tests.hostile.cases import FINE
from tests.hostile.stack import Stack

SECONDS = 60.0
MAX_ANSWER, MAX_TRAILING = 8192, 8192
UNLIMITED = (("grpc.max_send_message_length", -1), ("grpc.use_local_subchannel_pool", 1))


@dataclass
class Tally:
    """What was sent, and which answers were wrong."""

    sent: int = 0
    wrong: list[str] = field(default_factory=list)

    def note(self, name: str, fault: str = "") -> None:
        """An input and what was wrong with its answer, if anything was."""
        self.sent += 1
        if fault:
            self.wrong.append(f"{name}: {fault}"[:300])


class Attacker:
    """Speaks to both programs; wrong answers are noted."""

    def __init__(self, stack: Stack, http: httpx.AsyncClient, channel: grpc.aio.Channel) -> None:
        self.stack, self.http, self.channel = stack, http, channel

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """With a key."""
        return (("x-api-key", self.stack.attacker),)

    async def call(self, method: str, message: bytes, *, keyless: bool = False) -> str:
        """What is wrong with the end of a call of raw bytes."""
        metadata = () if keyless or "imagegen" not in method else self.metadata
        send: Any = self.channel.unary_stream(method)
        call = send(message, metadata=metadata, timeout=SECONDS)
        try:
            if "Watch" in method:
                await call.read()
                call.cancel()
                return ""
            async for _ in call:
                pass
        except grpc.aio.AioRpcError as error:
            return _wrong(error)
        except asyncio.CancelledError:
            if call.cancelled():
                return ""
            raise
        return ""

    async def post(self, body: bytes, echo: str = "", headers: Mapping[str, str] | None = None) -> str:
        """What is wrong with the answer to a request body."""
        return await self.ask("POST", "/rest_api/process", body, echo, headers)

    async def ask(
        self, method: str, path: str, body: bytes = b"", echo: str = "", headers: Mapping[str, str] | None = None
    ) -> str:
        """What is wrong with the answer to a request."""
        sent = {"content-type": "application/json", "x-api-key": self.stack.attacker, **(headers or {})}
        try:
            answer = await self.http.request(method, path, content=body, headers=sent)
        except httpx.HTTPError as error:
            return f"{type(error).__name__}: {error}"
        return _fault(answer, echo) if answer.status_code >= 400 else ""

    async def raw(self, data: bytes) -> str:
        """What is wrong with the answer to bytes on a connection of its own; none at all is fine."""
        try:
            async with asyncio.timeout(SECONDS):
                reader, writer = await asyncio.open_connection("127.0.0.1", self.stack.rest_port)
                try:
                    writer.write(data)
                    with contextlib.suppress(ConnectionError):
                        await writer.drain()
                        writer.write_eof()
                        line = await reader.readline()
                        if line and not (line.startswith(b"HTTP/1.") and line.split()[1] < b"500"):
                            return f"{line[:100]!r}" if line.split()[1] not in {b"501", b"503"} else ""
                finally:
                    writer.transport.abort()
        except TimeoutError:
            return "no end"
        except OSError as error:
            return f"cannot connect: {error}"
        return ""


@contextlib.asynccontextmanager
async def attacker(stack: Stack):  # type: ignore[no-untyped-def]  # noqa: ANN201  # of an Attacker
    """An attacker of a stack."""
    async with (
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{stack.rest_port}", timeout=SECONDS) as http,
        grpc.aio.insecure_channel(f"127.0.0.1:{stack.grpc_port}", options=UNLIMITED) as channel,
    ):
        yield Attacker(stack, http, channel)


def _fault(answer: httpx.Response, echo: str) -> str:
    if answer.status_code >= 500 and not (answer.status_code == 503 and "retry-after" in answer.headers):
        return f"{answer.status_code} {answer.text[:200]}"
    if len(answer.content) > MAX_ANSWER:
        return f"{len(answer.content)} bytes of error"
    if echo and (echo in answer.text or json.dumps(echo)[1:-1] in answer.text):
        return "repeats more than 100 characters"
    with contextlib.suppress(ValueError):
        if "message" in answer.json() or "error" in answer.json():
            return ""
    return f"{answer.status_code} in another shape: {answer.text[:200]}"


def _wrong(error: grpc.aio.AioRpcError) -> str:
    size = sum(len(key) + len(value) for key, value in error.trailing_metadata() or ())
    if error.code() not in FINE or "Stream removed" in (error.details() or ""):
        return f"{error.code().name} {error.details()}"
    return f"{size} bytes of trailing metadata" if size > MAX_TRAILING else ""
