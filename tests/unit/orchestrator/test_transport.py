"""What a connection may do, by the server's own options over real sockets; raw HTTP/2 where clients are polite."""

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from imagegen.v1 import generation_pb2 as pb
from imagegen.v1 import jobs_pb2, jobs_pb2_grpc
from orchestrator.api import auth, transport
from orchestrator.config import Settings
from tests.unit.orchestrator.test_edge import KEY, KnowsAlice, Servicer

# RFC 9113: types of frames (section 6), settings (6.5.2) and an error (7).
DATA, SETTINGS, PING, GOAWAY = 0, 4, 6, 7
MAX_CONCURRENT_STREAMS, MAX_HEADER_LIST_SIZE = 3, 6
ENHANCE_YOUR_CALM = 11
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
PICTURE = 60_000


class Floods(Servicer):
    """Counts what it has sent."""

    sent = 0

    async def WatchJob(self, _request: Any, _context: Any) -> AsyncIterator[pb.GenerateEvent]:  # noqa: N802
        while True:
            yield pb.GenerateEvent(preview=pb.Preview(jpeg=b"x" * PICTURE))
            self.sent += 1


@contextlib.asynccontextmanager
async def served(servicer: Servicer | None = None, **settings: Any) -> AsyncIterator[int]:
    """A server of the orchestrator's options; gives its port."""
    config = Settings(**settings)
    edge = auth.EdgeInterceptor(KnowsAlice(), transport.max_message_bytes(config))
    server = grpc.aio.server(interceptors=[edge], options=transport.options(config))
    jobs_pb2_grpc.add_JobServiceServicer_to_server(servicer or Servicer(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield port
    finally:
        await server.stop(0)


class Raw:
    """An HTTP/2 connection, frame by frame."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    def send(self, kind: int, payload: bytes = b"", times: int = 1) -> None:
        """Equal frames, in one write."""
        self._writer.write((struct.pack(">I", len(payload))[1:] + bytes([kind, 0, 0, 0, 0, 0]) + payload) * times)

    async def wait_for(self, kind: int) -> bytes:
        """The payload of the next frame of a kind."""
        async with asyncio.timeout(20):
            while True:
                head = await self._reader.readexactly(9)
                payload = await self._reader.readexactly(int.from_bytes(head[:3], "big"))
                if head[3] == kind:
                    return payload


@contextlib.asynccontextmanager
async def raw(port: int) -> AsyncIterator[Raw]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    connection = Raw(reader, writer)
    writer.write(PREFACE)
    connection.send(SETTINGS)
    yield connection
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


async def get(jobs: Any, *metadata: tuple[str, str]) -> str:
    job: jobs_pb2.Job = await jobs.GetJob(jobs_pb2.GetJobRequest(job_id="x"), metadata=(KEY, *metadata), timeout=20)
    return job.job_id


@pytest.mark.promise(
    "calls without end over one connection",
    "256 at a time",
    "orchestrator/api/transport.py",
)
async def test_the_server_says_how_many_calls_and_how_large_headers_it_takes() -> None:
    async with served() as port, raw(port) as connection:
        announced = dict(struct.iter_unpack(">HI", await connection.wait_for(SETTINGS)))
    assert announced[MAX_CONCURRENT_STREAMS] == transport.MAX_STREAMS
    assert announced[MAX_HEADER_LIST_SIZE] in {transport.HEADER_BYTES, transport.MOST_HEADER_BYTES}


@pytest.mark.promise(
    "headers without end",
    "16 KiB, at most 32",
    "orchestrator/api/transport.py",
)
async def test_headers_that_are_too_large_are_refused_and_the_connection_goes_on() -> None:
    async with served() as port, grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        jobs = jobs_pb2_grpc.JobServiceStub(channel)
        assert await get(jobs, ("x-more", "x" * (transport.HEADER_BYTES - 1024)))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await get(jobs, ("x-more", "x" * transport.MOST_HEADER_BYTES))
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert await get(jobs)


@pytest.mark.promise(
    "pings without end",
    "the third too many ends the connection",
    "orchestrator/api/transport.py",
)
async def test_who_pings_without_end_is_hung_up_on() -> None:
    async with served() as port, raw(port) as connection:
        connection.send(PING, bytes(8), times=10)  # whoever writes to a closed connection does not read what it said
        last_stream, code = struct.unpack(">II", (await connection.wait_for(GOAWAY))[:8])
        assert (last_stream, code) == (0, ENHANCE_YOUR_CALM)


@pytest.mark.promise(
    "connections that stay with an old replica",
    "an age, after which they end once their calls have",
    "orchestrator/api/transport.py",
)
async def test_an_old_connection_is_asked_to_end_and_what_runs_over_it_runs_on() -> None:
    async with (
        served(max_connection_age_seconds=1.0) as port,
        grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
        raw(port) as connection,
    ):
        jobs = jobs_pb2_grpc.JobServiceStub(channel)
        stream: Any = jobs.WatchJob(jobs_pb2.WatchJobRequest(job_id="flood"), metadata=[KEY])
        await stream.read()
        for _ in range(2):  # twice the age, with its jitter of a tenth
            async with raw(port) as other:
                await other.wait_for(GOAWAY)
        await connection.wait_for(GOAWAY)
        for _ in range(300):  # 18 MB: more than was on the way
            assert len((await stream.read()).preview.jpeg) == PICTURE
        assert await get(jobs)


@pytest.mark.promise(
    "streams that nobody reads",
    "gRPC's flow control: no message is produced before the previous one is sent",
    "orchestrator/api/auth.py",
)
async def test_who_does_not_read_costs_a_bounded_number_of_bytes() -> None:
    floods = Floods()
    async with served(floods) as port, grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stream: Any = jobs_pb2_grpc.JobServiceStub(channel).WatchJob(jobs_pb2.WatchJobRequest(), metadata=[KEY])
        await stream.read()
        seen = -1
        async with asyncio.timeout(20):
            while seen != floods.sent:  # until it has stood still for a while
                seen = floods.sent
                await asyncio.sleep(0.5)
        assert seen * PICTURE < 8 * 1024 * 1024
        for _ in range(seen + 50):
            await stream.read()  # and it goes on when they do read
        stream.cancel()


@pytest.mark.promise(
    "60 MiB with a wrong key",
    ("the same: 64 KiB, the window of a call whose message was not asked for, are all that is received"),
    "orchestrator/api/auth.py",
)
async def test_a_wrong_key_is_refused_before_60_mib_have_come() -> None:
    """Through a proxy that counts what the client's side has sent."""
    count = 0

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, counted: bool) -> None:
        nonlocal count
        try:
            while data := await reader.read(65_536):
                count += len(data) if counted else 0
                writer.write(data)
                await writer.drain()
        finally:
            writer.transport.abort()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    connections: set[asyncio.Task[Any] | None] = set()
    async with served() as port:

        async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            connections.add(asyncio.current_task())
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", port)
            up, down = pass_on(reader, up_writer, counted=True), pass_on(up_reader, writer, counted=False)
            await asyncio.gather(up, down, return_exceptions=True)

        async with await asyncio.start_server(connect, "127.0.0.1", 0) as proxy:
            address = f"127.0.0.1:{proxy.sockets[0].getsockname()[1]}"
            async with grpc.aio.insecure_channel(address) as channel:
                send: Any = channel.unary_unary("/imagegen.v1.JobService/CreateJob")
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await send(bytes(60 * 1024 * 1024), metadata=[("x-api-key", "wrong")], timeout=20)
            running = [task for task in connections if task is not None]
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert count < 1024 * 1024
