"""Jobs of the orchestrator as the documented answers. Pure functions."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeVar

from google.rpc import code_pb2

from gateway import errors, sentences
from gateway.contract.answers import JobAnswer, Status
from gateway.translate.names import Names
from imagegen.v1 import generation_pb2 as pb
from imagegen.v1 import jobs_pb2

Value = TypeVar("Value", bound=int)

RETRY_AFTER_SECONDS = 2  # where the orchestrator names no time of its own

_PENDING: Mapping[jobs_pb2.JobState.ValueType, Status] = MappingProxyType(
    {jobs_pb2.JOB_STATE_QUEUED: "not_started", jobs_pb2.JOB_STATE_RUNNING: "in_progress"}
)


# Errors that are the request's own fault. Most show only once its pictures have been decoded.
_BAD_REQUEST = frozenset({code_pb2.INVALID_ARGUMENT, code_pb2.FAILED_PRECONDITION, code_pb2.UNIMPLEMENTED})
_OWN_FAULT = frozenset({code_pb2.INTERNAL, code_pb2.ABORTED})


def answer(job: jobs_pb2.Job, *, just_created: bool = False) -> JobAnswer:
    """Turn a job into the documented answer.

    Args:
        job: as the orchestrator reports it.
        just_created: it was created by this very request: one that waits is then "received", not "not_started".

    Raises:
        ApiError: it failed, was cancelled or deleted, for which the contract has errors.
    """
    if job.state in _PENDING:
        status = "received" if just_created and job.state == jobs_pb2.JOB_STATE_QUEUED else _PENDING[job.state]
        position = job.position if job.HasField("position") else None
        return JobAnswer(status=status, job=job.job_id, queue=position, warnings=_warnings(job))
    if job.state == jobs_pb2.JOB_STATE_SUCCEEDED:
        return _complete(job)
    if job.state == jobs_pb2.JOB_STATE_DELETED:
        raise errors.ApiError(404, sentences.DELETED, status="complete")
    if job.state == jobs_pb2.JOB_STATE_CANCELLED:
        raise errors.job_failed(job.job_id, "The job was cancelled")
    raise errors.job_failed(job.job_id, _why(job, Names.of_job(job)))


def blocking_answer(job: jobs_pb2.Job, names: Names) -> JobAnswer:
    """The answer of process_result, which created the job and has waited for it.

    It differs from `answer` in three rows. What is still pending is always "in_progress": common callers poll only
    while they see that word. A job that failed because of the request is HTTP 400, as if it had been seen before the
    job was created: a picture that cannot be read, a face that is not there. And a job that failed because the
    inference server was unreachable is HTTP 503 with Retry-After: whoever sent the request can retry, where somebody
    who only reads the failed job later cannot.

    Args:
        job: as it is when the waiting ends.
        names: of the request's fields.

    Raises:
        ApiError: as `answer`.
    """
    if job.state == jobs_pb2.JOB_STATE_FAILED and job.error.code == code_pb2.UNAVAILABLE:
        raise errors.unavailable(job.error.message, RETRY_AFTER_SECONDS, status="failed", job=job.job_id)
    if job.state == jobs_pb2.JOB_STATE_FAILED and job.error.code in _BAD_REQUEST:
        raise errors.job_refused(job.job_id, _why(job, names))
    found = answer(job)
    return found if found.status == "complete" else found.model_copy(update={"status": "in_progress"})


def _why(job: jobs_pb2.Job, names: Names) -> str:
    """Why a job failed, in the client's words; what is not the request's fault begins with the documented sentence."""
    if job.error.violations:
        return names.sentence(job.error.violations)
    if job.error.code in _OWN_FAULT:
        return f"{sentences.FAILED} ({job.error.message})"
    return job.error.message


def state_name(state: jobs_pb2.JobState.ValueType) -> str:
    """A state's name: queued, running, succeeded, failed, cancelled, deleted."""
    return word(jobs_pb2.JobState.Name, state, "JOB_STATE_")


def delivery_word(state: jobs_pb2.DeliveryState.ValueType) -> str:
    """The name of a delivery's state: pending, delivered, failed."""
    return word(jobs_pb2.DeliveryState.Name, state, "DELIVERY_STATE_")


def stage_word(stage: pb.Stage.ValueType) -> str:
    """A stage's name: prepare, encode, denoise, decode, finish."""
    return word(pb.Stage.Name, stage, "STAGE_")


def _complete(job: jobs_pb2.Job) -> JobAnswer:
    """Turn a finished job's artifact into JSON. Names of enums lose their prefixes: STAGE_ENCODE is "encode"."""
    made = job.artifact
    return JobAnswer(
        status="complete",
        job=job.job_id,
        result_url=made.uri,
        seed=made.seed,
        steps=made.steps,
        width=made.width,
        height=made.height,
        model_type=made.family,
        sampler=word(pb.Sampler.Name, made.sampler, "SAMPLER_") if made.HasField("sampler") else None,
        output_format=word(pb.ImageFormat.Name, made.format, "IMAGE_FORMAT_"),
        file_size=made.file_size,
        quality=made.quality if made.HasField("quality") else None,
        timings={stage_word(each.stage): each.seconds for each in made.timings},
        request_id=made.request_id,
        skipped_steps=made.skipped_steps if made.HasField("skipped_steps") else None,
        nsfw_score=round(made.nsfw_score, 4) if made.HasField("nsfw_score") else None,
        filtered=made.filtered or None,
        warnings=_warnings(job),
    )


def _warnings(job: jobs_pb2.Job) -> list[str] | None:
    return list(job.notes.warnings) or None


def word(name_of: Callable[[Value], str], value: Value, prefix: str) -> str:
    """The name of an enum's value without its prefix, in lower case. A value newer than this build is a number."""
    try:
        return name_of(value).removeprefix(prefix).lower()
    except ValueError:
        return str(value)
