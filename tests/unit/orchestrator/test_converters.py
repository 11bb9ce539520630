"""Protobuf to params and events to protobuf: presence, enums, chunks."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from imagegen.v1 import generation_pb2 as pb
from imagegen.v1 import jobs_pb2
from orchestrator.api import converters
from orchestrator.diffusion.pipeline import Stage, StageTime
from orchestrator.errors import CancelledByClientError, EngineFaultError, InvalidRequestError, QueueFullError
from orchestrator.jobs.events import Artifact, Event, Preview, Progress, Queued, Started
from orchestrator.jobs.job import Job, JobState
from orchestrator.jobs.results import CHUNK_BYTES
from orchestrator.models.contracts import ModelDigest
from orchestrator.models.families import Families
from orchestrator.params import Delivery, ImageFormat, JobOptions, OutputParams, Priority, SamplerName
from tests.unit.orchestrator.world import build

PIXELS = 4096 * 4096
Change = Callable[[pb.GenerateRequest], object]


def request(**fields: Any) -> pb.GenerateRequest:
    return pb.GenerateRequest(text_to_image=pb.TextToImage(), **{"prompt": "a red house", **fields})


def refused(message: pb.GenerateRequest) -> list[str]:
    """Paths of the fields for which a request is refused."""
    try:
        converters.to_params(message, PIXELS)
        converters.to_options(message, "drawn")
    except InvalidRequestError as error:
        return [violation.field for violation in error.violations]
    return []


# ---------------------------------------------------------------- requests


def test_what_is_not_set_takes_the_default() -> None:
    params = converters.to_params(request(), PIXELS)
    assert (params.prompt, params.negative_prompt, params.max_pixels) == ("a red house", "", PIXELS)
    open_fields = (params.family, params.width, params.height, params.seed)
    assert open_fields == (None, None, None, None)
    assert (params.sampler, params.steps, params.guidance_scale) == (None, None, None)
    assert params.output == OutputParams()
    assert params.preview_interval == 0
    assert converters.to_options(request(), "drawn") == JobOptions(request_id="drawn")


def test_what_is_set_is_used_as_it_is() -> None:
    message = request(
        negative_prompt="blur",
        family="fantasy",
        size=pb.Size(width=640, height=480),
        seed=2**63 - 1,
        sampler=pb.SAMPLER_DPMPP_2M_KARRAS,
        steps=150,
        guidance_scale=0.0,
        output=pb.Output(format=pb.IMAGE_FORMAT_WEBP, quality=0, max_file_size=50_000, delivery=pb.DELIVERY_URI),
        priority=pb.PRIORITY_LOW,
        request_id="mine",
        preview_interval=5,
        detach_on_disconnect=True,
    )
    params = converters.to_params(message, PIXELS)
    assert (params.negative_prompt, params.family) == ("blur", "fantasy")
    assert (params.width, params.height, params.seed) == (640, 480, 2**63 - 1)
    assert (params.sampler, params.steps, params.guidance_scale) == (SamplerName.DPMPP_2M_KARRAS, 150, 0.0)
    assert params.output == OutputParams(
        format=ImageFormat.WEBP, quality=0, max_file_size=50_000, delivery=Delivery.URI
    )
    assert params.preview_interval == 5
    assert converters.to_options(message, "drawn") == JobOptions(
        request_id="mine", priority=Priority.LOW, detach_on_disconnect=True
    )


@pytest.mark.parametrize(
    ("message", "path"),
    [
        (request(prompt=""), "prompt"),
        (pb.GenerateRequest(text_to_image=pb.TextToImage()), "prompt"),
        (request(size=pb.Size(width=0)), "size.width"),
        (request(size=pb.Size(height=63)), "size.height"),
        (request(size=pb.Size(width=10**9, height=64)), "size.width"),
        (request(seed=2**63), "seed"),
        (request(steps=0), "steps"),
        (request(steps=10_000), "steps"),
        (request(guidance_scale=float("nan")), "guidance_scale"),
        (request(output=pb.Output(quality=101)), "output.quality"),
        (request(output=pb.Output(format=pb.IMAGE_FORMAT_JPEG, max_file_size=0)), "output.max_file_size"),
        (request(preview_interval=151), "preview_interval"),
        (request(request_id=""), "request_id"),
    ],
)
def test_what_is_set_and_out_of_range_is_refused_by_its_path(message: pb.GenerateRequest, path: str) -> None:
    """Also zero and empty: they are set, and not taken for a default."""
    assert refused(message) == [path]


def test_an_empty_family_is_a_name_and_not_the_default(tmp_path: Path) -> None:
    params = converters.to_params(request(family=""), PIXELS)
    assert params.family == ""
    with pytest.raises(InvalidRequestError):
        Families.load(build(tmp_path).folder.parent / "families.toml").get(params.family)


def test_a_request_without_a_task_is_refused() -> None:
    assert refused(pb.GenerateRequest(prompt="x")) == ["task"]


def test_paths_in_errors_are_paths_of_the_schema() -> None:
    """Every field that params.py can refuse, walked down the descriptors."""
    message = request(
        prompt=" ",
        negative_prompt="x" * 100_001,
        size=pb.Size(width=1, height=1),
        seed=2**64 - 1,
        steps=0,
        guidance_scale=-1,
        preview_interval=999,
        output=pb.Output(quality=999, max_file_size=1),
    )
    paths = refused(message)
    assert len(set(paths)) == 10
    for path in paths:
        descriptor: Descriptor | None = pb.GenerateRequest.DESCRIPTOR
        for part in path.split("."):
            assert descriptor is not None
            descriptor = descriptor.fields_by_name[part].message_type


def test_every_field_of_the_schema_has_presence() -> None:
    fields = [*all_fields(pb.DESCRIPTOR), *all_fields(jobs_pb2.DESCRIPTOR)]
    assert len(fields) > 70
    assert [f.full_name for f in fields if not f.is_repeated and not f.has_presence] == []


def all_fields(file: Any) -> Iterator[FieldDescriptor]:
    for message in file.message_types_by_name.values():
        yield from message.fields


TABLES: list[tuple[Any, dict[Any, Any]]] = [
    (pb.Sampler, converters.SAMPLERS),
    (pb.ImageFormat, converters.FORMATS),
    (pb.Delivery, converters.DELIVERIES),
    (pb.Priority, converters.PRIORITIES),
    (pb.Stage, converters.STAGES),
    (jobs_pb2.JobState, converters.STATES),
]


@pytest.mark.parametrize(("enum", "table"), TABLES, ids=lambda value: getattr(value, "DESCRIPTOR", value))
def test_every_number_of_an_enum_has_its_name_and_back(enum: Any, table: dict[StrEnum, int]) -> None:
    descriptor: EnumDescriptor = enum.DESCRIPTOR
    assert sorted(table.values()) == sorted(number for number in enum.values() if number)
    prefix = "".join(f"_{c}" if c.isupper() else c.upper() for c in descriptor.name).lstrip("_")
    for name, number in table.items():
        assert enum.Name(number) == f"{prefix}_{name.name}"


CHOICES: list[
    tuple[str, dict[Any, Any], Callable[[pb.GenerateRequest, int], None], Callable[[pb.GenerateRequest], Any]]
]
CHOICES = [
    (
        "sampler",
        converters.SAMPLERS,
        lambda message, number: setattr(message, "sampler", number),
        lambda message: converters.to_params(message, PIXELS).sampler,
    ),
    (
        "output.format",
        converters.FORMATS,
        lambda message, number: setattr(message.output, "format", number),
        lambda message: converters.to_params(message, PIXELS).output.format,
    ),
    (
        "output.delivery",
        converters.DELIVERIES,
        lambda message, number: setattr(message.output, "delivery", number),
        lambda message: converters.to_params(message, PIXELS).output.delivery,
    ),
    (
        "priority",
        converters.PRIORITIES,
        lambda message, number: setattr(message, "priority", number),
        lambda message: converters.to_options(message, "drawn").priority,
    ),
]


@pytest.mark.parametrize(("path", "table", "put", "get"), CHOICES, ids=[path for path, *_ in CHOICES])
def test_choices(
    path: str,
    table: dict[Any, Any],
    put: Callable[[pb.GenerateRequest, int], None],
    get: Callable[[pb.GenerateRequest], Any],
) -> None:
    """Each number gives its name; 0 is "not chosen"; a number that the schema lacks is refused by its path."""
    for name, number in table.items():
        message = request()
        put(message, number)
        assert get(message) is name
    unset, zero = request(), request()
    put(zero, 0)
    assert get(zero) == get(unset)
    for number in (max(table.values()) + 1, -1, 2**31 - 1):
        message = request()
        put(message, number)
        assert refused(message) == [path]


def test_drawn_request_ids_have_the_form_of_one() -> None:
    drawn = {converters.new_request_id() for _ in range(100)}
    assert len(drawn) == 100
    for request_id in drawn:
        assert JobOptions(request_id=request_id).request_id == request_id


# ---------------------------------------------------------------- answers


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


def test_a_stored_picture_is_one_message_with_its_uri(job: Job) -> None:
    (message,) = convert(job, replace(ARTIFACT, data=None, uri="http://x/y.png"))
    assert message.artifact.WhichOneof("content") == "uri"
    assert message.artifact.uri == "http://x/y.png"
    assert message.artifact.last_chunk


# ---------------------------------------------------------------- jobs and families


def test_a_waiting_job(job: Job) -> None:
    job.publish(Queued(3, 1.0))
    assert converters.to_job(job) == jobs_pb2.Job(
        job_id=job.id, state=jobs_pb2.JOB_STATE_QUEUED, position=3, create_time=converters.to_job(job).create_time
    )
    now = datetime.now(UTC)
    assert abs((converters.to_job(job).create_time.ToDatetime(UTC) - now).total_seconds()) < 60


def test_a_running_job_has_no_position_and_no_end(job: Job) -> None:
    job.publish(Queued(0, 1.0))
    job.publish(Started(1, 32, 32, 0))
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
        tasks=["text_to_image"],
        network_sizes=[pb.Size(width=32, height=32), pb.Size(width=64, height=32)],
        default_size=pb.Size(width=64, height=96),
        default_sampler=pb.SAMPLER_DDIM,
        default_steps=4,
        default_guidance_scale=2.0,
    )
