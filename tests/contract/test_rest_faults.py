"""REST when something goes away or never comes: clients, the orchestrator, bodies, the process itself."""

import asyncio
import json

import grpc
import httpx
import pytest

from gateway.translate import request as translate
from gateway.transport import body
from orchestrator.errors import DatabaseUnavailableError
from tests.contract import rest_fake, rest_stack
from tests.contract.rest_fake import JOB, KEY, FakeJobs
from tests.contract.rest_stack import MAX_BODY_BYTES, NOW, RESULT, Stack

pytestmark = pytest.mark.asyncio(loop_scope="module")

REQUEST = {"background": {"generate": {"description": "a red fox"}}}
HEAD = f"POST {NOW} HTTP/1.1\r\nHost: x\r\nX-API-KEY: {KEY}\r\nContent-Type: application/json\r\n"


@pytest.fixture(scope="module")
def wait_seconds() -> float:
    """Longer than any of these tests: nothing here may end because the wait does."""
    return 60


async def test_a_client_that_hangs_up_ends_the_watch_and_not_the_job(stack: Stack) -> None:
    stack.script.ended = None
    _, writer = await asyncio.open_connection(stack.address.host, stack.address.port)
    content = json.dumps(REQUEST)
    writer.write(f"{HEAD.replace(NOW, RESULT)}Content-Length: {len(content)}\r\n\r\n{content}".encode())
    await stack.script.watched.wait()
    writer.close()
    await writer.wait_closed()
    await stack.script.hung_up.wait()
    assert stack.script.calls == ["CreateJob", "WatchJob"]


async def test_waiting_requests_leave_the_event_loop_free(stack: Stack) -> None:
    stack.script.ended = None
    waiting = [asyncio.create_task(stack.client.post(RESULT, json=REQUEST)) for _ in range(30)]
    await stack.script.watched.wait()
    async with asyncio.timeout(2):
        assert (await stack.anonymous.get("/healthz")).status_code == 200
    for each in waiting:
        each.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    await stack.script.hung_up.wait()


async def test_the_orchestrator_down_and_back(free_port: int) -> None:
    async with (
        rest_stack.http_server(free_port, rest_retry_seconds=0.2) as address,
        rest_stack.client(address) as client,
    ):
        down = await client.post(RESULT, json=REQUEST)
        assert (down.status_code, down.headers["Retry-After"]) == (503, "2")
        assert down.json() == {"message": "The service cannot be reached right now", "code": "SERVICE_UNAVAILABLE"}
        assert (await client.get("/readyz")).status_code == 503
        async with rest_stack.grpc_server(FakeJobs(), free_port), asyncio.timeout(20):
            while (await client.get("/readyz")).status_code != 200:  # noqa: ASYNC110  # gRPC reconnects when it likes
                await asyncio.sleep(0.05)
            assert (await client.post(RESULT, json=REQUEST)).json()["status"] == "complete"


async def test_a_wait_outlives_a_restart_of_the_orchestrator(free_port: int) -> None:
    jobs = FakeJobs()
    jobs.script.ended = None
    async with (
        rest_stack.http_server(free_port, rest_wait_seconds=20) as address,
        rest_stack.client(address) as client,
    ):
        async with rest_stack.grpc_server(jobs, free_port):
            answer = asyncio.create_task(client.post(RESULT, json=REQUEST))
            await jobs.script.watched.wait()
        jobs.script.ended = rest_fake.finished()
        async with rest_stack.grpc_server(jobs, free_port):
            assert (await answer).json()["status"] == "complete"
    assert jobs.script.calls.count("CreateJob") == 1


async def test_a_job_that_the_orchestrator_has_forgotten(stack: Stack) -> None:
    stack.script.created.job_id = "forgotten"
    answer = await stack.client.post(RESULT, json=REQUEST)
    assert (answer.status_code, answer.json()) == (404, {"message": "Job not found"})


async def test_a_lookup_is_tried_again(stack: Stack) -> None:
    stack.script.refusal, stack.script.refusals_left = (grpc.StatusCode.UNAVAILABLE, "restarting"), 2
    answer = await stack.client.get(f"/rest_api/result/{JOB}")
    assert (answer.status_code, answer.json()["status"]) == (200, "complete")
    assert stack.script.calls == ["GetJob"] * 3


async def test_a_job_is_asked_for_again_by_the_same_key(stack: Stack) -> None:
    """Through a restart of the orchestrator, or of its database. The key makes one job of all tries."""
    away = DatabaseUnavailableError("the job database does not answer")
    stack.script.refusal, stack.script.refusals_left = away, 3
    async with (
        rest_stack.http_server(stack.orchestrator_port, rest_retry_seconds=20) as address,
        rest_stack.client(address) as client,
    ):
        assert (await client.post(NOW, json=REQUEST)).status_code == 200
    assert stack.script.calls == ["CreateJob"] * 4
    assert len({request.request_id for request in stack.script.requests}) == 1


async def test_a_database_that_stays_away(stack: Stack) -> None:
    stack.script.refusal = DatabaseUnavailableError("the job database does not answer", retry_after=3)
    answer = await stack.client.post(NOW, json=REQUEST)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "3")
    assert answer.json() == {"message": "the job database does not answer", "code": "SERVICE_UNAVAILABLE"}


async def test_a_gateway_that_does_not_wait(stack: Stack) -> None:
    async with (
        rest_stack.http_server(stack.orchestrator_port, rest_wait_seconds=0.0) as address,
        rest_stack.client(address) as client,
    ):
        answer = await client.post(RESULT, json=REQUEST)
    assert (answer.status_code, answer.json()) == (200, {"status": "in_progress", "job": JOB, "queue": 2})


async def test_something_unexpected(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(translate, "translated")
    answer = await stack.client.post(NOW, json=REQUEST)
    assert answer.status_code == 500
    assert answer.json() == {
        "message": f"Something went wrong here. Request id: {answer.headers['X-Request-ID']}",
        "code": "INTERNAL_ERROR",
    }


async def test_a_long_body_is_refused_by_its_announcement(stack: Stack) -> None:
    reader, writer = await asyncio.open_connection(stack.address.host, stack.address.port)
    writer.write(f"{HEAD}Content-Length: {50 * 2**20}\r\n\r\n".encode())  # and not a byte of it
    assert (await reader.readline()).startswith(b"HTTP/1.1 413 ")
    writer.close()
    await writer.wait_closed()


async def test_a_long_chunked_body_is_refused_before_its_end(stack: Stack) -> None:
    reader, writer = await asyncio.open_connection(stack.address.host, stack.address.port)
    writer.write(f"{HEAD}Transfer-Encoding: chunked\r\n\r\n".encode())
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    for _ in range(MAX_BODY_BYTES // 0x10000 + 1):
        writer.write(chunk)
        await writer.drain()
    assert (await reader.readline()).startswith(b"HTTP/1.1 413 ")  # the last chunk was never sent
    writer.close()
    await writer.wait_closed()


async def test_a_client_that_sends_50_mb_gets_to_read_the_answer(stack: Stack) -> None:
    answer = await stack.client.post(NOW, content=b" " * (50 * 2**20), headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (413, "PAYLOAD_TOO_LARGE")
    assert (await stack.client.post(NOW, json=REQUEST)).status_code == 200


async def test_a_body_that_does_not_arrive(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body, "PATIENCE_SECONDS", 0.05)
    reader, writer = await asyncio.open_connection(stack.address.host, stack.address.port)
    writer.write(f"{HEAD}Content-Length: 100\r\n\r\n".encode())
    assert (await reader.readline()).startswith(b"HTTP/1.1 408 ")
    writer.close()
    await writer.wait_closed()


async def test_a_stop_answers_who_waits(free_port: int) -> None:
    jobs = FakeJobs()
    jobs.script.ended = None
    async with rest_stack.grpc_server(jobs, free_port), httpx.AsyncClient(headers={"X-API-KEY": KEY}) as client:
        async with rest_stack.http_server(free_port, rest_wait_seconds=600, grace_seconds=1.0) as address:
            waits = asyncio.create_task(client.post(f"http://{address}{RESULT}", json=REQUEST))
            await jobs.script.watched.wait()
        answer = await waits  # the gateway has stopped
        with pytest.raises(httpx.ConnectError):
            await client.get(f"http://{address}/healthz")
    assert (answer.status_code, answer.json()["status"]) == (200, "in_progress")
