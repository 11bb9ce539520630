"""JSON to proto and back. Pure functions; ranges are not looked at here (orchestrator/params.py)."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeVar

from google.rpc import code_pb2

from gateway import errors, served
from gateway.answers import JobAnswer, Status
from gateway.contract import Generate, ProcessRequest
from imagegen.v1 import generation_pb2 as pb
from imagegen.v1 import jobs_pb2

Value = TypeVar("Value", bound=int)

RETRY_AFTER_SECONDS = 2  # where the orchestrator names no time of its own

_FORMATS: Mapping[str, pb.ImageFormat.ValueType] = MappingProxyType(
    {
        "jpeg": pb.IMAGE_FORMAT_JPEG,
        "jpg": pb.IMAGE_FORMAT_JPEG,
        "png": pb.IMAGE_FORMAT_PNG,
        "webp": pb.IMAGE_FORMAT_WEBP,
    }
)

# Paths of GenerateRequest, and the fields of the JSON that they come from.
_JSON_PATHS: Mapping[str, str] = MappingProxyType(
    {
        "prompt": "background.generate.description",
        "negative_prompt": "background.generate.negative_prompt",
        "family": "background.generate.model_type",
        "seed": "background.generate.sample_num",
        "size": "width, height:",
        "size.width": "width",
        "size.height": "height",
        "output.format": "output_format",
        "output.quality": "quality",
        "output.max_file_size": "max_file_size",
        "request_id": "X-Request-ID",
    }
)

_PENDING: Mapping[jobs_pb2.JobState.ValueType, Status] = MappingProxyType(
    {jobs_pb2.JOB_STATE_QUEUED: "not_started", jobs_pb2.JOB_STATE_RUNNING: "in_progress"}
)


def to_proto(request: ProcessRequest, request_id: str) -> pb.GenerateRequest:
    """Turn a request into proto. What the client left open stays unset, so that the orchestrator's defaults apply.

    Raises:
        BadRequestError: no prompt, an unknown output_format, or something that this build does not serve.
    """
    generate = served.text_to_image(request)
    message = pb.GenerateRequest(text_to_image=pb.TextToImage(), prompt=_prompt(generate), request_id=request_id)
    if generate.negative_prompt is not None:
        message.negative_prompt = generate.negative_prompt
    if generate.model_type is not None:
        message.family = generate.model_type
    if generate.sample_num is not None:
        message.seed = generate.sample_num
    # served.text_to_image has refused sides in percent, which are text.
    if isinstance(request.width, int):
        message.size.width = request.width
    if isinstance(request.height, int):
        message.size.height = request.height
    _set_output(message, request)
    return message


def json_path(proto_path: str, request: ProcessRequest) -> str:
    """Name the field of the JSON that a path of the proto request comes from, as this client spelt it."""
    path = proto_path.removeprefix("request.")
    if path == "output.quality" and request.output_quality is not None:
        return "output_quality"
    return _JSON_PATHS.get(path, path)


def answer(job: jobs_pb2.Job, *, just_made: bool = False) -> JobAnswer:
    """Turn a job into the documented answer.

    Args:
        job: as the orchestrator tells it.
        just_made: it was made by this very request: one that waits is then "received", not "not_started".

    Raises:
        ApiError: it failed, was cancelled or deleted, for which the contract has errors.
    """
    if job.state in _PENDING:
        status = "received" if just_made and job.state == jobs_pb2.JOB_STATE_QUEUED else _PENDING[job.state]
        return JobAnswer(status=status, job=job.job_id, queue=job.position if job.HasField("position") else None)
    if job.state == jobs_pb2.JOB_STATE_SUCCEEDED:
        return _complete(job)
    if job.state == jobs_pb2.JOB_STATE_DELETED:
        raise errors.ApiError(404, "Image deleted", status="complete")
    if job.state == jobs_pb2.JOB_STATE_CANCELLED:
        raise errors.job_failed(job.job_id, "The job was cancelled")
    raise errors.job_failed(job.job_id, job.error.message)


def answer_to_waiting(job: jobs_pb2.Job) -> JobAnswer:
    """The answer of process_result, which made the job and has waited for it.

    It differs from `answer` in two rows. What is still pending is always "in_progress": common callers poll only while
    they see that word. And a job that failed because the inference server was away is HTTP 503 with Retry-After, not
    500: whoever sent the request can send it again, where somebody who only looks at the dead job later cannot.

    Raises:
        ApiError: as `answer`.
    """
    if job.state == jobs_pb2.JOB_STATE_FAILED and job.error.code == code_pb2.UNAVAILABLE:
        raise errors.unavailable(job.error.message, RETRY_AFTER_SECONDS, status="failed", job=job.job_id)
    found = answer(job)
    return found if found.status == "complete" else found.model_copy(update={"status": "in_progress"})


def _prompt(generate: Generate) -> str:
    """Join the description and what the client adds to it."""
    return ", ".join(text for text in (generate.description, generate.additional_prompt) if text)


def _set_output(message: pb.GenerateRequest, request: ProcessRequest) -> None:
    """Set format, quality and size limit of the file."""
    if request.output_format is not None:
        found = _FORMATS.get(request.output_format.lower())
        if found is None:
            raise errors.BadRequestError(f"output_format must be one of {', '.join(_FORMATS)}")
        message.output.format = found
    quality = request.quality if request.output_quality is None else request.output_quality
    if quality is not None:
        message.output.quality = quality
    if request.max_file_size is not None:
        message.output.max_file_size = request.max_file_size


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
        sampler=_word(pb.Sampler.Name, made.sampler, "SAMPLER_"),
        output_format=_word(pb.ImageFormat.Name, made.format, "IMAGE_FORMAT_"),
        file_size=made.file_size,
        quality=made.quality if made.HasField("quality") else None,
        timings={_word(pb.Stage.Name, each.stage, "STAGE_"): each.seconds for each in made.timings},
        request_id=made.request_id,
    )


def _word(name_of: Callable[[Value], str], value: Value, prefix: str) -> str:
    """The name of an enum's value without its prefix, in lower case. A value newer than this build is a number."""
    try:
        return name_of(value).removeprefix(prefix).lower()
    except ValueError:
        return str(value)
