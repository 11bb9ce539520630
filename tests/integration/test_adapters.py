"""Every task over gRPC and a real Triton: small random networks, and tools that are formulas."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2, health_pb2_grpc

from imagegen.v1 import generation_pb2 as pb
from imagegen.v1 import jobs_pb2
from orchestrator.server import Orchestrator
from tests.integration.pictures import box_mask, decode, encode, scene
from tests.integration.stack import ADAPTERS_FAMILIES, Client, details, serving, settings
from tests.integration.web import Web, held, silent

Served = tuple[Orchestrator, Client]

SCENE = encode(scene())
FACE = encode(scene(faces=1))
MASK = encode(box_mask(96, 64, 30, 20, 70, 50))
EDGES = pb.Edges(scale=1.0)


def given(data: bytes) -> pb.ImageSource:
    return pb.ImageSource(data=data)


TASKS: Mapping[str, Message] = {
    "text_to_image": pb.TextToImage(),
    "image_to_image": pb.ImageToImage(image=given(SCENE), strength=0.5, edges=EDGES),
    "inpaint": pb.Inpaint(image=given(SCENE), mask=given(MASK)),
    "generate_background": pb.GenerateBackground(image=given(SCENE)),
    "face": pb.Face(image=given(FACE), face_only=True),
    "control": pb.Control(image=given(SCENE)),
    "upscale": pb.Upscale(image=given(SCENE)),
    "outpaint": pb.Outpaint(image=given(encode(scene(60, 60)))),
    "edit": pb.Edit(image=given(SCENE)),
}
STEPS = {"image_to_image": 2, "control": 2, "upscale": 1, "edit": 0}
"""Of 4: by strength 0.5; by 1 - 0.6 * 0.5; by fidelity 5, 0.35; none. Outpainting starts from the picture's border."""


PAINTS = {"tiny_text_encoder", "tiny_vae_decoder"}
PLAIN, STEERED = {*PAINTS, "adapters_unet"}, {*PAINTS, "adapters_controlled_unet"}
ENCODED = {"adapters_vae_encoder"}
TOOK_PART = {
    "text_to_image": PLAIN,
    "image_to_image": STEERED | ENCODED,
    "inpaint": PLAIN | ENCODED,
    "generate_background": PLAIN | ENCODED | {"formula_matting"},
    "face": STEERED | {"adapters_image_encoder", "formula_face_detector", "formula_face_landmarks"},
    "control": STEERED | ENCODED,
    "upscale": PLAIN | ENCODED,
    "outpaint": PLAIN | ENCODED,
    "edit": set(),
}
"""The models of each task: 96 x 64 pixels of that size need no upscaler."""


def request(task: Message | str, **fields: Any) -> pb.GenerateRequest:
    """A request for 96 x 64 with seed 7; a task by its name is that of TASKS."""
    message = TASKS[task] if isinstance(task, str) else task
    (name,) = [field.name for field in ONEOF.fields if field.message_type is message.DESCRIPTOR]
    common = {"prompt": "a red apple", "size": pb.Size(width=96, height=64), "seed": 7}
    return pb.GenerateRequest(**{name: message, **common, **fields})


ONEOF = pb.GenerateRequest.DESCRIPTOR.oneofs_by_name["task"]


async def refusal(client: Client, wanted: pb.GenerateRequest) -> grpc.aio.AioRpcError:
    """The error that a request ends with."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await client.generate(wanted)
    return caught.value


@pytest.mark.parametrize("task", [*TASKS])
async def test_a_task(adapters: Served, task: str) -> None:
    """A picture of the asked size, and events in the schema's order."""
    seen = await adapters[1].generate(request(task, request_id="r-1"))
    assert decode(seen.data).shape[:2] == (64, 96)
    assert (seen.artifact.width, seen.artifact.height, seen.artifact.seed) == (96, 64, 7)
    assert seen.kinds()[:2] == ["queued", "started"]
    stages = [event.progress.stage for event in seen.events if event.HasField("progress")]
    picture = [] if task == "text_to_image" else [pb.STAGE_PREPARE]
    paints = task != "edit"
    steps = stages.count(pb.STAGE_DENOISE)
    assert stages == [
        *picture,
        *([pb.STAGE_ENCODE, *[pb.STAGE_DENOISE] * steps, pb.STAGE_DECODE] if paints else []),
        pb.STAGE_FINISH,
    ]
    assert steps == seen.artifact.steps
    assert steps == STEPS.get(task, steps)
    assert seen.artifact.HasField("sampler") is paints
    assert {model.model for model in seen.artifact.models} == TOOK_PART[task]
    assert [timing.stage for timing in seen.artifact.timings] == list(dict.fromkeys(stages))
    started = next(event.started for event in seen.events if event.HasField("started"))
    assert (started.seed, started.request_id) == (7, "r-1")
    assert ((started.network_width, started.network_height) == (0, 0)) is not paints
    steered = task in {"image_to_image", "control"}
    assert (started.HasField("edges_low_threshold"), started.HasField("edges_high_threshold")) == (steered, steered)


async def test_the_same_seed_gives_the_same_bytes_alone_and_among_all_other_tasks(adapters: Served) -> None:
    """Rows of different tasks share batches, and none changes another by a bit."""
    client = adapters[1]
    alone = {task: (await client.generate(request(task))).data for task in TASKS}
    together = await asyncio.gather(*(client.generate(request(task)) for task in TASKS))
    assert {task: seen.data for task, seen in zip(TASKS, together, strict=True)} == alone
    assert len(set(alone.values())) == len(alone)


@pytest.mark.parametrize("task", ["image_to_image", "inpaint", "generate_background", "control", "edit"])
async def test_a_picture_keeps_its_size_when_none_is_asked_for(adapters: Served, task: str) -> None:
    picture, mask = given(encode(scene(75, 101))), given(encode(box_mask(75, 101, 20, 20, 50, 50)))
    message = type(TASKS[task])(image=picture, **({"mask": mask} if task == "inpaint" else {}))
    wanted = request(message)
    wanted.ClearField("size")
    seen = await adapters[1].generate(wanted)
    assert decode(seen.data).shape[:2] == (101, 75)


async def test_what_is_not_masked_stays_as_it_is(adapters: Served) -> None:
    """Bit for bit outside the mask; inside it something is painted."""
    before, mask = scene(), decode(MASK)[..., 0] > 0
    after = decode((await adapters[1].generate(request("inpaint"))).data)
    assert np.array_equal(after[~mask], before[~mask])
    assert np.abs(after[mask].astype(int) - before[mask]).mean() > 10


async def test_an_object_is_kept_before_its_new_background(adapters: Served) -> None:
    """Where no size is asked for it stays in its place: the disc's inside, bit for bit; the sky far from it is new."""
    before, wanted = scene(), request("generate_background")
    wanted.ClearField("size")
    after = decode((await adapters[1].generate(wanted)).data)[..., :3]
    rows, columns = np.mgrid[:64, :96]
    distance = np.hypot(rows - 32, columns - 48)
    inside, outside = distance < 64 // 3 - 4, distance > 64 // 3 + 12
    assert np.array_equal(after[inside], before[inside])
    assert np.abs(after[outside].astype(int) - before[outside]).mean() > 5


async def test_a_picture_is_continued_beyond_its_borders(adapters: Served) -> None:
    """The old picture stands in the middle of the new one; near its border it fades."""
    before = scene(60, 60)
    wanted = request(pb.Outpaint(image=given(encode(before))))
    after = decode((await adapters[1].generate(wanted)).data)
    assert np.array_equal(after[10:54, 26:70], before[8:52, 8:52])


@pytest.mark.parametrize(
    ("task", "count", "field"),
    [("face", 0, "face"), ("generate_background", 0, "generate_background"), ("edit", 0, "background.remove")],
)
async def test_what_is_not_in_the_picture_is_missed_clearly(
    adapters: Served, task: str, count: int, field: str
) -> None:
    """No face, no object: FAILED_PRECONDITION."""
    empty = given(encode(np.full((64, 96, 3), 200, np.uint8)))
    background = pb.Background(remove=pb.REMOVAL_AUTO) if task == "edit" else pb.Background()
    error = await refusal(adapters[1], request(type(TASKS[task])(image=empty), background=background))
    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION, error.details()
    assert ("face" if task == "face" else "object") in str(error.details()), (count, field)


async def test_the_edges_are_those_that_were_asked_for(adapters: Served) -> None:
    edges = pb.Edges(scale=0.5, low_threshold=40.0, high_threshold=90.5)
    seen = await adapters[1].generate(request(pb.Control(image=given(SCENE), edges=edges)))
    started = next(event.started for event in seen.events if event.HasField("started"))
    assert (started.edges_low_threshold, started.edges_high_threshold) == (40.0, 90.5)


async def test_previews_of_a_task_from_a_picture(adapters: Served) -> None:
    seen = await adapters[1].generate(request("control", preview_interval=2))
    assert [event.preview.step for event in seen.events if event.HasField("preview")] == [2]


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
    wanted = request(pb.Edit(image=pb.ImageSource(url=url)))
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


async def test_a_family_tells_and_serves_the_tasks_that_it_has_networks_for(adapters: Served) -> None:
    client = adapters[1]
    listed = await client.generation.ListFamilies(pb.ListFamiliesRequest())
    tasks = {family.name: list(family.tasks) for family in listed.families}
    assert set(tasks["small"]) == set(TASKS)
    assert tasks["bare"] == ["text_to_image", "edit"]
    await client.generate(request("edit", family="bare"))
    error = await refusal(client, request("control", family="bare"))
    assert error.code() is grpc.StatusCode.UNIMPLEMENTED
    assert "bare" in str(error.details())
    assert "control" in str(error.details())


async def test_without_triton_a_picture_is_still_edited(tmp_path: Path, free_port: int) -> None:
    """And all that paints, or looks for an object, is told to come back."""
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


async def test_pictures_of_waiting_requests_are_bounded(adapters_triton: int, tmp_path: Path, web: Web) -> None:
    """One job fetches for ever in the only slot; two more bring pictures, the third is told to come back."""
    config = settings(
        adapters_triton,
        tmp_path,
        families=ADAPTERS_FAMILIES,
        fetch_private=True,
        max_in_flight=1,
        max_held_bytes=2 * len(SCENE),
    )
    async with serving(config) as (_, client):
        url = web.put("/never.png", silent())
        jobs = []
        for source in (pb.ImageSource(url=url), given(SCENE), given(SCENE)):
            wanted = jobs_pb2.CreateJobRequest(request=request(pb.Edit(image=source)))
            jobs.append(await client.jobs.CreateJob(wanted))
        error = await refusal(client, request("edit"))
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "pictures" in str(error.details())
        assert "RetryInfo" in details(error)
        await client.jobs.CancelJob(jobs_pb2.CancelJobRequest(job_id=jobs[0].job_id))
        for job in jobs[1:]:
            watched = client.jobs.WatchJob(jobs_pb2.WatchJobRequest(job_id=job.job_id))
            assert [event async for event in watched][-1].artifact.uri
        await client.generate(request("edit"))
