"""Events, jobs and families to protobuf: every field, pictures in chunks."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from imagegen.v1 import generation_pb2 as pb
from imagegen.v1 import jobs_pb2
from orchestrator.api import converters
from orchestrator.diffusion.pipeline import Stage, StageTime
from orchestrator.errors import CancelledByClientError, EngineFaultError, QueueFullError
from orchestrator.jobs.events import Artifact, Event, Preview, Progress, Queued, Started
from orchestrator.jobs.job import Job, JobState
from orchestrator.models.contracts import ModelDigest
from orchestrator.params import ImageFormat, SamplerName
from orchestrator.results.buckets import CHUNK_BYTES
from tests.unit.orchestrator.world import build

ARTIFACT = Artifact(
    data=b"x",
    uri=None,
    file_size=1,
    format=ImageFormat.JPEG,
    quality=0,
    width=640,
    height=480,
    seed=2**63 - 1,
    family="small",
    sampler=SamplerName.LCM,
    steps=4,
    models=(ModelDigest("unet", "ab", "openvino f32"), ModelDigest("vae", "", "")),
    timings=(StageTime(Stage.ENCODE, 0.5, 1), StageTime(Stage.FINISH, 0.25, 0)),
)


def convert(job: Job, event: Event) -> list[pb.GenerateEvent]:
    return list(converters.from_event(job, 9, event))


def test_queued(job: Job) -> None:
    (message,) = convert(job, Queued(0, 0.0))
    assert message == pb.GenerateEvent(
        sequence=9, queued=pb.Queued(job_id=job.id, position=0, estimated_wait_seconds=0.0)
    )
    assert message.queued.HasField("position")


def test_started(job: Job) -> None:
    (message,) = convert(job, Started(seed=0, network_width=192, network_height=96, prompt_tokens_cut=3))
    started = pb.Started(request_id="r", seed=0, network_width=192, network_height=96, prompt_tokens_cut=3)
    assert message == pb.GenerateEvent(sequence=9, started=started)


def test_started_with_edges(job: Job) -> None:
    (message,) = convert(job, Started(0, 192, 96, 0, edges=(0.0, 120.5)))
    assert message.started.HasField("edges_low_threshold")
    assert (message.started.edges_low_threshold, message.started.edges_high_threshold) == (0.0, 120.5)


@pytest.mark.parametrize("stage", [*Stage])
def test_progress(job: Job, stage: Stage) -> None:
    (message,) = convert(job, Progress(stage, 2, 20))
    assert message == pb.GenerateEvent(
        sequence=9, progress=pb.Progress(stage=converters.STAGES[stage], step=2, total=20)
    )


def test_preview(job: Job) -> None:
    (message,) = convert(job, Preview(b"jpeg", 5))
    assert message == pb.GenerateEvent(sequence=9, preview=pb.Preview(jpeg=b"jpeg", step=5))


@pytest.mark.parametrize(
    ("size", "chunks"),
    [
        (0, [0]),  # still one message: a client waits for last_chunk
        (1, [1]),
        (CHUNK_BYTES - 1, [CHUNK_BYTES - 1]),
        (CHUNK_BYTES, [CHUNK_BYTES]),
        (CHUNK_BYTES + 1, [CHUNK_BYTES, 1]),
        (2 * CHUNK_BYTES, [CHUNK_BYTES, CHUNK_BYTES]),
        (3 * CHUNK_BYTES + 7, [CHUNK_BYTES, CHUNK_BYTES, CHUNK_BYTES, 7]),
    ],
)
def test_a_picture_comes_in_chunks(job: Job, size: int, chunks: list[int]) -> None:
    data = bytes(np.random.default_rng(0).integers(0, 256, size, np.uint8))
    messages = convert(job, replace(ARTIFACT, data=data, file_size=size))
    assert [len(m.artifact.data) for m in messages] == chunks
    assert b"".join(m.artifact.data for m in messages) == data
    assert [m.artifact.last_chunk for m in messages] == [False] * (len(chunks) - 1) + [True]
    assert {m.sequence for m in messages} == {9}
    assert messages[0].artifact.file_size == size
    for message in messages:
        assert message.artifact.WhichOneof("content") == "data"
        assert message.artifact.HasField("last_chunk")
    for message in messages[1:]:
        assert {field.name for field, _ in message.artifact.ListFields()} == {"data", "last_chunk"}


def test_all_that_is_known_of_a_picture(job: Job) -> None:
    (message,) = convert(job, ARTIFACT)
    assert message.artifact == pb.Artifact(
        data=b"x",
        last_chunk=True,
        file_size=1,
        format=pb.IMAGE_FORMAT_JPEG,
        width=640,
        height=480,
        seed=2**63 - 1,
        request_id="r",
        family="small",
        models=[
            pb.ModelDigest(model="unet", model_sha256="ab", engine="openvino f32"),
            pb.ModelDigest(model="vae", model_sha256="", engine=""),
        ],
        timings=[
            pb.StageTiming(stage=pb.STAGE_ENCODE, seconds=0.5, calls=1),
            pb.StageTiming(stage=pb.STAGE_FINISH, seconds=0.25, calls=0),
        ],
        sampler=pb.SAMPLER_LCM,
        steps=4,
        quality=0,
    )


def test_png_has_no_quality(job: Job) -> None:
    (message,) = convert(job, replace(ARTIFACT, format=ImageFormat.PNG, quality=None))
    assert not message.artifact.HasField("quality")


def test_a_picture_that_nothing_painted_has_no_sampler(job: Job) -> None:
    (message,) = convert(job, replace(ARTIFACT, sampler=None, steps=0, models=()))
    assert not message.artifact.HasField("sampler")
    assert message.artifact.HasField("steps")
    (started,) = convert(job, Started(0, 0, 0, 0))
    assert started.started.HasField("network_width")
    assert not started.started.HasField("edges_low_threshold")


def test_a_stored_picture_is_one_message_with_its_uri(job: Job) -> None:
    (message,) = convert(job, replace(ARTIFACT, data=None, uri="http://x/y.png"))
    assert message.artifact.WhichOneof("content") == "uri"
    assert message.artifact.uri == "http://x/y.png"
    assert message.artifact.last_chunk


def test_a_waiting_job(job: Job) -> None:
    job.publish(Queued(3, 1.0))
    assert converters.to_job(job) == jobs_pb2.Job(
        job_id=job.id, state=jobs_pb2.JOB_STATE_QUEUED, position=3, create_time=converters.to_job(job).create_time
    )
    now = datetime.now(UTC)
    assert abs((converters.to_job(job).create_time.ToDatetime(UTC) - now).total_seconds()) < 60


def test_a_running_job_has_no_position_and_no_end(job: Job) -> None:
    job.publish(Queued(0, 1.0))
    job.start()
    message = converters.to_job(job)
    assert message.state == jobs_pb2.JOB_STATE_RUNNING
    assert {field.name for field, _ in message.ListFields()} == {"job_id", "state", "create_time"}


def test_a_job_that_succeeded(job: Job) -> None:
    job.succeed(replace(ARTIFACT, uri="http://x/y.jpeg"))
    message = converters.to_job(job)
    assert message.state == jobs_pb2.JOB_STATE_SUCCEEDED
    assert message.artifact.uri == "http://x/y.jpeg"
    assert message.artifact.file_size == 1
    assert message.end_time.ToDatetime() >= message.create_time.ToDatetime()
    assert not message.HasField("error")


def test_a_job_that_failed_says_why_and_leaks_nothing(job: Job) -> None:
    job.fail(EngineFaultError("secret"))
    message = converters.to_job(job)
    assert message.state == jobs_pb2.JOB_STATE_FAILED
    assert message.error == jobs_pb2.JobError(code=13, message="internal error; request id r", reason="ENGINE_FAULT")
    assert message.HasField("end_time")


def test_a_client_error_is_told(job: Job) -> None:
    job.fail(QueueFullError("256 requests wait already"))
    assert converters.to_job(job).error == jobs_pb2.JobError(
        code=8, message="256 requests wait already", reason="QUEUE_FULL"
    )


@pytest.mark.parametrize("deleted", [False, True])
def test_a_job_that_was_stopped_has_no_error(job: Job, deleted: bool) -> None:
    """The schema: error is set when FAILED."""
    if deleted:
        job.forget_picture()
    job.fail(CancelledByClientError("cancelled"))
    message = converters.to_job(job)
    assert message.state == (jobs_pb2.JOB_STATE_DELETED if deleted else jobs_pb2.JOB_STATE_CANCELLED)
    assert not message.HasField("error")
    assert not message.HasField("artifact")


@pytest.mark.parametrize("state", [*JobState])
def test_every_state_is_told(job: Job, state: JobState) -> None:
    job.state = state
    assert jobs_pb2.JobState.Name(converters.to_job(job).state) == f"JOB_STATE_{state.name}"


@pytest.mark.parametrize("ready", [False, True])
def test_a_family(tmp_path: Path, ready: bool) -> None:
    assert converters.to_family(build(tmp_path).family, ready=ready) == pb.Family(
        name="small",
        ready=ready,
        license="MIT",
        tasks=["text_to_image", "edit"],
        network_sizes=[pb.Size(width=32, height=32), pb.Size(width=64, height=32)],
        default_size=pb.Size(width=64, height=96),
        default_sampler=pb.SAMPLER_DDIM,
        default_steps=4,
        default_guidance_scale=2.0,
    )
