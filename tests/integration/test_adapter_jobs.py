"""Jobs that start from a picture, over gRPC: watched and stopped while it is fetched, refused, bounded."""

import asyncio
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from imagegen.v1 import generation_pb2 as pb
from imagegen.v1 import jobs_pb2
from orchestrator import memory
from tests.integration.stack import ADAPTERS_FAMILIES, details, serving, settings
from tests.integration.tasks import SCENE, TASKS, Served, given, refusal, request
from tests.integration.web import Web, held, silent


async def test_a_job_can_be_watched_while_its_picture_is_fetched(adapters: Served, web: Web) -> None:
    """CreateJob answers at once; the job runs, and shows nothing but that, until the picture has come."""
    client, come = adapters[1], asyncio.Event()
    url = web.put("/slow.png", held(SCENE, come))
    wanted = request(pb.Control(image=pb.ImageSource(url=url)))
    job = await client.jobs.CreateJob(jobs_pb2.CreateJobRequest(request=wanted))
    async with asyncio.timeout(10):
        await web.asked["/slow.png"].wait()
    state = await client.jobs.GetJob(jobs_pb2.GetJobRequest(job_id=job.job_id))
    assert (state.state, state.HasField("position")) == (jobs_pb2.JOB_STATE_RUNNING, False)
    watched = client.jobs.WatchJob(jobs_pb2.WatchJobRequest(job_id=job.job_id))
    come.set()
    kinds = [event.WhichOneof("event") async for event in watched]
    assert kinds[0] == "started"
    assert kinds[-1] == "artifact"


@pytest.mark.parametrize("how", ["cancelled", "hung up"])
async def test_a_fetch_stops_at_once(adapters: Served, web: Web, how: str) -> None:
    """The connection to the picture's server closes, long before the time for fetching is over."""
    orchestrator, client = adapters
    url = web.put("/never.png", silent())
    wanted = request(pb.Edit(image=pb.ImageSource(url=url)), detach_on_disconnect=how == "cancelled")
    call: Any = client.generation.Generate(wanted)
    job_id = (await call.read()).queued.job_id
    async with asyncio.timeout(10):
        await web.asked["/never.png"].wait()
        assert orchestrator.in_flight == 1
        if how == "cancelled":
            await client.jobs.CancelJob(jobs_pb2.CancelJobRequest(job_id=job_id))
            assert await call.code() is grpc.StatusCode.CANCELLED
        else:
            call.cancel()
        await web.left["/never.png"].wait()
    seen = await client.generate(request("edit"))
    assert seen.artifact.last_chunk
    assert orchestrator.in_flight <= 1  # the job's task ends after its last event is sent


async def test_a_family_lists_and_serves_the_tasks_that_it_has_networks_for(adapters: Served) -> None:
    client = adapters[1]
    listed = await client.generation.ListFamilies(pb.ListFamiliesRequest())
    tasks = {family.name: list(family.tasks) for family in listed.families}
    assert set(tasks["small"]) == set(TASKS) | {"face_swap"}
    assert tasks["bare"] == ["text_to_image", "edit"]
    await client.generate(request("edit", family="bare"))
    error = await refusal(client, request("control", family="bare"))
    assert error.code() is grpc.StatusCode.UNIMPLEMENTED
    assert "bare" in str(error.details())
    assert "control" in str(error.details())


async def test_without_triton_a_picture_is_still_edited(tmp_path: Path, free_port: int) -> None:
    """And all that paints, or searches for an object, is refused with a time to retry."""
    config = settings(free_port, tmp_path, families=ADAPTERS_FAMILIES)
    async with serving(config) as (_, client):
        assert (await client.generate(request("edit"))).artifact.last_chunk
        for task in TASKS.keys() - {"edit"}:
            error = await refusal(client, request(task))
            assert error.code() is grpc.StatusCode.UNAVAILABLE
            assert "RetryInfo" in details(error)
        remove = request("edit", background=pb.Background(remove=pb.REMOVAL_AUTO))
        assert (await refusal(client, remove)).code() is grpc.StatusCode.UNAVAILABLE
        stub = health_pb2_grpc.HealthStub(client.channel)
        health = {
            task: (await stub.Check(health_pb2.HealthCheckRequest(service=f"{task}/small"))).status for task in TASKS
        }
        assert [task for task, status in health.items() if status == health_pb2.HealthCheckResponse.SERVING] == ["edit"]


async def test_a_picture_beyond_the_limit_is_refused_by_its_field(adapters_triton: int, tmp_path: Path) -> None:
    config = settings(adapters_triton, tmp_path, families=ADAPTERS_FAMILIES, max_input_bytes=300_000)
    async with serving(config) as (_, client):
        large = given(SCENE + bytes(300_001 - len(SCENE)))
        error = await refusal(client, request(pb.Inpaint(image=given(SCENE + bytes(200_000)), mask=large)))
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert error.details() == "inpaint.mask.data: has 300001 bytes; the limit is 300000"
        beyond = given(bytes(2_000_000))  # the whole message does not fit
        assert (await refusal(client, request(pb.Edit(image=beyond)))).code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_pictures_of_waiting_requests_are_bounded(
    adapters_triton: int, tmp_path: Path, web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One stream fetches endlessly in the only slot; two more bring pictures, the third is asked to retry later."""
    config = settings(
        adapters_triton,
        tmp_path,
        families=ADAPTERS_FAMILIES,
        fetch_private=True,
        max_in_flight=1,
        picture_memory=256 << 20,
        max_input_bytes=1 << 20,
        max_input_pixels=1 << 18,
        max_pixels=1 << 18,
    )
    monkeypatch.setattr(memory, "HELD", 2 * len(SCENE) / (256 << 20))
    async with serving(config) as (_, client):
        url = web.put("/never.png", silent())
        calls: list[Any] = []
        for source in (pb.ImageSource(url=url), given(SCENE), given(SCENE)):
            calls.append(client.generation.Generate(request(pb.Edit(image=source))))
            await calls[-1].read()  # queued
        error = await refusal(client, request("edit"))
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "inline images" in str(error.details())
        assert "RetryInfo" in details(error)
        calls[0].cancel()
        for call in calls[1:]:
            last = pb.GenerateEvent()
            while (event := await call.read()) is not grpc.aio.EOF:
                last = event
            assert last.artifact.last_chunk
        await client.generate(request("edit"))
