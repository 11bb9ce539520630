"""Requests, from what a caller says."""

import uuid
from typing import Any, Literal, TypedDict

from imagegen_client.tasks import Task
from imagegen_client.v1 import generation_pb2 as pb

Format = Literal["png", "jpeg", "webp"]
Priority = Literal["high", "normal", "low"]
Sampler = Literal[
    "ddim",
    "euler",
    "euler_ancestral",
    "dpmpp_2m",
    "dpmpp_2m_karras",
    "lcm",
    "heun",
    "unipc",
    "dpmpp_sde",
    "dpmpp_2m_sde",
    "ddpm",
    "tcd",
]


class Options(TypedDict, total=False):
    """What may be said of a picture. What is left out takes the server's, or the family's, default."""

    width: int
    """Pixels, 64 to 16,704."""
    height: int
    """Pixels, 64 to 16,704."""
    seed: int
    """0 to 2^63 - 1: the same request with the same seed gives the same picture."""
    negative_prompt: str
    """What the picture must not show."""
    family: str
    """Model family, by its name."""
    steps: int
    """Denoising steps, 1 to 150."""
    sampler: Sampler
    """How the steps are taken."""
    guidance_scale: float
    """Weight of the prompt, 0 to 50; up to 1 there is no guidance."""
    skip_tolerance: float
    """Steps are extrapolated where the error is estimated to be at most this share of the picture, 0 (never) to 1."""
    prompt_weights: bool
    """Whether brackets in prompts are weights: (word), [word], (word:1.3)."""
    clip_skip: int
    """Last layers of the text encoders that are left out, where the family can."""
    format: Format
    """File format."""
    quality: int
    """Of jpeg and webp, 0 to 100."""
    max_file_size: int
    """Bytes; jpeg and webp."""
    priority: Priority
    """Who goes first when jobs wait."""
    deadline_seconds: float
    """Within how many seconds the picture is to be finished, 0.1 to 86,400; what would be late is refused at once."""
    preview_interval: int
    """A preview after each n-th step, for stream and watch."""
    request_id: str
    """Idempotency key: 1 to 128 characters of A-Z a-z 0-9 . _ : -. The same request with the same key is one job."""
    base: pb.GenerateRequest
    """Everything else of the schema: its fields hold where nothing above says otherwise."""


_PLAIN = (
    *("seed", "negative_prompt", "family", "steps", "guidance_scale", "skip_tolerance", "prompt_weights", "clip_skip"),
    *("preview_interval", "request_id", "deadline_seconds"),
)


def build(prompt: str | None, task: Task | None, options: Options) -> pb.GenerateRequest:
    """Build a request that can be sent again and again, and is one job.

    Raises:
        OSError: a picture's file cannot be read.
        TypeError: there is no such option.
        ValueError: there is no such sampler, format or priority.
    """
    unknown = sorted(options.keys() - Options.__annotations__.keys())
    if unknown:
        raise TypeError(f"{unknown[0]} is not an option; there are {', '.join(Options.__annotations__)}")
    given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    request = pb.GenerateRequest(request_id=str(uuid.uuid4()))
    request.MergeFrom(given.get("base") or pb.GenerateRequest())
    request.MergeFrom(pb.GenerateRequest(prompt=prompt, **{name: given[name] for name in _PLAIN if name in given}))
    request.size.MergeFrom(pb.Size(width=given.get("width"), height=given.get("height")))
    request.output.MergeFrom(pb.Output(quality=given.get("quality"), max_file_size=given.get("max_file_size")))
    if "format" in given:
        request.output.format = _value(pb.ImageFormat, "IMAGE_FORMAT_", given["format"], "format")
    if "sampler" in given:
        request.sampler = _value(pb.Sampler, "SAMPLER_", given["sampler"], "sampler")
    if "priority" in given:
        request.priority = _value(pb.Priority, "PRIORITY_", given["priority"], "priority")
    if task is not None:
        task.add_to(request)
    elif request.WhichOneof("task") is None:
        request.text_to_image.SetInParent()
    return request


def _value(enum: Any, prefix: str, word: str, name: str) -> Any:  # noqa: ANN401 - each enum has a type of its own
    known = {key.removeprefix(prefix).lower(): number for key, number in enum.items() if number}
    if word.lower() not in known:
        raise ValueError(f"{name} must be one of {', '.join(known)}, not {word!r}")
    return known[word.lower()]
