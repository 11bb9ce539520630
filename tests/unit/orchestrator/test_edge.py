"""The interceptor over a real gRPC server: keys, request ids, errors of the tree, streams that end when they should."""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
import structlog
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status
from prometheus_client import REGISTRY

from imagegen.v1 import generation_pb2 as pb
from imagegen.v1 import jobs_pb2, jobs_pb2_grpc
from orchestrator.accounts.account import Account
from orchestrator.accounts.authentication import Accounts
from orchestrator.api import auth
from orchestrator.api.health import HealthServicer
from orchestrator.errors import (
    ApiKeyMissingError,
    ApiKeyUnknownError,
    EngineFaultError,
    ImagegenError,
    InvalidRequestError,
    QueueFullError,
    Violation,
)

ERRORS: dict[str, Exception] = {
    "invalid": InvalidRequestError(Violation("job_id", "is wrong")),
    "full": QueueFullError("full", retry_after=3.0),
    "fault": EngineFaultError("secret"),
    "crash": ZeroDivisionError("secret"),
}
KEY = ("x-api-key", "k-alice")
MAX_MESSAGE_BYTES = 65 * 1024 * 1024


class Servicer(jobs_pb2_grpc.JobServiceServicer):
    """Answers with who calls; a job id that is an error's name raises it."""

    def __init__(self) -> None:
        self.ended = asyncio.Event()

    async def not_called(self, request: Any, context: Any) -> Any:
        raise NotImplementedError

    CreateJob = EstimateJob = CancelJob = DeleteJob = ListJobs = ReadThumbnail = not_called

    async def GetJob(self, request: jobs_pb2.GetJobRequest, _context: Any) -> jobs_pb2.Job:  # noqa: N802
        if request.job_id in ERRORS:
            raise ERRORS[request.job_id]
        return jobs_pb2.Job(job_id=f"{auth.account.get().name} {auth.request_id.get()}")

    async def WatchJob(self, request: Any, _context: Any) -> AsyncIterator[pb.GenerateEvent]:  # noqa: N802
        try:
            yield pb.GenerateEvent(sequence=1)
            if request.job_id in ERRORS:
                raise ERRORS[request.job_id]
            if request.job_id == "flood":
                while True:
                    yield pb.GenerateEvent(sequence=2, preview=pb.Preview(jpeg=b"x" * 60_000))
            if request.job_id == "forever":
                await asyncio.Event().wait()
        finally:
            self.ended.set()

    async def ReadResult(self, _request: Any, _context: Any) -> AsyncIterator[jobs_pb2.ReadResultResponse]:  # noqa: N802
        yield jobs_pb2.ReadResultResponse(
            data=(caller.name if (caller := auth.account.get(None)) else "nobody").encode()
        )


class KnowsAlice(Accounts):
    """Accounts without a database."""

    def __init__(self) -> None:
        """Alice has the one key."""

    async def authenticate(self, key: str | None) -> Account:
        if not key:
            raise ApiKeyMissingError("no key")
        if key != KEY[1]:
            raise ApiKeyUnknownError("not known")
        return Account(id=2, name="alice")


class Edge:
    """A server behind the interceptor, and a client of it."""

    def __init__(self, server: grpc.aio.Server, channel: grpc.aio.Channel, servicer: Servicer) -> None:
        self.server, self.channel, self.servicer = server, channel, servicer
        self.jobs = jobs_pb2_grpc.JobServiceStub(channel)

    async def get(self, job_id: str = "x", *metadata: tuple[str, str]) -> str:
        job: jobs_pb2.Job = await self.jobs.GetJob(jobs_pb2.GetJobRequest(job_id=job_id), metadata=metadata)
        return job.job_id

    async def refused(self, job_id: str = "x", *metadata: tuple[str, str]) -> grpc.aio.AioRpcError:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await self.get(job_id, *metadata)
        return caught.value


@pytest.fixture
async def edge() -> AsyncIterator[Edge]:
    server = grpc.aio.server(interceptors=[auth.EdgeInterceptor(KnowsAlice(), MAX_MESSAGE_BYTES)])
    servicer = Servicer()
    jobs_pb2_grpc.add_JobServiceServicer_to_server(servicer, server)
    health_pb2_grpc.add_HealthServicer_to_server(HealthServicer(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield Edge(server, channel, servicer)
    await server.stop(0)


def detail(error: grpc.aio.AioRpcError, kind: type[Any]) -> Any:
    """The one detail of a kind."""
    status: Any = rpc_status.from_call(error)  # type: ignore[arg-type]  # works for aio's errors too
    (packed,) = [packed for packed in status.details if packed.Is(kind.DESCRIPTOR)]
    message = kind()
    packed.Unpack(message)
    return message


def calls(method: str, code: str) -> float:
    labels = {"method": f"/imagegen.v1.JobService/{method}", "code": code}
    return REGISTRY.get_sample_value("imagegen_rpc_seconds_count", labels) or 0.0


async def test_a_key_opens_its_account(edge: Edge) -> None:
    assert (await edge.get("x", KEY)).startswith("alice ")


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [([], "API_KEY_MISSING"), ([("x-api-key", "")], "API_KEY_MISSING"), ([("x-api-key", "k-bob")], "API_KEY_UNKNOWN")],
)
async def test_without_a_right_key_nothing_is_done(edge: Edge, metadata: list[tuple[str, str]], reason: str) -> None:
    error = await edge.refused("crash", *metadata)
    assert error.code() is grpc.StatusCode.UNAUTHENTICATED
    assert detail(error, error_details_pb2.ErrorInfo).reason == reason
    stream: Any = edge.jobs.WatchJob(jobs_pb2.WatchJobRequest(job_id="x"), metadata=metadata)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stream.read()
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert not edge.servicer.ended.is_set()


async def test_results_and_health_need_no_key(edge: Edge) -> None:
    answers = [answer async for answer in edge.jobs.ReadResult(jobs_pb2.ReadResultRequest(name="x"))]
    assert [answer.data for answer in answers] == [b"nobody"]
    stub = health_pb2_grpc.HealthStub(edge.channel)
    answer = await stub.Check(health_pb2.HealthCheckRequest())
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_one_call_leaves_nothing_to_the_next(edge: Edge) -> None:
    first = await edge.get("x", KEY, ("x-request-id", "r1"))
    second = await edge.get("x", KEY)
    assert first == "alice r1"
    assert re.fullmatch(r"alice [0-9a-f-]{36}", second)
    answers = [answer async for answer in edge.jobs.ReadResult(jobs_pb2.ReadResultRequest(name="x"))]
    assert answers[0].data == b"nobody"


@pytest.mark.parametrize("given", ["a b", "x" * 129, "a/b", ""])
async def test_a_request_id_of_another_form_is_replaced(edge: Edge, given: str) -> None:
    """It is a header, which proxies set too: no reason to refuse a call, and nothing for the logs."""
    assert re.fullmatch(r"alice [0-9a-f-]{36}", await edge.get("x", KEY, ("x-request-id", given)))


@pytest.mark.parametrize(
    ("name", "code", "message"),
    [
        ("invalid", grpc.StatusCode.INVALID_ARGUMENT, "job_id: is wrong"),
        ("full", grpc.StatusCode.RESOURCE_EXHAUSTED, "full"),
        ("fault", grpc.StatusCode.INTERNAL, "internal error; request id r1"),
        ("crash", grpc.StatusCode.INTERNAL, "internal error; request id r1"),
    ],
)
async def test_errors_leave_with_their_details(edge: Edge, name: str, code: grpc.StatusCode, message: str) -> None:
    before = calls("GetJob", code.name)
    with structlog.testing.capture_logs() as logs:
        error = await edge.refused(name, KEY, ("x-request-id", "r1"))
    assert (error.code(), error.details()) == (code, message)
    assert detail(error, error_details_pb2.RequestInfo).request_id == "r1"
    assert detail(error, error_details_pb2.ErrorInfo).domain == "imagegen"
    if name == "full":
        assert detail(error, error_details_pb2.RetryInfo).retry_delay.seconds == 3
    assert calls("GetJob", code.name) == before + 1
    assert [entry["event"] for entry in logs] == (["rpc_crashed"] if name == "crash" else [])


@pytest.mark.parametrize("name", list(ERRORS))
async def test_a_stream_ends_with_its_error_after_its_messages(edge: Edge, name: str) -> None:
    seen = []
    with pytest.raises(grpc.aio.AioRpcError) as caught:  # noqa: PT012  # the messages before the error are the point
        async for event in edge.jobs.WatchJob(jobs_pb2.WatchJobRequest(job_id=name), metadata=[KEY]):
            seen.append(event.sequence)  # noqa: PERF401
    assert seen == [1]
    expected = ERRORS[name]
    kind = type(expected).__name__ if isinstance(expected, ImagegenError) else "crash"
    codes = {"InvalidRequestError": "INVALID_ARGUMENT", "QueueFullError": "RESOURCE_EXHAUSTED"}
    assert caught.value.code().name == codes.get(kind, "INTERNAL")


@pytest.mark.parametrize("job_id", ["forever", "flood"])
async def test_a_client_that_hangs_up_ends_the_stream(edge: Edge, job_id: str) -> None:
    """While the servicer waits for news, and while it waits for the client to read."""
    call: Any = edge.jobs.WatchJob(jobs_pb2.WatchJobRequest(job_id=job_id), metadata=[KEY])
    assert (await call.read()).sequence == 1
    call.cancel()
    async with asyncio.timeout(5):
        await edge.servicer.ended.wait()


async def test_a_good_call_is_counted(edge: Edge) -> None:
    before = calls("GetJob", "OK")
    await edge.get("x", KEY)
    assert calls("GetJob", "OK") == before + 1


@pytest.mark.promise(
    "calls without a right key",
    ("one interceptor for all methods; the key is checked when the headers have arrived, before the message is read"),
    "orchestrator/api/auth.py",
)
@pytest.mark.parametrize("key", [[], [("x-api-key", "k-bob")]])
async def test_without_a_right_key_the_message_is_never_taken(edge: Edge, key: list[tuple[str, str]]) -> None:
    """The client sends its headers and no message at all: the refusal comes all the same."""
    watch: Any = edge.channel.stream_stream("/imagegen.v1.JobService/GetJob")(metadata=key)
    async with asyncio.timeout(10):
        assert await watch.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_a_right_key_lets_the_message_in(edge: Edge) -> None:
    call: Any = edge.channel.stream_stream("/imagegen.v1.JobService/GetJob")(metadata=[KEY])
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(call.code()), 0.3)  # it waits for what is not sent
    await call.write(jobs_pb2.GetJobRequest(job_id="x").SerializeToString())
    assert jobs_pb2.Job.FromString(await call.read()).job_id.startswith("alice ")


@pytest.mark.promise(
    "errors that reveal internals",
    'an error outside the tree is "internal error" to the client',
    "orchestrator/api/auth.py",
)
async def test_a_crash_of_the_lookup_opens_nothing(edge: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    async def crash(*_: object) -> Account:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(KnowsAlice, "authenticate", crash)
    error = await edge.refused("x", KEY)
    assert error.code() is grpc.StatusCode.INTERNAL
    assert "secret" not in str(error.details())
