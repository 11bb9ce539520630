"""What anybody can send to the gRPC server without a key, and what any key can: over real sockets."""

import asyncio
import contextlib
import gzip
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2

from imagegen.v1 import generation_pb2 as pb
from imagegen.v1 import generation_pb2_grpc, jobs_pb2, jobs_pb2_grpc
from orchestrator.api import auth, health, messages, receiving, transport
from orchestrator.api.health import HealthServicer
from orchestrator.config import Settings
from orchestrator.errors import InvalidRequestError, Violation
from tests.unit.orchestrator.test_edge import KEY, KnowsAlice, Servicer, detail

WATCH = "/grpc.health.v1.Health/Watch"
CHECK = "/grpc.health.v1.Health/Check"
RESULT = "/imagegen.v1.JobService/ReadResult"
REFLECT = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
OPEN = [WATCH, CHECK, RESULT, REFLECT]
SERVING, NOT_SERVING = health.SERVING, health.NOT_SERVING


class Many(Servicer):
    """Refuses a job with as many wrong fields as its id says."""

    async def DeleteJob(self, request: jobs_pb2.DeleteJobRequest, _context: Any) -> jobs_pb2.Job:  # noqa: N802
        text = request.job_id.partition(" ")[2]
        raise InvalidRequestError(
            *(Violation(f"field[{n}]", f"'{text}' is wrong") for n in range(int(request.job_id.partition(" ")[0])))
        )


class Generates(generation_pb2_grpc.GenerationServiceServicer):
    """Counts the enhancements that are asked for."""

    async def Generate(self, request: pb.GenerateRequest, _context: Any) -> AsyncIterator[pb.GenerateEvent]:  # noqa: N802
        yield pb.GenerateEvent(sequence=len(request.enhancements))

    async def ListFamilies(self, request: Any, _context: Any) -> Any:  # noqa: N802
        raise NotImplementedError


class Server:
    """A server of the orchestrator's options, its health, and a channel to it."""

    def __init__(self, port: int, servicer: HealthServicer, channel: grpc.aio.Channel) -> None:
        self.port, self.health, self.channel = port, servicer, channel
        self.jobs = jobs_pb2_grpc.JobServiceStub(channel)

    def connect(self) -> grpc.aio.Channel:
        """A connection of its own."""
        return grpc.aio.insecure_channel(f"127.0.0.1:{self.port}", options=[("grpc.use_local_subchannel_pool", 1)])

    async def raw(self, method: str, message: bytes, *metadata: tuple[str, str]) -> bytes:
        """The first answer to bytes."""
        send: Any = self.channel.unary_stream(method)
        answers = send(message, metadata=metadata, timeout=30)
        first: bytes = await answers.read()
        answers.cancel()
        return first

    async def refused(self, method: str, message: bytes, *metadata: tuple[str, str]) -> grpc.aio.AioRpcError:
        """How bytes are refused."""
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await self.raw(method, message, *metadata)
        return caught.value

    async def watch(self, name: str = "") -> Any:
        """A watch, and its first answer is here."""
        send: Any = self.channel.unary_stream(WATCH, response_deserializer=health_pb2.HealthCheckResponse.FromString)
        call = send(health_pb2.HealthCheckRequest(service=name).SerializeToString(), timeout=60)
        assert (await call.read()).status in {SERVING, NOT_SERVING}
        return call


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    config = Settings()
    edge = auth.EdgeInterceptor(KnowsAlice(), transport.max_message_bytes(config))
    running = grpc.aio.server(interceptors=[edge], options=transport.options(config))
    servicer = HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, running)
    jobs_pb2_grpc.add_JobServiceServicer_to_server(Many(), running)
    generation_pb2_grpc.add_GenerationServiceServicer_to_server(Generates(), running)
    reflection.enable_server_reflection(["imagegen.v1.JobService"], running)
    port = running.add_insecure_port("127.0.0.1:0")
    await running.start()
    options = [("grpc.max_send_message_length", -1)]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
        yield Server(port, servicer, channel)
    await running.stop(0)


def named(size: int) -> bytes:
    """A message whose field 1 (service, name, host) is a text of that many bytes."""
    data: bytes = health_pb2.HealthCheckRequest(service="x" * size).SerializeToString()
    return data


@pytest.mark.promise(
    "large messages to health, reflection and ReadResult, which need no key",
    ("4 KiB, two at a time, in rotation between addresses; whoever lets the server wait loses their turn"),
    "orchestrator/api/receiving.py",
)
@pytest.mark.parametrize("method", OPEN)
@pytest.mark.parametrize("size", [receiving.OPEN_BYTES, 100_000, 5_000_000, 60_000_000])
async def test_open_methods_take_small_messages_only(server: Server, method: str, size: int) -> None:
    error = await server.refused(method, named(size))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert detail(error, error_details_pb2.BadRequest).field_violations[0].field == "request"
    assert len(error.details() or "") < 200


@pytest.mark.parametrize("method", ["GetJob", "WatchJob", "CancelJob", "ListJobs"])
async def test_methods_without_pictures_take_small_messages_only(server: Server, method: str) -> None:
    error = await server.refused(f"/imagegen.v1.JobService/{method}", named(receiving.SMALL_BYTES), KEY)
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_the_service_still_answers_after_a_hundred_large_messages(server: Server) -> None:
    """From connections of their own; and a stranger who never sends the message keeps nobody waiting."""
    silent: list[Any] = [server.channel.stream_stream(WATCH)() for _ in range(50)]
    refusals = await asyncio.gather(*(server.refused(OPEN[n % 3], named(2_000_000)) for n in range(100)))
    codes = {error.code() for error in refusals}
    assert codes <= {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.DEADLINE_EXCEEDED}
    assert await server.raw(CHECK, b"")
    for call in silent:
        assert await call.code() is grpc.StatusCode.DEADLINE_EXCEEDED


@pytest.mark.promise(
    "packed messages that unpack to gigabytes",
    "compression is off: such a message is UNIMPLEMENTED",
    "orchestrator/api/transport.py",
)
async def test_packed_messages_are_refused(server: Server) -> None:
    """No unpacking, no bomb: 60 MB of zeros are 60 kB as gzip."""
    method: Any = server.channel.unary_unary("/imagegen.v1.JobService/CreateJob")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await method(bytes(60_000_000), metadata=[KEY], compression=grpc.Compression.Gzip, timeout=20)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert "gzip" in (caught.value.details() or "")
    assert await server.raw(CHECK, b"")


async def test_a_watch_hears_of_every_change_whoever_else_leaves(server: Server) -> None:
    first, second = await server.watch(), await server.watch()
    second.cancel()
    server.health.set("", serving=False)
    assert (await first.read()).status == NOT_SERVING
    third = await server.watch()
    third.cancel()
    server.health.set("", serving=True)
    assert (await first.read()).status == SERVING
    server.health.stop()
    assert (await first.read()).status == NOT_SERVING
    server.health.set("", serving=True)  # too late
    assert health_pb2.HealthCheckResponse.FromString(await server.raw(CHECK, b"")).status == NOT_SERVING


@pytest.mark.parametrize("method", [WATCH, CHECK])
@pytest.mark.parametrize("name", ["nobody", "x" * 4000, "\N{BLACK SPADE SUIT}", " ", "live "])
async def test_health_of_an_unknown_name_ends_at_once(server: Server, method: str, name: str) -> None:
    error = await server.refused(method, health_pb2.HealthCheckRequest(service=name).SerializeToString())
    assert error.code() is grpc.StatusCode.NOT_FOUND
    assert "x" * 10 not in (error.details() or "")
    assert not server.health._watchers


@pytest.mark.promise(
    "health watches without end",
    "1,024, 256 from one address; of unknown names none",
    "orchestrator/api/health.py",
)
async def test_the_number_of_watches_is_bounded(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "MAX_WATCHERS_OF_PEER", 3)
    watches = [await server.watch() for _ in range(3)]
    error = await server.refused(WATCH, b"")
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    watches[0].cancel()
    async with asyncio.timeout(10):
        while server.health._peers.total() == 3:  # noqa: ASYNC110  # the server has no event for it
            await asyncio.sleep(0.01)
    watches[0] = await server.watch()
    for watch in watches:
        watch.cancel()


async def test_reflection_answers_and_ends_when_its_client_pauses(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receiving, "SMALL_SECONDS", 0.2)
    call: Any = server.channel.stream_stream(REFLECT)(timeout=30)
    for _ in range(3):
        await call.write(reflection_pb2.ServerReflectionRequest(list_services="").SerializeToString())
        answer = reflection_pb2.ServerReflectionResponse.FromString(await call.read())
        assert answer.list_services_response.service[0].name == "imagegen.v1.JobService"
    assert await call.read() is grpc.aio.EOF
    assert await call.code() is grpc.StatusCode.OK


NO_MESSAGE = [b"\xff", b"\x0a\x05abc", b"\x0a\xff\xff\xff\xff\x0f", b"\x0b" * 40, b"\x08\x80", b"\x0a\x01\xff", b"\x00"]


@pytest.mark.parametrize("method", ["GetJob", "CreateJob", "WatchJob", "ReadResult"])
@pytest.mark.parametrize("data", [*NO_MESSAGE, *(each + bytes(9000) for each in NO_MESSAGE)])
async def test_bytes_that_are_no_message_are_an_invalid_argument(server: Server, method: str, data: bytes) -> None:
    if method == "ReadResult":
        data = data[:4000]
    error = await server.refused(f"/imagegen.v1.JobService/{method}", data, KEY)
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert detail(error, error_details_pb2.BadRequest).field_violations[0].field == "request"


def a_text(path: str) -> Callable[[str], pb.GenerateRequest]:
    """A request with a text at a path."""

    def make(text: str) -> pb.GenerateRequest:
        request = pb.GenerateRequest()
        target: Any = request
        *parents, last = path.split(".")
        for parent in parents:
            target = getattr(target, parent)
        setattr(target, last, text)
        return request

    return make


def texts(kind: Any, path: str = "", depth: int = 0) -> Iterator[str]:
    """Paths of all texts in a message that are not repeated."""
    for field in kind.fields:
        if field.is_repeated:
            continue
        if field.type == field.TYPE_STRING:
            yield f"{path}{field.name}"
        elif field.message_type is not None and depth < 4:
            yield from texts(field.message_type, f"{path}{field.name}.", depth + 1)


TEXTS = list(texts(pb.GenerateRequest.DESCRIPTOR))


def test_there_are_texts() -> None:
    assert {"prompt", "family", "image_to_image.image.url", "output.target"} <= set(TEXTS)


@pytest.mark.promise(
    "characters that the database does not store",
    "NUL in any text is INVALID_ARGUMENT and names the field",
    "orchestrator/api/messages.py",
)
@pytest.mark.parametrize("path", TEXTS)
async def test_a_nul_is_refused_in_every_text(server: Server, path: str) -> None:
    request = a_text(path)("a\0b")
    error = await server.refused("/imagegen.v1.GenerationService/Generate", request.SerializeToString(), KEY)
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    (violation,) = detail(error, error_details_pb2.BadRequest).field_violations
    assert (violation.field, violation.description) == (path, "must not contain the character NUL")


@pytest.mark.parametrize("method", ["GetJob", "CancelJob", "DeleteJob", "WatchJob", "ReadResult"])
async def test_a_nul_is_refused_in_every_id(server: Server, method: str) -> None:
    error = await server.refused(f"/imagegen.v1.JobService/{method}", b"\x0a\x03a\0b", KEY)
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.promise(
    "small messages that parse to gigabytes",
    "10,000 fields, counted before parsing",
    "orchestrator/api/messages.py",
)
async def test_a_message_of_too_many_fields_is_refused_before_it_is_parsed(server: Server) -> None:
    number = pb.GenerateRequest.DESCRIPTOR.fields_by_name["enhancements"].number
    field = bytes([number << 3 & 0x7F | 2 | 0x80, number >> 4, 0]) if number > 15 else bytes([number << 3 | 2, 0])
    some = pb.GenerateEvent.FromString(
        await server.raw("/imagegen.v1.GenerationService/Generate", field * messages.MAX_FIELDS, KEY)
    )
    assert some.sequence == messages.MAX_FIELDS
    error = await server.refused("/imagegen.v1.GenerationService/Generate", field * 10_000_000, KEY)
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "more than 10000 fields" in (error.details() or "")


async def test_a_picture_of_32_mib_passes(server: Server) -> None:
    image = pb.ImageSource(data=bytes(32 * 1024 * 1024))
    request = pb.GenerateRequest(image_to_image=pb.ImageToImage(image=image))
    data = request.SerializeToString()
    assert (
        pb.GenerateEvent.FromString(await server.raw("/imagegen.v1.GenerationService/Generate", data, KEY)) is not None
    )


@pytest.mark.promise(
    "errors that are larger than a client reads, or repeat what it sent",
    "16 violations, 2 KiB of them, 100 characters of a client's text",
    "orchestrator/errors.py",
)
@pytest.mark.parametrize(
    "text", ["x" * 5000, "é" * 5000, "\N{GRINNING FACE}" * 5000, "a b " * 3000, "'" * 4000, "\\" * 9000]
)
@pytest.mark.parametrize("number", [1, 20, 2000])
async def test_details_are_bounded_and_echo_little(server: Server, text: str, number: int) -> None:
    """A client of gRPC's defaults reads the refusal of any number of wrong fields."""
    request = jobs_pb2.DeleteJobRequest(job_id=f"{number} {text}")
    error = await server.refused("/imagegen.v1.JobService/DeleteJob", request.SerializeToString(), KEY)
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    violations = detail(error, error_details_pb2.BadRequest).field_violations
    assert violations[0].field == "field[0]"
    for said in [error.details() or "", *(violation.description for violation in violations)]:
        assert text[:101] not in said
    size = sum(len(key) + len(value) for key, value in error.trailing_metadata() or ())
    assert size < 5000


async def test_gzip_as_a_stranger_is_refused_too(server: Server) -> None:
    """By hand, with the flag of a packed message: gRPC's own client packs by its option only."""
    packed = gzip.compress(bytes(60_000_000))
    method: Any = server.channel.unary_stream(CHECK)
    call = method(packed, metadata=[("grpc-encoding", "gzip")], compression=grpc.Compression.Gzip, timeout=20)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call.read()
    assert caught.value.code() in {grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.INTERNAL}


async def test_a_call_without_a_message_is_refused(server: Server) -> None:
    call: Any = server.channel.stream_stream("/imagegen.v1.JobService/GetJob")(metadata=[KEY], timeout=20)
    await call.done_writing()
    assert await call.code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.promise(
    "one account that sends many pictures at once",
    ("four messages of one account, and two to sixteen in all by the memory that is there, are received at a time"),
    "orchestrator/api/rotation.py",
)
async def test_an_account_sends_few_pictures_at_once_and_others_pass(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four calls that send nothing take the account's turns; its fifth waits, and its small calls do not."""
    monkeypatch.setattr(receiving, "TURN_SECONDS", 0.5)
    silent: list[Any] = [
        server.channel.stream_stream("/imagegen.v1.JobService/CreateJob")(metadata=[KEY])
        for _ in range(receiving.MAX_LARGE_OF_ACCOUNT)
    ]
    await asyncio.sleep(0.2)
    error = await server.refused("/imagegen.v1.JobService/CreateJob", b"", KEY)
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert await server.raw("/imagegen.v1.JobService/GetJob", b"", KEY)
    for call in silent:
        call.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await call.code()
