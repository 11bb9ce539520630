"""Text to picture over gRPC and a real Triton that serves the tiny random networks of tests/golden."""

import asyncio

import cv2
import grpc
import numpy as np
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from imagegen.v1 import generation_pb2 as pb
from imagegen.v1 import jobs_pb2
from orchestrator.server import Orchestrator
from tests.integration.stack import Client, details, metrics, text_to_image


def decode(data: bytes) -> np.ndarray:
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    return picture


async def test_a_prompt_becomes_a_picture(client: Client) -> None:
    """Every kind of event comes, in order, and the picture has the asked size."""
    request = text_to_image(
        seed=7, steps=6, size=pb.Size(width=200, height=100), preview_interval=3, request_id="test-1"
    )
    seen = await client.generate(request)
    kinds = seen.kinds()
    assert kinds[:2] == ["queued", "started"]
    steps = [e.progress.step for e in seen.events if e.HasField("progress") and e.progress.stage == pb.STAGE_DENOISE]
    assert steps == [1, 2, 3, 4, 5, 6]
    assert kinds.count("preview") == 2
    assert kinds[-1] == "artifact"
    assert seen.events[-1].artifact.last_chunk
    assert decode(seen.data).shape == (100, 200, 3)
    artifact = seen.artifact
    assert (artifact.seed, artifact.steps, artifact.request_id) == (7, 6, "test-1")
    assert artifact.file_size == len(seen.data)
    assert [m.model for m in artifact.models] == ["tiny_text_encoder", "tiny_unet", "tiny_vae_decoder"]
    assert all(len(m.model_sha256) == 64 for m in artifact.models)
    timed = {t.stage: t for t in artifact.timings}
    assert timed[pb.STAGE_DENOISE].calls == 6
    assert all(t.seconds > 0 for t in timed.values())
    preview = next(e.preview for e in seen.events if e.HasField("preview"))
    assert max(decode(preview.jpeg).shape) == 256


@pytest.mark.parametrize(
    ("image_format", "magic"),
    [
        (pb.IMAGE_FORMAT_PNG, b"\x89PNG"),
        (pb.IMAGE_FORMAT_JPEG, b"\xff\xd8\xff"),
        (pb.IMAGE_FORMAT_WEBP, b"RIFF"),
        (pb.IMAGE_FORMAT_UNSPECIFIED, b"\x89PNG"),
    ],
)
async def test_formats(client: Client, image_format: pb.ImageFormat.ValueType, magic: bytes) -> None:
    """The file is what was asked for; PNG if nothing was."""
    seen = await client.generate(text_to_image(steps=1, output=pb.Output(format=image_format)))
    assert seen.data.startswith(magic)


async def test_max_file_size(client: Client) -> None:
    """The file fits, and says with which quality."""
    output = pb.Output(format=pb.IMAGE_FORMAT_JPEG, quality=95, max_file_size=20_000)
    seen = await client.generate(text_to_image(steps=1, output=output))
    assert len(seen.data) <= 20_000
    assert seen.artifact.quality < 95


async def test_same_seed_same_bytes_alone_or_in_company(client: Client, orchestrator: Orchestrator) -> None:
    """Eight requests of other seeds and step counts share batches; none changes another by a bit."""
    requests = [text_to_image(f"picture {i}", seed=i, steps=4 + i, size=pb.Size(width=256)) for i in range(8)]
    alone = [(await client.generate(request)).data for request in requests]
    together = await asyncio.gather(*(client.generate(request) for request in requests))
    assert [seen.data for seen in together] == alone
    assert len(set(alone)) == len(alone)
    assert 'imagegen_requests_total{family="tiny"' in await metrics(orchestrator)


async def test_metrics(client: Client, orchestrator: Orchestrator) -> None:
    """What an operator watches: outcomes, stages, steps, batches as Triton ran them, the queue, what runs."""
    await client.generate(text_to_image(steps=3))
    async with asyncio.timeout(10):
        while 'imagegen_triton_batch_executions{model="tiny_unet"' not in (text := await metrics(orchestrator)):
            pass  # the next check of Triton brings it
    for line in (
        'imagegen_requests_total{family="tiny",outcome="succeeded",task="text_to_image"}',
        'imagegen_stage_seconds_count{family="tiny",stage="denoise"}',
        'imagegen_denoising_step_seconds_count{family="tiny"}',
        'imagegen_denoising_steps_total{family="tiny",sampler="ddim"}',
        'imagegen_queue_depth{priority="normal"} 0.0',
        "imagegen_in_flight 0.0",
        'imagegen_family_ready{family="tiny"} 1.0',
        'imagegen_rpc_seconds_count{code="OK",method="/imagegen.v1.GenerationService/Generate"}',
    ):
        assert line in text


async def test_a_seed_is_drawn_and_returned(client: Client) -> None:
    """Two requests without a seed differ; the returned seed gives the picture again."""
    first, second = [await client.generate(text_to_image(steps=2)) for _ in range(2)]
    assert first.data != second.data
    again = await client.generate(text_to_image(steps=2, seed=first.artifact.seed))
    assert again.data == first.data


async def test_guidance_of_one_sends_one_row(client: Client) -> None:
    """Without guidance the negative prompt has no say."""
    with_text, without = [
        await client.generate(text_to_image(steps=2, seed=1, guidance_scale=1.0, negative_prompt=text))
        for text in ("ugly", "")
    ]
    assert with_text.data == without.data


async def test_a_long_prompt_is_cut_not_refused(client: Client) -> None:
    """10,000 characters work, and the client learns how many tokens were lost."""
    seen = await client.generate(text_to_image("apple " * 1667, steps=1))
    started = next(e.started for e in seen.events if e.HasField("started"))
    assert started.prompt_tokens_cut > 1000


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (pb.GenerateRequest(prompt="x"), "task"),
        (text_to_image(""), "prompt"),
        (text_to_image(" \n"), "prompt"),
        (text_to_image("x" * 100_001), "prompt"),
        (text_to_image(steps=0), "steps"),
        (text_to_image(steps=10_000), "steps"),
        (text_to_image(guidance_scale=float("nan")), "guidance_scale"),
        (text_to_image(guidance_scale=float("inf")), "guidance_scale"),
        (text_to_image(guidance_scale=-1.0), "guidance_scale"),
        (text_to_image(size=pb.Size(width=0)), "size.width"),
        (text_to_image(size=pb.Size(width=63)), "size.width"),
        (text_to_image(size=pb.Size(height=10**9)), "size.height"),
        (text_to_image(family="nope"), "family"),
        (text_to_image(family=""), "family"),
        (text_to_image(sampler=99), "sampler"),
        (text_to_image(sampler=pb.SAMPLER_LCM, steps=51), "steps"),
        (text_to_image(output=pb.Output(format=99)), "output.format"),  # type: ignore[arg-type]
        (text_to_image(output=pb.Output(quality=101)), "output.quality"),
        (text_to_image(output=pb.Output(max_file_size=2000)), "output.max_file_size"),
        (text_to_image(seed=2**63), "seed"),
        (text_to_image(priority=9), "priority"),
        (text_to_image(request_id="a b"), "request_id"),
        (text_to_image(preview_interval=151), "preview_interval"),
        (text_to_image(deadline_seconds=0.05), "deadline_seconds"),
    ],
)
async def test_bad_input_names_the_field(client: Client, request_: pb.GenerateRequest, field: str) -> None:
    """INVALID_ARGUMENT, BadRequest with the path, and a message that a person can read."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await client.generate(request_)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    found = details(caught.value)
    bad, info = found["BadRequest"], found["ErrorInfo"]
    assert isinstance(bad, error_details_pb2.BadRequest)
    assert isinstance(info, error_details_pb2.ErrorInfo)
    assert [v.field for v in bad.field_violations] == [field]
    assert (info.domain, info.reason) == ("imagegen", "INVALID_REQUEST")
    assert field in (caught.value.details() or "")


async def test_a_deadline_that_cannot_be_met_is_refused_at_once(client: Client) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await client.generate(text_to_image(steps=150, deadline_seconds=0.1))
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    found = details(caught.value)
    info, retry = found["ErrorInfo"], found["RetryInfo"]
    assert isinstance(info, error_details_pb2.ErrorInfo)
    assert info.reason == "DEADLINE_UNREACHABLE"
    assert isinstance(retry, error_details_pb2.RetryInfo)
    assert retry.retry_delay.ToTimedelta().total_seconds() >= 1
    await client.generate(text_to_image(steps=2, deadline_seconds=86_400))


async def test_a_message_beyond_the_limit_is_refused(client: Client) -> None:
    """80 MB do not reach the parser: two pictures of the largest size are 67."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await client.generate(text_to_image("x" * 80_000_000))
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_families_are_listed(client: Client) -> None:
    """What families.toml says, and that they are ready."""
    answer = await client.generation.ListFamilies(pb.ListFamiliesRequest())
    family = answer.families[0]
    assert family.name == "tiny"
    assert family.ready
    assert list(family.tasks) == ["text_to_image", "edit"]
    assert [model.model for model in family.models] == ["tiny_text_encoder", "tiny_unet", "tiny_vae_decoder"]
    assert all(len(model.model_sha256) == 64 for model in family.models)
    assert family.native_size == family.network_sizes[0]
    assert family.default_steps >= 1


async def test_health_of_every_feature(client: Client) -> None:
    """The whole, each service, and each task of each family."""
    stub = health_pb2_grpc.HealthStub(client.channel)
    for name in ("", "imagegen.v1.GenerationService", "imagegen.v1.JobService", "text_to_image/tiny"):
        answer = await stub.Check(health_pb2.HealthCheckRequest(service=name))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING, name


async def test_reflection(client: Client) -> None:
    """A client without the schema finds the services."""
    stub = reflection_pb2_grpc.ServerReflectionStub(client.channel)
    requests = [reflection_pb2.ServerReflectionRequest(list_services="")]
    names = set()
    async for answer in stub.ServerReflectionInfo(requests):
        names |= {service.name for service in answer.list_services_response.service}
    assert {"imagegen.v1.GenerationService", "imagegen.v1.JobService", "grpc.health.v1.Health"} <= names


async def test_a_job_is_created_watched_fetched_and_deleted(client: Client) -> None:
    """CreateJob, WatchJob, GetJob, ReadResult, DeleteJob."""
    request = text_to_image(steps=2, output=pb.Output(format=pb.IMAGE_FORMAT_WEBP))
    job = await client.jobs.CreateJob(jobs_pb2.CreateJobRequest(request=request))
    events = [e async for e in client.jobs.WatchJob(jobs_pb2.WatchJobRequest(job_id=job.job_id))]
    assert events[-1].artifact.uri
    job = await client.jobs.GetJob(jobs_pb2.GetJobRequest(job_id=job.job_id))
    assert job.state == jobs_pb2.JOB_STATE_SUCCEEDED
    name = job.artifact.uri.rsplit("/", 1)[1]
    parts = [p async for p in client.jobs.ReadResult(jobs_pb2.ReadResultRequest(name=name))]
    data = b"".join(p.data for p in parts)
    assert (parts[0].content_type, parts[0].file_size) == ("image/webp", len(data))
    assert decode(data).shape[2] == 3
    job = await client.jobs.DeleteJob(jobs_pb2.DeleteJobRequest(job_id=job.job_id))
    assert job.state == jobs_pb2.JOB_STATE_DELETED
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        _ = [p async for p in client.jobs.ReadResult(jobs_pb2.ReadResultRequest(name=name))]
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND


async def test_a_thumbnail_of_a_job(client: Client) -> None:
    """Small, with the picture's shape and colours; gone with the picture, and nobody else's."""
    request = text_to_image(steps=2, size=pb.Size(width=512, height=256))
    job = await client.jobs.CreateJob(jobs_pb2.CreateJobRequest(request=request))
    asked = jobs_pb2.ReadThumbnailRequest(job_id=job.job_id)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await client.jobs.ReadThumbnail(asked)
    assert caught.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    _ = [e async for e in client.jobs.WatchJob(jobs_pb2.WatchJobRequest(job_id=job.job_id))]
    job = await client.jobs.GetJob(jobs_pb2.GetJobRequest(job_id=job.job_id))
    name = jobs_pb2.ReadResultRequest(name=job.artifact.uri.rsplit("/", 1)[1])
    picture = decode(b"".join([p.data async for p in client.jobs.ReadResult(name)]))
    small = await client.jobs.ReadThumbnail(asked)
    assert (small.content_type, small.data[:4]) == ("image/webp", b"RIFF")
    found = decode(small.data)
    assert found.shape == (128, 256, 3)
    expected = cv2.resize(picture, (256, 128), interpolation=cv2.INTER_AREA)
    assert np.abs(found.astype(int) - expected).mean() < 12
    assert (await client.jobs.ReadThumbnail(asked)).data == small.data
    await client.jobs.DeleteJob(jobs_pb2.DeleteJobRequest(job_id=job.job_id))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await client.jobs.ReadThumbnail(asked)
    assert caught.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await client.jobs.ReadThumbnail(jobs_pb2.ReadThumbnailRequest(job_id="K" * 22))
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize("name", ["", "../families.toml", "..%2f..", "a" * 22 + ".png", "x" * 4000])
async def test_results_that_are_not_there(client: Client, name: str) -> None:
    """Nothing but result names is looked up."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        _ = [p async for p in client.jobs.ReadResult(jobs_pb2.ReadResultRequest(name=name))]
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND
