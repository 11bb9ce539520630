"""Attacks by number, size and slowness: those of the audit, and their kind. Each runs for a while or to its end."""

import asyncio
import contextlib
import gzip
import json
import struct
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import grpc
from grpc_health.v1 import health_pb2

from imagegen.v1 import generation_pb2 as pb
from imagegen.v1 import jobs_pb2
from tests.hostile.client import UNLIMITED, Attacker, Tally

Flood = Callable[[Attacker, Tally, float], Awaitable[None]]

HEALTH, WATCH = "/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"
RESULT = "/imagegen.v1.JobService/ReadResult"
REFLECT = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
CREATE = "/imagegen.v1.JobService/CreateJob"
POST = "POST /rest_api/process HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"


@contextlib.asynccontextmanager
async def _channel(attacker: Attacker):  # type: ignore[no-untyped-def]  # noqa: ANN202  # of a channel
    """A connection of its own."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{attacker.stack.grpc_port}", options=UNLIMITED) as channel:
        yield channel


def large_messages(method: str) -> Flood:
    """Twenty-one messages of 60 MB to a method that needs no key, over as many connections."""

    async def flood(attacker: Attacker, tally: Tally, _seconds: float) -> None:
        message = health_pb2.HealthCheckRequest(service="x" * 60_000_000).SerializeToString()

        async def one() -> None:
            async with _channel(attacker) as channel:
                call = channel.unary_stream(method)(message, timeout=60)
                try:
                    await call.read()
                except grpc.aio.AioRpcError as error:
                    late = {grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.RESOURCE_EXHAUSTED}
                    fine = error.code() in {grpc.StatusCode.INVALID_ARGUMENT, *late}
                    tally.note("60 MB", "" if fine else f"{error.code().name} {error.details()}")
                else:
                    tally.note("60 MB", "" if method == REFLECT else "answered")

        await asyncio.gather(*(one() for _ in range(21)))

    return flood


async def packed_messages(attacker: Attacker, tally: Tally, _seconds: float) -> None:
    """Forty messages that unpack to 200 MB each, half of them with a key."""
    message = gzip.compress(bytes(200_000_000), 6)
    for number in range(40):
        method, metadata = (HEALTH, ()) if number % 2 else (CREATE, attacker.metadata)
        call: Any = attacker.channel.unary_unary(method)
        try:
            # gRPC's client packs what it is given: what arrives is packed twice, and its first layer is small.
            await call(message, metadata=metadata, compression=grpc.Compression.Gzip, timeout=60)
        except grpc.aio.AioRpcError as error:
            fine = error.code() in {grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.INVALID_ARGUMENT}
            tally.note("gzip", "" if fine else f"{error.code().name} {error.details()}")
        else:
            tally.note("gzip", "answered")


async def large_messages_of_an_account(attacker: Attacker, tally: Tally, _seconds: float) -> None:
    """Twenty-four requests of 64 MiB with a key, over as many connections, each refused in the end."""
    picture = pb.ImageSource(data=bytes(31 << 20))
    inpaint = pb.Inpaint(image=picture, mask=picture)
    message = pb.GenerateRequest(inpaint=inpaint, family="nobody").SerializeToString()

    async def one() -> None:
        async with _channel(attacker) as channel:
            call = channel.unary_stream("/imagegen.v1.GenerationService/Generate")(
                message, metadata=attacker.metadata, timeout=120
            )
            try:
                async for _ in call:
                    pass
            except grpc.aio.AioRpcError as error:
                fine = error.code() in {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED}
                tally.note("64 MiB", "" if fine else f"{error.code().name} {error.details()}")

    await asyncio.gather(*(one() for _ in range(24)))


async def huge_pictures(attacker: Attacker, tally: Tally, _seconds: float) -> None:
    """Eight pictures of 8,192 x 8,192 pixels in 200 kB each, at once."""
    from tests.integration.hostile_files import bomb  # noqa: PLC0415  # it draws the picture

    picture = pb.ImageSource(data=bomb(8190))
    message = pb.GenerateRequest(edit=pb.Edit(image=picture)).SerializeToString()
    generate = "/imagegen.v1.GenerationService/Generate"
    faults = await asyncio.gather(*(attacker.call(generate, message) for _ in range(8)))
    for fault in faults:
        tally.note("8,190 x 8,190", fault)


async def silent_calls(attacker: Attacker, tally: Tally, seconds: float) -> None:
    """Calls that never send their message, of open methods and with a key."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        calls: list[Any] = [
            attacker.channel.stream_stream(method)() for method in (HEALTH, WATCH, RESULT, REFLECT) * 50
        ]
        calls += [
            attacker.channel.stream_stream("/imagegen.v1.JobService/GetJob")(metadata=attacker.metadata)
            for _ in range(20)
        ]
        tally.sent += len(calls)
        await asyncio.sleep(0.2)
    for call in calls:
        call.cancel()


async def watches(attacker: Attacker, tally: Tally, seconds: float) -> None:
    """Three thousand health watches, half of unknown names."""
    calls: list[Any] = []
    for number in range(3000):
        name = "" if number % 2 else f"nobody {number}"
        send: Any = attacker.channel.unary_stream(WATCH)
        calls.append(send(health_pb2.HealthCheckRequest(service=name).SerializeToString()))
        tally.sent += 1
        if number % 100 == 0:
            await asyncio.sleep(0.01)
    await asyncio.sleep(seconds / 2)
    for call in calls:
        call.cancel()


async def unknown_keys(attacker: Attacker, tally: Tally, seconds: float) -> None:
    """Calls and requests with keys that are nobody's, each another one, with bodies of a megabyte."""
    end, number = time.monotonic() + seconds, 0

    async def grpc_call(key: str) -> None:
        call: Any = attacker.channel.unary_unary("/imagegen.v1.AccountService/GetAccount")
        with contextlib.suppress(grpc.aio.AioRpcError):
            await call(b"", metadata=(("x-api-key", key),), timeout=30)

    while time.monotonic() < end:
        keys = [f"nobody-{number + each}" for each in range(100)]
        number += 100
        heads = [f"{POST}x-api-key: {key}\r\ncontent-length: 1100000\r\n\r\n".encode() for key in keys[:30]]
        uploads = [attacker.raw(head + bytes(200_000)) for head in heads]
        await asyncio.gather(*map(grpc_call, keys), *uploads)
        tally.sent += 130


def heads(make: Callable[[], tuple[bytes, bytes]], connections: int) -> Flood:
    """A first piece, then another one without end, over several connections, again when one is closed."""

    async def flood(attacker: Attacker, tally: Tally, seconds: float) -> None:
        first, more = make()
        end = time.monotonic() + seconds

        async def one() -> None:
            while time.monotonic() < end:
                tally.sent += 1
                with contextlib.suppress(OSError, TimeoutError):
                    async with asyncio.timeout(seconds):
                        _, writer = await asyncio.open_connection("127.0.0.1", attacker.stack.rest_port)
                        try:
                            writer.write(first)
                            while time.monotonic() < end:
                                writer.write(more)
                                await writer.drain()
                        finally:
                            writer.transport.abort()
                await asyncio.sleep(0.001)

        await asyncio.gather(*(one() for _ in range(connections)))

    return flood


def held(text: Callable[[Attacker], str], connections: int) -> Flood:
    """Connections that send a beginning, then a byte now and then."""

    async def flood(attacker: Attacker, tally: Tally, seconds: float) -> None:
        end = time.monotonic() + seconds

        async def one() -> None:
            while time.monotonic() < end:
                tally.sent += 1
                with contextlib.suppress(OSError):
                    _, writer = await asyncio.open_connection("127.0.0.1", attacker.stack.rest_port)
                    try:
                        writer.write(text(attacker).encode())
                        while time.monotonic() < end and not writer.is_closing():
                            await asyncio.sleep(1.0)
                            writer.write(b"x")
                            await writer.drain()
                    finally:
                        writer.transport.abort()
                await asyncio.sleep(0.05)

        await asyncio.gather(*(one() for _ in range(connections)))

    return flood


async def idle_grpc(attacker: Attacker, tally: Tally, seconds: float) -> None:
    """A thousand connections to gRPC that say nothing, and a thousand that only begin."""
    writers = []
    for number in range(2000):
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", attacker.stack.grpc_port)
            if number % 2:
                writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0))
            writers.append(writer)
            tally.sent += 1
    await asyncio.sleep(seconds)
    for writer in writers:
        writer.transport.abort()


def frames(make: Callable[[int], bytes], connections: int = 4) -> Flood:
    """HTTP/2 frames without end: `make` gives the bytes of the n-th burst."""

    async def flood(attacker: Attacker, tally: Tally, seconds: float) -> None:
        end = time.monotonic() + seconds

        async def one() -> None:
            while time.monotonic() < end:
                with contextlib.suppress(OSError, TimeoutError):
                    reader, writer = await asyncio.open_connection("127.0.0.1", attacker.stack.grpc_port)
                    reading = asyncio.create_task(_discard(reader))
                    try:
                        writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0))
                        number = 0
                        while time.monotonic() < end and not writer.is_closing():
                            writer.write(make(number))
                            number += 1
                            tally.sent += 1
                            async with asyncio.timeout(1.0):  # a server that does not read any more
                                await writer.drain()
                            await asyncio.sleep(0)
                    finally:
                        writer.transport.abort()
                        reading.cancel()
                        await asyncio.gather(reading, return_exceptions=True)
                await asyncio.sleep(0.001)

        await asyncio.gather(*(one() for _ in range(connections)))

    return flood


async def _discard(reader: asyncio.StreamReader) -> None:
    while await reader.read(1 << 16):
        pass


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def _literal(name: bytes, value: bytes) -> bytes:
    return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value


CALL = b"".join(
    _literal(*pair)
    for pair in (
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", HEALTH.encode()),
        (b":authority", b"x"),
        (b"te", b"trailers"),  # codespell:ignore te
        (b"content-type", b"application/grpc"),
    )
)


def _rapid_reset(number: int) -> bytes:
    streams = range(number * 200 + 1, number * 200 + 201, 2)
    return b"".join(frame(1, 4, stream, CALL) + frame(3, 0, stream, bytes(4)) for stream in streams)


def _continuation(number: int) -> bytes:
    begin = frame(1, 0, 1, CALL) if number == 0 else b""
    return begin + frame(9, 0, 1, _literal(b"a", b"b" * 100) * 50) * 10


def _empty_data(number: int) -> bytes:
    begin = frame(1, 4, 1, CALL) if number == 0 else b""
    return begin + frame(0, 0, 1) * 1000


def _open_streams(number: int) -> bytes:
    return b"".join(frame(1, 4, stream, CALL) for stream in range(number * 200 + 1, number * 200 + 201, 2))


def _slow_body(attacker: Attacker) -> str:
    return f"{POST}x-api-key: {attacker.stack.attacker}\r\ncontent-length: 60000000\r\n\r\n" + "x" * 1_100_000


async def many_pages(attacker: Attacker, tally: Tally, seconds: float) -> None:
    """One account that lists, reads and asks as fast as it can."""
    end = time.monotonic() + seconds
    paths = (
        "/v1/jobs",
        "/v1/families",
        "/rest_api/result/" + "A" * 22,
        "/results/" + "A" * 22 + ".png",
        "/openapi.json",
    )
    while time.monotonic() < end:
        faults = await asyncio.gather(*(attacker.ask("GET", path) for path in paths * 10))
        for fault in faults:
            tally.note("pages", fault)


async def many_calls(attacker: Attacker, tally: Tally, seconds: float) -> None:
    """The same over gRPC, a hundred calls at a time on two connections."""
    end = time.monotonic() + seconds
    jobs, accounts = "/imagegen.v1.JobService/", "/imagegen.v1.AccountService/"
    calls = {
        jobs + "ListJobs": b"",
        jobs + "GetJob": jobs_pb2.GetJobRequest(job_id="A" * 22).SerializeToString(),
        accounts + "GetAccount": b"",
    }

    async def one(channel: grpc.aio.Channel) -> None:
        while time.monotonic() < end:
            for method, message in calls.items():
                tally.sent += 1
                with contextlib.suppress(grpc.aio.AioRpcError):  # a limit of the account, or a job that is not there
                    send: Any = channel.unary_unary(method)
                    await send(message, metadata=attacker.metadata, timeout=30)

    async with _channel(attacker) as first, _channel(attacker) as second:
        await asyncio.gather(*(one(channel) for channel in (first, second) for _ in range(50)))


async def large_documents(attacker: Attacker, tally: Tally, seconds: float) -> None:
    """JSON of 60 MB with two pictures in it, four at a time, refused in the end."""
    end = time.monotonic() + seconds
    text = "base64," + "A" * 30_000_000
    generate = {"description": "a", "ip_image2": text, "adapter_type": "inpainting", "model_type": "nobody"}
    body = json.dumps({"url": text, "background": {"generate": generate}}).encode()
    while time.monotonic() < end:
        for fault in await asyncio.gather(*(attacker.post(body) for _ in range(4))):
            tally.note("60 MB of JSON", fault)


FLOODS: Mapping[str, Flood] = {
    "health watches with names of 60 MB, no key": large_messages(WATCH),
    "ReadResult with names of 60 MB, no key": large_messages(RESULT),
    "reflection with 60 MB, no key": large_messages(REFLECT),
    "messages that unpack to 200 MB": packed_messages,
    "24 requests of 62 MiB, one key": large_messages_of_an_account,
    "JSON of 60 MB, four at a time, one key": large_documents,
    "8 pictures of 8,190 x 8,190, one key": huge_pictures,
    "calls that never send their message": silent_calls,
    "3,000 health watches": watches,
    "unknown keys, gRPC and REST with bodies": unknown_keys,
    "many small headers": heads(lambda: (b"GET / HTTP/1.1\r\nhost: x\r\n", b"a: b\r\n" * 5000), 8),
    "headers without end": heads(lambda: (b"GET / HTTP/1.1\r\nhost: x\r\na: ", b"a" * 65_536), 8),
    "paths without end": heads(lambda: (b"GET /", b"a" * 65_536), 8),
    "chunks of one byte": heads(
        lambda: ((POST + "x-api-key: nobody\r\ntransfer-encoding: chunked\r\n\r\n").encode(), b"1\r\nx\r\n" * 5000), 8
    ),
    "2,000 half heads": held(lambda _: "GET / HTTP/1.1\r\nhost: x\r\n", 2000),
    "slow uploads, unknown keys": held(
        lambda _: POST + "x-api-key: nobody\r\ncontent-length: 60000000\r\n\r\n" + "x" * 1_100_000, 50
    ),
    "slow uploads, one key": held(_slow_body, 50),
    "2,000 idle gRPC connections": idle_grpc,
    "HTTP/2 rapid reset, 4 connections": frames(_rapid_reset),
    "HTTP/2 rapid reset, 40 connections": frames(_rapid_reset, 40),
    "HTTP/2 pings, 1 connection": frames(lambda _: frame(6, 0, 0, bytes(8)) * 500, 1),
    "HTTP/2 pings, 4 connections": frames(lambda _: frame(6, 0, 0, bytes(8)) * 500),
    "HTTP/2 settings": frames(lambda _: frame(4, 0, 0, struct.pack(">HI", 4, 65_535)) * 500),
    "HTTP/2 continuation": frames(_continuation),
    "HTTP/2 empty data": frames(_empty_data),
    "HTTP/2 open streams": frames(_open_streams),
    "one account that asks without pause, REST": many_pages,
    "one account that asks without pause, gRPC": many_calls,
}
"""By the name that the report has."""
