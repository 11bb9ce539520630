"""Durable jobs over gRPC: idempotent, listed, watched from any replica, and outliving the process that runs them."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import psycopg
import pytest

from imagegen.v1 import generation_pb2 as pb
from imagegen.v1 import jobs_pb2
from local.settings import Ports
from orchestrator.config import Settings
from tests.accounts import new_key
from tests.integration.both_protocols import until_serving
from tests.integration.stack import REPOSITORY, Client, details, serving, settings, text_to_image


def wanted(**fields: object) -> jobs_pb2.CreateJobRequest:
    """A small job."""
    return jobs_pb2.CreateJobRequest(request=text_to_image(**{"steps": 2, **fields}))  # type: ignore[arg-type]  # of several types


async def watched(client: Client, job_id: str, after: int = 0) -> list[pb.GenerateEvent]:
    """The events of a job to its end, however often a server goes away meanwhile."""
    seen: list[pb.GenerateEvent] = []
    while True:
        request = jobs_pb2.WatchJobRequest(job_id=job_id, after_sequence=seen[-1].sequence if seen else after)
        try:
            async for event in client.jobs.WatchJob(request):
                seen.append(event)  # noqa: PERF401  # what came before an error counts
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.UNAVAILABLE:
                raise
            await client.channel.channel_ready()
        else:
            return seen


async def state(client: Client, job_id: str) -> jobs_pb2.Job:
    return await client.jobs.GetJob(jobs_pb2.GetJobRequest(job_id=job_id))


async def ended(client: Client, job_id: str) -> jobs_pb2.Job:
    """A job that has succeeded, with its picture's bytes there."""
    await watched(client, job_id)
    job = await state(client, job_id)
    assert job.state == jobs_pb2.JOB_STATE_SUCCEEDED
    name = job.artifact.uri.rpartition("/")[2]
    data = b"".join([part.data async for part in client.jobs.ReadResult(jobs_pb2.ReadResultRequest(name=name))])
    assert (data[:4], len(data)) == (b"\x89PNG", job.artifact.file_size)
    return job


async def usage(url: str) -> list[str]:
    """Jobs that were counted."""
    async with await psycopg.AsyncConnection.connect(url) as connection:
        cursor = await connection.execute("SELECT job_id FROM imagegen.usage")
        return [job_id for (job_id,) in await cursor.fetchall()]


async def credits_of(url: str) -> int:
    """What the account alice has."""
    async with await psycopg.AsyncConnection.connect(url) as connection:
        cursor = await connection.execute("SELECT credits FROM imagegen.accounts WHERE name = 'alice'")
        return int((await cursor.fetchall())[0][0])


@contextlib.asynccontextmanager
async def process(config: Settings) -> AsyncIterator[tuple[asyncio.subprocess.Process, Client]]:
    """An orchestrator in a process of its own, and a client of it."""
    ports = Ports.free()
    names = ("triton_url", "families", "results_url", "database_url", "worker_slots", "grace_seconds")
    environment = {
        **os.environ,
        **{f"IMAGEGEN_{name.upper()}": str(getattr(config, name)) for name in names},
        "IMAGEGEN_GRPC_ADDRESS": f"127.0.0.1:{ports.grpc}",
        "IMAGEGEN_METRICS_ADDRESS": "127.0.0.1:0",
        "IMAGEGEN_ANONYMOUS": "true",
    }
    running = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "orchestrator", env=environment, cwd=REPOSITORY
    )
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{ports.grpc}") as channel:
            await until_serving(channel)
            yield running, Client(channel)
    finally:
        if running.returncode is None:
            running.kill()
        await running.wait()


async def test_the_same_key_names_the_same_job(client: Client) -> None:
    first = await client.jobs.CreateJob(wanted(request_id="key-1", seed=1))
    again = await asyncio.gather(*[client.jobs.CreateJob(wanted(request_id="key-1", seed=1)) for _ in range(5)])
    assert {job.job_id for job in again} == {first.job_id}
    await ended(client, first.job_id)
    late = await client.jobs.CreateJob(wanted(request_id="key-1", seed=1))
    assert (late.job_id, late.state) == (first.job_id, jobs_pb2.JOB_STATE_SUCCEEDED)
    unnamed = [await client.jobs.CreateJob(wanted(seed=1)) for _ in range(2)]
    assert len({first.job_id, *(job.job_id for job in unnamed)}) == 3


async def test_a_key_with_another_request_is_refused(client: Client) -> None:
    await client.jobs.CreateJob(wanted(request_id="key-1", seed=1))
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await client.jobs.CreateJob(wanted(request_id="key-1", seed=2))
    assert refusal.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert refusal.value.details() == "request.request_id: was already used for another request"


async def test_a_job_bears_its_calls_name_in_the_log(client: Client) -> None:
    """The metadata's, so that a gateway can name the call, and draw keys that nobody need read."""
    named = (("x-request-id", "from-outside"),)
    job = await client.jobs.CreateJob(wanted(request_id="key-1"), metadata=named)
    assert job.request_id == "from-outside"
    assert (await ended(client, job.job_id)).artifact.request_id == "from-outside"
    assert (await client.jobs.CreateJob(wanted(request_id="key-2"))).request_id == "key-2"


@pytest.mark.promise(
    "jobs of other accounts",
    "every statement names the account",
    "orchestrator/jobs/store.py",
)
async def test_jobs_are_listed_by_account(tiny_triton: int, tmp_path: Path) -> None:
    config = settings(tiny_triton, tmp_path, anonymous=False)
    mine, others = [(("x-api-key", await new_key(config.database_url, name)),) for name in ("alice", "bob")]
    async with serving(config) as (_, client):
        made = [(await client.jobs.CreateJob(wanted(seed=seed), metadata=mine)).job_id for seed in range(5)]
        theirs = await client.jobs.CreateJob(wanted(), metadata=others)
        seen: list[str] = []
        token = ""
        while token or not seen:
            page = await client.jobs.ListJobs(jobs_pb2.ListJobsRequest(page_size=2, page_token=token), metadata=mine)
            seen += [job.job_id for job in page.jobs]
            token = page.next_page_token
        assert seen == made[::-1]
        asked = jobs_pb2.GetJobRequest(job_id=theirs.job_id), jobs_pb2.CancelJobRequest(job_id=theirs.job_id)
        for method, request in zip((client.jobs.GetJob, client.jobs.CancelJob), asked, strict=True):
            with pytest.raises(grpc.aio.AioRpcError) as refusal:
                await method(request, metadata=mine)  # type: ignore[operator]  # each method its request
            assert refusal.value.code() is grpc.StatusCode.NOT_FOUND


async def test_only_jobs_of_a_state_are_listed(client: Client) -> None:
    done = await ended(client, (await client.jobs.CreateJob(wanted())).job_id)
    gone = await ended(client, (await client.jobs.CreateJob(wanted())).job_id)
    await client.jobs.DeleteJob(jobs_pb2.DeleteJobRequest(job_id=gone.job_id))
    for listed, found in ((jobs_pb2.JOB_STATE_SUCCEEDED, done), (jobs_pb2.JOB_STATE_DELETED, gone)):
        page = await client.jobs.ListJobs(jobs_pb2.ListJobsRequest(state=listed))
        assert [job.job_id for job in page.jobs] == [found.job_id]


async def test_a_job_is_watched_from_another_replica(slow_triton: int, tmp_path: Path) -> None:
    """The other has no worker, so nothing of the job happens there; it shows each step, and where one left off."""
    here = settings(slow_triton, tmp_path)
    there = here.model_copy(update={"worker_slots": 0})
    async with serving(here) as (_, client), serving(there) as (_, other):
        job = await other.jobs.CreateJob(wanted(steps=8, preview_interval=1))
        events = await watched(other, job.job_id)
        numbers = [event.sequence for event in events]
        assert numbers == sorted(set(numbers))
        kinds = [event.WhichOneof("event") for event in events]
        assert kinds[-1] == "artifact"
        assert {"started", "progress", "preview"} <= set(kinds)
        steps = [event.progress.step for event in events if event.progress.stage == pb.STAGE_DENOISE]
        assert len(set(steps)) > 2  # as they happened, not only at the end
        rest = await watched(client, job.job_id, after=numbers[-2])
        assert [event.sequence for event in rest] == numbers[-1:]
        assert await watched(client, job.job_id, after=numbers[-1]) == []


async def test_a_watch_ends_with_the_jobs_error(slow_triton: int, tmp_path: Path) -> None:
    async with serving(settings(slow_triton, tmp_path)) as (_, client):
        job = await client.jobs.CreateJob(wanted(steps=50))
        watching = asyncio.create_task(watched(client, job.job_id))
        await client.jobs.CancelJob(jobs_pb2.CancelJobRequest(job_id=job.job_id))
        for watch in (watching, watched(client, job.job_id)):
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await watch
            assert error.value.code() is grpc.StatusCode.CANCELLED
        await client.jobs.DeleteJob(jobs_pb2.DeleteJobRequest(job_id=job.job_id))
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await watched(client, "none")
        assert error.value.code() is grpc.StatusCode.NOT_FOUND


async def test_a_stopping_server_ends_watches(tiny_triton: int, tmp_path: Path) -> None:
    config = settings(tiny_triton, tmp_path, worker_slots=0, grace_seconds=0)
    async with serving(config) as (orchestrator, client):
        job = await client.jobs.CreateJob(wanted())
        call = client.jobs.WatchJob(jobs_pb2.WatchJobRequest(job_id=job.job_id))
        first = await call.read()
        assert isinstance(first, pb.GenerateEvent)
        assert first.queued.job_id == job.job_id
        stopping = asyncio.create_task(orchestrator.stop())
        assert await call.code() is grpc.StatusCode.UNAVAILABLE
        await stopping


async def test_a_killed_workers_job_starts_again(slow_triton: int, tmp_path: Path) -> None:
    """Killed with -9 in the middle: another replica finds it by the heartbeat, and makes it. It counts once."""
    config = settings(slow_triton, tmp_path, worker_slots=0)
    async with serving(config) as (_, client):
        async with process(config.model_copy(update={"worker_slots": 1})) as (worker, _):
            job = await client.jobs.CreateJob(wanted(steps=40))
            async for event in client.jobs.WatchJob(jobs_pb2.WatchJobRequest(job_id=job.job_id)):
                if event.progress.stage == pb.STAGE_DENOISE:
                    break
            worker.send_signal(signal.SIGKILL)
        async with process(config.model_copy(update={"worker_slots": 1})):
            done = await ended(client, job.job_id)
    assert done.attempts == 2
    assert await usage(config.database_url) == [job.job_id]


async def test_a_draining_worker_gives_its_job_back(slow_triton: int, tmp_path: Path) -> None:
    """SIGTERM, and no time to end: the job waits again at once, its attempt does not count, and the process exits."""
    config = settings(slow_triton, tmp_path, worker_slots=0)
    async with serving(config) as (_, client):
        async with process(config.model_copy(update={"worker_slots": 1, "grace_seconds": 0})) as (worker, _):
            job = await client.jobs.CreateJob(wanted(steps=60))
            async for event in client.jobs.WatchJob(jobs_pb2.WatchJobRequest(job_id=job.job_id)):
                if event.progress.stage == pb.STAGE_DENOISE:
                    break
            worker.send_signal(signal.SIGTERM)
            await worker.wait()
        back = await state(client, job.job_id)
        assert (back.state, back.attempts) == (jobs_pb2.JOB_STATE_QUEUED, 0)
        async with process(config.model_copy(update={"worker_slots": 1})):
            assert (await ended(client, job.job_id)).attempts == 1


async def test_a_stream_costs_its_account_a_picture(tiny_triton: int, tmp_path: Path) -> None:
    """One credit: one picture, however it is asked for. What is refused or fails costs nothing."""
    config = settings(tiny_triton, tmp_path, anonymous=False)
    key = {"x-api-key": await new_key(config.database_url, "alice", credits=1)}
    async with serving(config) as (_, client):
        with pytest.raises(grpc.aio.AioRpcError) as wrong:
            await client.generate(text_to_image(family="none"), key)
        assert wrong.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert (await client.generate(text_to_image(steps=1), key)).data
        for refused in (
            client.generate(text_to_image(steps=1), key),
            client.generate(text_to_image(steps=1, detach_on_disconnect=True), key),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as poor:
                await refused
            assert poor.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert details(poor.value)["ErrorInfo"].reason == "NOT_ENOUGH_CREDITS"  # type: ignore[attr-defined]  # of an ErrorInfo
    assert len(await usage(config.database_url)) == 1


@pytest.mark.parametrize(("until", "pictures"), [(2, 0), (15, 1)])
async def test_who_hangs_up_after_the_picture_was_shown_has_paid(
    slow_triton: int, tmp_path: Path, until: int, pictures: int
) -> None:
    """By a preview of the later half of the steps; before that hanging up costs nothing."""
    config = settings(slow_triton, tmp_path, anonymous=False)
    key = {"x-api-key": await new_key(config.database_url, "alice", credits=1)}
    async with serving(config) as (_, client):
        request = text_to_image(steps=20, preview_interval=1)
        async for event in (stream := client.generation.Generate(request, metadata=tuple(key.items()))):
            if event.preview.step >= until:
                break
        stream.cancel()
        async with asyncio.timeout(20):
            end = 1 - pictures, pictures
            while (await credits_of(config.database_url), len(await usage(config.database_url))) != end:  # noqa: ASYNC110
                await asyncio.sleep(0.05)  # the stream's end is written behind it


async def test_streams_count_as_jobs_of_their_account(slow_triton: int, tmp_path: Path) -> None:
    config = settings(slow_triton, tmp_path, anonymous=False)
    key = {"x-api-key": await new_key(config.database_url, "alice", max_active=1)}
    async with serving(config) as (_, client):
        running = client.generation.Generate(text_to_image(steps=20), metadata=tuple(key.items()))
        await running.read()
        with pytest.raises(grpc.aio.AioRpcError) as busy:
            await client.jobs.CreateJob(wanted(), metadata=tuple(key.items()))
        found = details(busy.value)["ErrorInfo"]
        assert (found.reason, dict(found.metadata)) == (  # type: ignore[attr-defined]  # of an ErrorInfo
            "TOO_MANY_JOBS",
            {"rate_limit": "1", "active_jobs_amount": "1"},
        )
        running.cancel()
        async with asyncio.timeout(20):
            while True:
                with contextlib.suppress(grpc.aio.AioRpcError):
                    assert (await client.generate(text_to_image(steps=1), key)).data
                    break


async def test_a_detached_stream_brings_the_picture(client: Client) -> None:
    """The bytes of the same request as a plain stream; and they are in the result store too."""
    plain = await client.generate(text_to_image(seed=3, steps=2))
    seen = await client.generate(text_to_image(seed=3, steps=2, detach_on_disconnect=True))
    assert seen.kinds()[0] == "queued"
    assert seen.data == plain.data
    numbers = [event.sequence for event in seen.events if not event.HasField("artifact")]
    assert numbers == sorted(set(numbers))
    assert (await ended(client, seen.events[0].queued.job_id)).artifact.file_size == len(seen.data)


@pytest.mark.parametrize(
    ("webhook", "said"),
    [
        (jobs_pb2.Webhook(url="http://127.0.0.1/"), "webhook.url: refers to an address that is not public"),
        (jobs_pb2.Webhook(url="https://receiver.example/", data="{"), "webhook.data: is not JSON"),
    ],
)
async def test_a_webhook_that_cannot_be_sent_is_refused(client: Client, webhook: jobs_pb2.Webhook, said: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await client.jobs.CreateJob(jobs_pb2.CreateJobRequest(request=text_to_image(), webhook=webhook))
    assert (refusal.value.code(), refusal.value.details()) == (grpc.StatusCode.INVALID_ARGUMENT, said)
