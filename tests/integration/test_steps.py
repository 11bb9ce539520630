"""What happens between steps: batching, cancelling, detaching, stopping.

The UNet here takes 0.15 s a batch, so that a client has time to do something in the middle of a request.
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
import tritonclient.grpc.aio as triton

from imagegen.v1 import generation_pb2 as pb
from imagegen.v1 import jobs_pb2
from orchestrator.server import Orchestrator
from tests.database import new_url
from tests.integration.stack import REPOSITORY, TINY_FAMILIES, Client, details, serving, settings, text_to_image


async def executions(port: int) -> dict[int, int]:
    """Executions of the UNet so far, by the rows in the batch."""
    async with triton.InferenceServerClient(f"127.0.0.1:{port}") as server:
        answer = await server.get_inference_statistics("tiny_unet")
    return {int(b.batch_size): int(b.compute_infer.count) for s in answer.model_stats for b in s.batch_stats}


async def idle(orchestrator: Orchestrator) -> None:
    """Return when nothing runs any more."""
    async with asyncio.timeout(20):
        while orchestrator.in_flight:  # noqa: ASYNC110  # the server has no event for it: nobody but a test waits for this
            await asyncio.sleep(0.01)


@pytest.fixture
async def slow(slow_triton: int, tmp_path: Path) -> AsyncIterator[tuple[Orchestrator, Client]]:
    """An orchestrator over the slow UNet."""
    async with serving(settings(slow_triton, tmp_path)) as pair:
        yield pair


async def test_steps_of_different_requests_share_batches(slow: tuple[Orchestrator, Client], slow_triton: int) -> None:
    """Eight requests of different seeds and step counts: batches above two rows are seen, and change no byte."""
    _, client = slow
    requests = [text_to_image(f"picture {i}", seed=i, steps=3 + i) for i in range(8)]
    before = await executions(slow_triton)
    together = await asyncio.gather(*(client.generate(request) for request in requests))
    after = await executions(slow_triton)
    grown = {rows: count - before.get(rows, 0) for rows, count in after.items() if count > before.get(rows, 0)}
    assert max(grown) == 8  # four requests' pairs: max_batch_size
    assert sum(grown.values()) < sum(request.steps for request in requests)
    for index in (0, 7):
        alone = await client.generate(requests[index])
        assert alone.data == together[index].data


async def test_a_client_that_hangs_up_stops_the_work(slow: tuple[Orchestrator, Client], slow_triton: int) -> None:
    """Hung up after step 3 of 30: the running step is the last, and the slot is free."""
    orchestrator, client = slow
    before = sum((await executions(slow_triton)).values())
    call = client.generation.Generate(text_to_image(steps=30))
    async for event in call:
        if event.HasField("progress") and event.progress.stage == pb.STAGE_DENOISE and event.progress.step == 3:
            call.cancel()
            break
    await idle(orchestrator)
    assert sum((await executions(slow_triton)).values()) - before <= 4
    seen = await client.generate(text_to_image(steps=1))  # the slot is free
    assert seen.data


async def test_a_detached_request_goes_on(slow: tuple[Orchestrator, Client]) -> None:
    """With detach_on_disconnect the picture is found by the job id."""
    orchestrator, client = slow
    call = client.generation.Generate(text_to_image(steps=4, detach_on_disconnect=True))
    job_id = ""
    async for event in call:
        job_id = job_id or event.queued.job_id
        if event.HasField("progress"):
            call.cancel()
            break
    await idle(orchestrator)
    job = await client.jobs.GetJob(jobs_pb2.GetJobRequest(job_id=job_id))
    assert job.state == jobs_pb2.JOB_STATE_SUCCEEDED
    assert job.artifact.uri


async def test_priorities_and_positions(slow_triton: int, tmp_path: Path) -> None:
    """One slot: a high request overtakes a low one, and the low one gets its new place."""
    async with serving(settings(slow_triton, tmp_path, max_in_flight=1)) as (_, client):
        ended: list[str] = []

        async def run(name: str, priority: pb.Priority.ValueType) -> list[int]:
            seen = await client.generate(text_to_image(name, steps=2, priority=priority))
            ended.append(name)
            return [e.queued.position for e in seen.events if e.HasField("queued")]

        first = asyncio.create_task(run("first", pb.PRIORITY_NORMAL))
        await asyncio.sleep(0.05)
        low = asyncio.create_task(run("low", pb.PRIORITY_LOW))
        await asyncio.sleep(0.05)
        high = asyncio.create_task(run("high", pb.PRIORITY_HIGH))
        await asyncio.gather(first, low, high)
        assert ended == ["first", "high", "low"]
        assert low.result() == [0, 1, 0]


async def test_a_full_queue_says_when_to_come_back(slow_triton: int, tmp_path: Path) -> None:
    """RESOURCE_EXHAUSTED with RetryInfo; what runs is not disturbed."""
    async with serving(settings(slow_triton, tmp_path, max_in_flight=1, max_queued=0)) as (_, client):
        running = asyncio.create_task(client.generate(text_to_image(steps=3)))
        await asyncio.sleep(0.1)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await client.generate(text_to_image(steps=3))
        assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "RetryInfo" in details(caught.value)
        assert (await running).data


async def test_cancel_and_delete_while_running(slow: tuple[Orchestrator, Client], tmp_path: Path) -> None:
    """A cancelled job ends as such; a deleted one leaves no picture."""
    orchestrator, client = slow
    request = jobs_pb2.CreateJobRequest(request=text_to_image(steps=20))
    first, second = [await client.jobs.CreateJob(request) for _ in range(2)]
    await client.jobs.CancelJob(jobs_pb2.CancelJobRequest(job_id=first.job_id))
    await client.jobs.DeleteJob(jobs_pb2.DeleteJobRequest(job_id=second.job_id))
    await idle(orchestrator)
    states = [(await client.jobs.GetJob(jobs_pb2.GetJobRequest(job_id=job.job_id))).state for job in (first, second)]
    assert states == [jobs_pb2.JOB_STATE_CANCELLED, jobs_pb2.JOB_STATE_DELETED]
    assert not list((tmp_path / "results").iterdir())


async def test_sigterm_lets_running_work_end(slow_triton: int, tmp_path: Path, free_port: int) -> None:
    """Four running requests get their pictures, a new one is refused, the process exits with 0."""
    environment = {
        **os.environ,
        "IMAGEGEN_GRPC_ADDRESS": f"127.0.0.1:{free_port}",
        "IMAGEGEN_METRICS_ADDRESS": "127.0.0.1:0",
        "IMAGEGEN_TRITON_URL": f"127.0.0.1:{slow_triton}",
        "IMAGEGEN_FAMILIES": str(TINY_FAMILIES),
        "IMAGEGEN_DATABASE_URL": new_url(),
        "IMAGEGEN_ANONYMOUS": "true",
        "IMAGEGEN_RESULTS_URL": str(tmp_path),
        "IMAGEGEN_GRACE_SECONDS": "30",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "orchestrator", env=environment, cwd=REPOSITORY, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{free_port}") as channel:
            client = Client(channel)
            await asyncio.wait_for(channel.channel_ready(), 20)
            requests = [text_to_image(steps=8, seed=i, request_id=f"number-{i}") for i in range(4)]
            calls = [client.generation.Generate(request) for request in requests]
            for call in calls:
                await call.read()  # queued
            process.send_signal(signal.SIGTERM)
            refused = await _refusal(client)
            assert refused.code() == grpc.StatusCode.UNAVAILABLE
            for call in calls:
                assert (await _rest(call)).startswith(b"\x89PNG")
        _, log = await asyncio.wait_for(process.communicate(), 30)
        assert process.returncode == 0, log.decode()
        lines = [json.loads(line) for line in log.splitlines()]
        ended = {line["request_id"]: line["outcome"] for line in lines if line["event"] == "job_ended"}
        assert {f"number-{i}": "succeeded" for i in range(4)}.items() <= ended.items()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _rest(call: grpc.aio.UnaryStreamCall[pb.GenerateRequest, pb.GenerateEvent]) -> bytes:
    """The picture that a call whose first events were read still brings."""
    data = b""
    while (event := await call.read()) is not grpc.aio.EOF:
        assert isinstance(event, pb.GenerateEvent)
        data += event.artifact.data
    return data


async def _refusal(client: Client) -> grpc.aio.AioRpcError:
    """The answer to a new request once the server has started to stop."""
    async with asyncio.timeout(20):
        while True:
            call = client.generation.Generate(text_to_image(steps=1))
            try:
                async for _ in call:
                    pass
            except grpc.aio.AioRpcError as error:
                return error
