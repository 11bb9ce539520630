"""Protobuf to params, events to protobuf. Nothing else touches fields of messages."""

import uuid
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import TypeVar

from google.protobuf import timestamp_pb2
from google.protobuf.unknown_fields import UnknownFieldSet

from imagegen.v1 import generation_pb2 as pb
from imagegen.v1 import jobs_pb2
from orchestrator.api import status
from orchestrator.diffusion.pipeline import Stage
from orchestrator.errors import InvalidRequestError, UnsupportedTaskError, Violation
from orchestrator.jobs.events import Artifact, Event, Preview, Progress, Queued, Started
from orchestrator.jobs.job import Job, JobState
from orchestrator.jobs.results import CHUNK_BYTES
from orchestrator.models.families import Family
from orchestrator.params import (
    Delivery,
    ImageFormat,
    JobOptions,
    OutputParams,
    Priority,
    RequestParams,
    SamplerName,
    SizeParams,
    TextToImage,
)

Name = TypeVar("Name", bound=StrEnum)
Number = TypeVar("Number", bound=int)

FUTURE_TASKS = range(2, 10)
"""Field numbers that the schema reserves for tasks to come."""

SAMPLERS = {name: pb.Sampler.Value(f"SAMPLER_{name.name}") for name in SamplerName}
FORMATS = {name: pb.ImageFormat.Value(f"IMAGE_FORMAT_{name.name}") for name in ImageFormat}
DELIVERIES = {name: pb.Delivery.Value(f"DELIVERY_{name.name}") for name in Delivery}
PRIORITIES = {name: pb.Priority.Value(f"PRIORITY_{name.name}") for name in Priority}
STAGES = {name: pb.Stage.Value(f"STAGE_{name.name}") for name in Stage}
STATES = {name: jobs_pb2.JobState.Value(f"JOB_STATE_{name.name}") for name in JobState}


def to_params(request: pb.GenerateRequest, max_pixels: int) -> RequestParams:
    """The task of a request.

    Raises:
        UnsupportedTaskError: a task is set that came into the schema later.
        InvalidRequestError: no task is set, an enum has an unknown number, or a field is out of range.
    """
    unknown = UnknownFieldSet(request)
    if any(unknown[index].field_number in FUTURE_TASKS for index in range(len(unknown))):
        raise UnsupportedTaskError("the task is newer than this server, which knows text_to_image")
    if request.WhichOneof("task") is None:
        raise InvalidRequestError(Violation("task", "is not set; this server knows text_to_image"))
    return RequestParams(
        task=TextToImage(),
        prompt=request.prompt,
        max_pixels=max_pixels,
        negative_prompt=request.negative_prompt,
        family=request.family if request.HasField("family") else None,
        size=SizeParams(
            width=request.size.width if request.size.HasField("width") else None,
            height=request.size.height if request.size.HasField("height") else None,
        ),
        seed=request.seed if request.HasField("seed") else None,
        sampler=_choice(SAMPLERS, request.sampler, "sampler"),
        steps=request.steps if request.HasField("steps") else None,
        guidance_scale=request.guidance_scale if request.HasField("guidance_scale") else None,
        output=_to_output(request.output),
        preview_interval=request.preview_interval,
    )


def to_options(request: pb.GenerateRequest, drawn_id: str) -> JobOptions:
    """How a request is run; `drawn_id` names it if the client does not.

    Raises:
        InvalidRequestError: the request id has a wrong form, or the priority an unknown number.
    """
    return JobOptions(
        request_id=request.request_id if request.HasField("request_id") else drawn_id,
        priority=_choice(PRIORITIES, request.priority, "priority") or Priority.NORMAL,
        detach_on_disconnect=request.detach_on_disconnect,
    )


def new_request_id() -> str:
    """A name for a request that has none."""
    return str(uuid.uuid4())


def _to_output(output: pb.Output) -> OutputParams:
    default = OutputParams()
    return OutputParams(
        format=_choice(FORMATS, output.format, "output.format") or default.format,
        quality=output.quality if output.HasField("quality") else default.quality,
        max_file_size=output.max_file_size if output.HasField("max_file_size") else None,
        delivery=_choice(DELIVERIES, output.delivery, "output.delivery") or default.delivery,
    )


def _choice(table: Mapping[Name, Number], number: Number, field: str) -> Name | None:
    """The name of an enum's number; None for 0, which is "not chosen" in every enum of the schema."""
    if number == 0:
        return None
    for name, value in table.items():
        if value == number:
            return name
    raise InvalidRequestError(Violation(field, f"{int(number)} is not a value of this enum"))


def from_event(job: Job, sequence: int, event: Event) -> Iterator[pb.GenerateEvent]:
    """An event of a job; an artifact with its bytes as one message for each chunk."""
    if isinstance(event, Queued):
        queued = pb.Queued(job_id=job.id, position=event.position, estimated_wait_seconds=event.estimated_wait)
        yield pb.GenerateEvent(sequence=sequence, queued=queued)
    elif isinstance(event, Started):
        started = pb.Started(
            request_id=job.options.request_id,
            seed=event.seed,
            network_width=event.network_width,
            network_height=event.network_height,
            prompt_tokens_cut=event.prompt_tokens_cut,
        )
        yield pb.GenerateEvent(sequence=sequence, started=started)
    elif isinstance(event, Progress):
        progress = pb.Progress(stage=STAGES[event.stage], step=event.step, total=event.total)
        yield pb.GenerateEvent(sequence=sequence, progress=progress)
    elif isinstance(event, Preview):
        yield pb.GenerateEvent(sequence=sequence, preview=pb.Preview(jpeg=event.jpeg, step=event.step))
    else:
        yield from _from_artifact(job, sequence, event)


def _from_artifact(job: Job, sequence: int, artifact: Artifact) -> Iterator[pb.GenerateEvent]:
    message = to_artifact(job, artifact)
    if artifact.data is None:
        message.last_chunk = True
        yield pb.GenerateEvent(sequence=sequence, artifact=message)
        return
    for start in range(0, max(1, len(artifact.data)), CHUNK_BYTES):
        message.data = artifact.data[start : start + CHUNK_BYTES]
        message.last_chunk = start + CHUNK_BYTES >= len(artifact.data)
        yield pb.GenerateEvent(sequence=sequence, artifact=message)
        message = pb.Artifact()


def to_artifact(job: Job, artifact: Artifact) -> pb.Artifact:
    """An artifact without its bytes."""
    message = pb.Artifact(
        file_size=artifact.file_size,
        format=FORMATS[artifact.format],
        width=artifact.width,
        height=artifact.height,
        seed=artifact.seed,
        request_id=job.options.request_id,
        family=artifact.family,
        models=[pb.ModelDigest(model=m.model, model_sha256=m.sha256, engine=m.engine) for m in artifact.models],
        timings=[pb.StageTiming(stage=STAGES[t.stage], seconds=t.seconds, calls=t.calls) for t in artifact.timings],
        sampler=SAMPLERS[artifact.sampler],
        steps=artifact.steps,
        quality=artifact.quality,
    )
    if artifact.uri is not None:
        message.uri = artifact.uri
    return message


def to_job(job: Job) -> jobs_pb2.Job:
    """The state of a job."""
    message = jobs_pb2.Job(job_id=job.id, state=STATES[job.state])
    message.create_time.FromDatetime(job.created)
    if job.ended is not None:
        end = timestamp_pb2.Timestamp()
        end.FromDatetime(job.ended)
        message.end_time.CopyFrom(end)
    if job.state is JobState.QUEUED and job.queued is not None:
        message.position = job.queued.position
    if job.artifact is not None:
        message.artifact.CopyFrom(to_artifact(job, job.artifact))
    if job.state is JobState.FAILED and job.error is not None:
        code, reason = status.code_and_reason(job.error)
        text = status.message(job.error, job.options.request_id)
        message.error.CopyFrom(jobs_pb2.JobError(code=code, message=text, reason=reason))
    return message


def to_family(family: Family, *, ready: bool) -> pb.Family:
    """A family, for a client that chooses."""
    return pb.Family(
        name=family.name,
        ready=ready,
        license=family.license,
        tasks=family.tasks,
        network_sizes=[pb.Size(width=width, height=height) for width, height in family.networks.buckets],
        default_size=pb.Size(width=family.default_width, height=family.default_height),
        default_sampler=SAMPLERS[family.default_sampler],
        default_steps=family.default_steps,
        default_guidance_scale=family.default_guidance_scale,
    )
