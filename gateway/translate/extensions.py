"""The block imagegen: what the gRPC schema has, and the documented API does not."""

from collections.abc import Mapping
from typing import Final

from gateway.contract import words
from gateway.contract.blocks import Extensions, Guidance
from gateway.errors import BadRequestError
from imagegen.v1 import generation_pb2 as pb


def _words(values: Mapping[str, int], prefix: str) -> dict[str, int]:
    """Names of an enum without their prefix, in lower case, but for the one of a field that is not set."""
    return {name.removeprefix(prefix).lower(): number for name, number in values.items() if number}


SAMPLERS: Final = _words(dict(pb.Sampler.items()), "SAMPLER_")
GUIDANCE_METHODS: Final = _words(dict(pb.GuidanceMethod.items()), "GUIDANCE_METHOD_")
PRIORITIES: Final = _words(dict(pb.Priority.items()), "PRIORITY_")
PLAIN: Final = (
    *("preview_interval", "steps", "guidance_scale", "skip_tolerance", "prompt_weights", "clip_skip"),
    "deadline_seconds",
)
"""Fields whose values are the message's own."""


def set_extensions(message: pb.GenerateRequest, block: Extensions) -> None:
    """Set what the block says.

    Raises:
        BadRequestError: there is no such sampler, method of guidance or priority.
    """
    for name in PLAIN:
        value = getattr(block, name)
        if value is not None:
            setattr(message, name, value)
    for each in block.loras or ():
        message.loras.add(name=each.name, weight=each.weight)
    if block.sampler is not None:
        message.sampler = pb.Sampler.ValueType(_number(SAMPLERS, block.sampler, "imagegen.sampler"))
    if block.guidance is not None:
        _set_guidance(message.guidance, block.guidance)
    if block.priority is not None:
        message.priority = pb.Priority.ValueType(_number(PRIORITIES, block.priority, "imagegen.priority"))


def _set_guidance(message: pb.Guidance, block: Guidance) -> None:
    for name in ("start", "end", "rescale", "eta", "norm_threshold", "momentum"):
        value = getattr(block, name)
        if value is not None:
            setattr(message, name, value)
    if block.method is not None:
        number = _number(GUIDANCE_METHODS, block.method, "imagegen.guidance.method")
        message.method = pb.GuidanceMethod.ValueType(number)


def _number(known: Mapping[str, int], word: str, field: str) -> int:
    found = words.find(known, word)
    if found is None:
        raise BadRequestError(f"{field} must be one of {', '.join(known)}")
    return known[found]
