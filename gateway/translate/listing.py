"""Jobs of an account, as /v1 shows them: all that gRPC reports, in JSON."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Literal, cast

from google.protobuf.timestamp_pb2 import Timestamp
from pydantic import BaseModel

from gateway.translate import inverse, jobs
from gateway.translate.names import Names
from imagegen.v1 import generation_pb2 as pb
from imagegen.v1 import jobs_pb2

State = Literal["queued", "running", "succeeded", "failed", "cancelled", "deleted"]


class JobErrorView(BaseModel):
    """Why a job failed.

    Attributes:
        message: for a reader.
        reason: for a program, in UPPER_SNAKE_CASE.
    """

    message: str
    reason: str


class DeliveryView(BaseModel):
    """What became of a job's webhook.

    Attributes:
        state: pending, delivered or failed.
        attempts: so far.
        last_status: HTTP status of the last answer.
        last_error: why the last attempt failed.
    """

    state: str
    attempts: int
    last_status: int | None = None
    last_error: str | None = None


class JobView(BaseModel):
    """A job.

    Attributes:
        job: its id.
        state: queued, running, succeeded, failed, cancelled or deleted.
        task: by its name in the gRPC schema.
        model_type: its family.
        priority: high, normal or low.
        created: when.
        started: when its work began last.
        ended: when.
        expires: when its picture will be removed.
        queue: jobs that start before it, while it waits.
        attempts: how often its work was started.
        seed: of its picture.
        width: of its picture, pixels.
        height: of its picture, pixels.
        output_format: of its picture.
        file_size: of its picture, bytes.
        result_url: where its picture is.
        sha256: of its picture's file, hex: what a request has in place of a picture that was sent with it.
        error: why it failed.
        webhook: of the job, if it has one.
        request_id: in the logs.
        request: the documented JSON that asks for the same picture, its seed in it; a picture that came in the request
            is "sha256:<hex>". Null where it is longer than 16 KiB.
        warnings: known fields of its request that its task does not use; null without one.
    """

    job: str
    state: State
    task: str
    model_type: str
    priority: str
    created: datetime | None = None
    started: datetime | None = None
    ended: datetime | None = None
    expires: datetime | None = None
    queue: int | None = None
    attempts: int
    seed: int | None = None
    width: int | None = None
    height: int | None = None
    output_format: str | None = None
    file_size: int | None = None
    result_url: str | None = None
    sha256: str | None = None
    error: JobErrorView | None = None
    webhook: DeliveryView | None = None
    request_id: str
    request: dict[str, Any] | None = None
    warnings: list[str] | None = None


class ModelView(BaseModel):
    """A network that took part.

    Attributes:
        model: its name.
        sha256: of its graph; empty where it is not stated.
        engine: that ran it.
    """

    model: str
    sha256: str
    engine: str


class ManifestView(BaseModel):
    """All that a job's picture came from.

    Attributes:
        job: its id.
        request: the documented JSON that asks for the same picture, as of a job; null where it is longer than 16 KiB.
        model_type: the family that generated it.
        seed: of the picture.
        sampler: that ran; null where nothing was painted.
        steps: denoising steps that ran.
        width: of the picture, pixels.
        height: of the picture, pixels.
        output_format: of the picture.
        sha256: of its file; null where it was not noted.
        software: name and version of what generated it; null where it was not noted.
        models: networks that took part.
    """

    job: str
    request: dict[str, Any] | None
    model_type: str
    seed: int
    sampler: str | None
    steps: int
    width: int
    height: int
    output_format: str
    sha256: str | None
    software: str | None
    models: list[ModelView]


class JobsView(BaseModel):
    """A page of jobs.

    Attributes:
        jobs: newest first.
        next_page_token: asks for what follows; null on the last page.
    """

    jobs: list[JobView]
    next_page_token: str | None


class EstimateAnswer(BaseModel):
    """What a request would cost, and how long it would take, as far as the server can estimate it.

    Attributes:
        credits: that all its pictures cost the account; 0 where its credits are not counted.
        wait_seconds: until the work on a job that comes now begins.
        run_seconds: that the work on one picture takes.
        pictures: that it would generate.
        task: by its name in the gRPC schema.
        model_type: its family.
        warnings: known fields of the request that its task does not use.
        grpc: the request in the gRPC schema, as JSON (GenerateRequest); files that came in the request are empty.
    """

    credits: float
    wait_seconds: float
    run_seconds: float
    pictures: int
    task: str
    model_type: str
    warnings: list[str]
    grpc: dict[str, Any]


def estimate(
    found: jobs_pb2.JobEstimate, asked: jobs_pb2.EstimateJobRequest, warnings: Sequence[str]
) -> EstimateAnswer:
    """Turn an estimate of what was asked for into JSON."""
    return EstimateAnswer(
        credits=found.credits,
        wait_seconds=round(found.wait_seconds, 3),
        run_seconds=round(found.run_seconds, 3),
        pictures=asked.n or 1,
        task=found.task,
        model_type=found.family,
        warnings=list(warnings),
        grpc=inverse.to_grpc_json(asked.request),
    )


def view(job: jobs_pb2.Job) -> JobView:
    """Turn a job into JSON."""
    artifact = job.artifact if job.HasField("artifact") else None
    return JobView(
        job=job.job_id,
        state=cast("State", jobs.state_name(job.state)),
        task=job.task,
        model_type=job.family,
        priority=jobs.word(pb.Priority.Name, job.priority, "PRIORITY_"),
        created=_time(job, "create_time"),
        started=_time(job, "start_time"),
        ended=_time(job, "end_time"),
        expires=_time(job, "expire_time"),
        queue=job.position if job.HasField("position") else None,
        attempts=job.attempts,
        seed=artifact.seed if artifact else None,
        width=artifact.width if artifact else None,
        height=artifact.height if artifact else None,
        output_format=jobs.word(pb.ImageFormat.Name, artifact.format, "IMAGE_FORMAT_") if artifact else None,
        file_size=artifact.file_size if artifact else None,
        result_url=artifact.uri if artifact else None,
        sha256=(artifact.sha256.hex() or None) if artifact else None,
        error=_error(job) if job.HasField("error") else None,
        webhook=_delivery(job.webhook) if job.HasField("webhook") else None,
        request_id=job.request_id,
        request=inverse.from_proto(job.request) if job.HasField("request") else None,
        warnings=list(job.notes.warnings) or None,
    )


def manifest(job: jobs_pb2.Job) -> ManifestView:
    """Turn a job that has a picture into its manifest."""
    made = job.artifact
    request = inverse.from_proto(job.request) if job.HasField("request") else None
    return ManifestView(
        job=job.job_id,
        request=request,
        model_type=made.family,
        seed=made.seed,
        sampler=jobs.word(pb.Sampler.Name, made.sampler, "SAMPLER_") if made.HasField("sampler") else None,
        steps=made.steps,
        width=made.width,
        height=made.height,
        output_format=jobs.word(pb.ImageFormat.Name, made.format, "IMAGE_FORMAT_"),
        sha256=made.sha256.hex() or None,
        software=made.software or None,
        models=[ModelView(model=m.model, sha256=m.model_sha256, engine=m.engine) for m in made.models],
    )


def page(found: jobs_pb2.ListJobsResponse) -> JobsView:
    """Turn a page of jobs into JSON."""
    return JobsView(jobs=[view(job) for job in found.jobs], next_page_token=found.next_page_token or None)


def request(page_size: int, page_token: str | None, state: State | None) -> jobs_pb2.ListJobsRequest:
    """Ask for a page."""
    wanted = None if state is None else jobs_pb2.JobState.Value(f"JOB_STATE_{state.upper()}")
    return jobs_pb2.ListJobsRequest(page_size=page_size, page_token=page_token or None, state=wanted)


def _error(job: jobs_pb2.Job) -> JobErrorView:
    said = Names.of_job(job).sentence(job.error.violations) if job.error.violations else job.error.message
    return JobErrorView(message=said, reason=job.error.reason)


def _delivery(delivery: jobs_pb2.WebhookDelivery) -> DeliveryView:
    return DeliveryView(
        state=jobs.word(jobs_pb2.DeliveryState.Name, delivery.state, "DELIVERY_STATE_"),
        attempts=delivery.attempts,
        last_status=delivery.last_status if delivery.HasField("last_status") else None,
        last_error=delivery.last_error if delivery.HasField("last_error") else None,
    )


def _time(job: jobs_pb2.Job, field: str) -> datetime | None:
    stamp: Timestamp = getattr(job, field)
    return stamp.ToDatetime(UTC) if job.HasField(field) else None  # type: ignore[arg-type]  # one of its own fields
