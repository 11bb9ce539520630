"""A request's messages to params. What is not set is left to the params' defaults; their ranges are theirs."""

import uuid
from typing import Any

from google.protobuf.unknown_fields import UnknownFieldSet

from imagegen.v1 import generation_pb2 as pb
from orchestrator.api.converters.pictures import (
    given,
    to_background,
    to_caption,
    to_enhancements,
    to_layout,
    to_safety,
    to_size,
)
from orchestrator.api.converters.tables import (
    DELIVERIES,
    FORMATS,
    GUIDANCE_METHODS,
    METADATA,
    PRIORITIES,
    SAMPLERS,
    choice,
)
from orchestrator.api.converters.tasks import TASKS
from orchestrator.errors import InvalidRequestError, UnsupportedTaskError, Violation
from orchestrator.params import (
    GuidanceParams,
    JobOptions,
    Limits,
    LoraParams,
    OutputParams,
    Priority,
    RequestParams,
    Task,
)

_KNOWN = ", ".join(TASKS)


def to_params(request: pb.GenerateRequest, limits: Limits) -> RequestParams:
    """What a request asks for.

    Raises:
        UnsupportedTaskError: no task is set that this server knows, but a field that it does not know.
        InvalidRequestError: no task is set, an enum has an unknown number, or a field is out of range.
    """
    return RequestParams(
        task=_to_task(request),
        limits=limits,
        **given(
            request,
            "prompt",
            "negative_prompt",
            "family",
            "seed",
            "steps",
            "guidance_scale",
            "skip_tolerance",
            "preview_interval",
            "prompt_weights",
            "clip_skip",
        ),
        size=to_size(request.size),
        sampler=choice(SAMPLERS, request.sampler, "sampler"),
        guidance=_to_guidance(request.guidance),
        output=_to_output(request.output),
        layout=to_layout(request.layout),
        background=to_background(request.background),
        enhancements=to_enhancements(request.enhancements),
        caption=to_caption(request.caption) if request.HasField("caption") else None,
        loras=tuple(LoraParams(**given(lora, "name", "weight")) for lora in request.loras),
        safety=to_safety(request.safety) if request.HasField("safety") else None,
    )


def _to_guidance(message: pb.Guidance) -> GuidanceParams:
    return GuidanceParams(
        **given(message, "start", "end", "rescale", "eta", "norm_threshold", "momentum"),
        method=choice(GUIDANCE_METHODS, message.method, "guidance.method"),
    )


def to_options(request: pb.GenerateRequest, drawn_id: str) -> JobOptions:
    """How a request is run; `drawn_id` names it if the client does not.

    Raises:
        InvalidRequestError: the request id has a wrong form, the priority an unknown number, or the deadline is out of
            range.
    """
    return JobOptions(
        request_id=request.request_id if request.HasField("request_id") else drawn_id,
        priority=choice(PRIORITIES, request.priority, "priority") or Priority.NORMAL,
        detach_on_disconnect=request.detach_on_disconnect,
        **given(request, "deadline_seconds"),
    )


def new_request_id() -> str:
    """A name for a request that has none."""
    return str(uuid.uuid4())


def _to_task(request: pb.GenerateRequest) -> Task:
    name = request.WhichOneof("task")
    if name is not None:
        return TASKS[name](getattr(request, name))
    if len(UnknownFieldSet(request)):  # a task of a newer schema is one
        raise UnsupportedTaskError(f"no task is set that this server knows; it knows {_KNOWN}")
    raise InvalidRequestError(Violation("task", f"is not set; this server knows {_KNOWN}"))


def _to_output(output: pb.Output) -> OutputParams:
    chosen: dict[str, Any] = {
        "format": choice(FORMATS, output.format, "output.format"),
        "delivery": choice(DELIVERIES, output.delivery, "output.delivery"),
        "metadata": choice(METADATA, output.metadata, "output.metadata"),
    }
    named = {name: value for name, value in chosen.items() if value is not None}
    return OutputParams(**named, **given(output, "quality", "max_file_size", "target", "dpi"))
