"""JSON to proto. Pure functions; ranges are not checked here (orchestrator/params)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from gateway.contract import colors, words
from gateway.contract.blocks import Background, Generate
from gateway.contract.request import ProcessRequest
from gateway.errors import BadRequestError
from gateway.translate import captions, enhancements, extensions, layout, paper, pictures, safety, tasks, unused
from imagegen.v1 import generation_pb2 as pb

FORMATS: Mapping[str, pb.ImageFormat.ValueType] = MappingProxyType(
    {
        "jpeg": pb.IMAGE_FORMAT_JPEG,
        "jpg": pb.IMAGE_FORMAT_JPEG,
        "png": pb.IMAGE_FORMAT_PNG,
        "webp": pb.IMAGE_FORMAT_WEBP,
    }
)
METADATA: Mapping[str, pb.Metadata.ValueType] = MappingProxyType(
    {"none": pb.METADATA_NONE, "prompt": pb.METADATA_PROMPT}
)
REMOVALS: Mapping[str, pb.Removal.ValueType] = MappingProxyType(
    {"auto": pb.REMOVAL_AUTO, "v2": pb.REMOVAL_AUTO, "human": pb.REMOVAL_HUMAN, "item": pb.REMOVAL_ITEM}
)
_GENERATIVE = "generative"
_WORD = re.compile(r"[a-z]+")
_PERSONS = frozenset(
    _WORD.findall("person people human man men woman women boy girl child children baby kid lady guy model portrait")
)
_FILLING = frozenset(
    _WORD.findall("keep only just the a an all both and with in on of foreground subject main everything object")
)


def to_proto(request: ProcessRequest, request_id: str, max_input_bytes: int) -> pb.GenerateRequest:
    """Turn a request into proto. What the client left open stays unset, so that the orchestrator's defaults apply.

    Args:
        request: of a client.
        request_id: its idempotency key.
        max_input_bytes: largest picture that may come inside the request.

    Raises:
        BadRequestError: something is missing or wrong, or this build does not serve it; the message names the field.
    """
    return translated(request, request_id, max_input_bytes).message


@dataclass(frozen=True, slots=True)
class Translation:
    """A request as proto, the picture that it starts from, and what its client is to be warned of."""

    message: pb.GenerateRequest
    request: ProcessRequest
    warnings: tuple[str, ...]


def translated(request: ProcessRequest, request_id: str, max_input_bytes: int) -> Translation:
    """As `to_proto`, with a warning for each field that the request's task does not use."""
    whole = tasks.started(request)
    chosen = tasks.choose(whole)
    request, warnings = unused.leave_out(whole, chosen)
    message = pb.GenerateRequest(request_id=request_id)
    tasks.set_task(message, request, chosen, max_input_bytes)
    if request.background is not None:
        _set_background(message, request.background, max_input_bytes)
        if request.background.generate is not None:
            _set_generate(message, request.background.generate, chosen)
    layout.set_size(message, request)
    paper.set_size(message, request)
    layout.set_layout(message, request)
    enhancements.set_enhancements(message, request)
    captions.set_caption(message, request.caption, max_input_bytes)
    _set_output(message, request)
    safety.set_safety(message, request, max_input_bytes)
    if request.imagegen is not None:
        extensions.set_extensions(message, request.imagegen)
    return Translation(message, whole, tuple(warnings))


def _set_generate(message: pb.GenerateRequest, generate: Generate, chosen: str) -> None:
    """Set what all tasks that generate have in common."""
    description = generate.description
    if chosen != tasks.TEXT and not (description or "").strip():
        description = tasks.default_prompt(chosen)
    if description is not None or generate.additional_prompt is not None:
        message.prompt = ", ".join(text for text in (description, generate.additional_prompt) if text)
    if generate.negative_prompt is not None:
        message.negative_prompt = generate.negative_prompt
    if generate.model_type is not None:
        message.family = generate.model_type.strip().lower()
    if generate.sample_num is not None:
        message.seed = generate.sample_num


def _set_background(message: pb.GenerateRequest, background: Background, max_bytes: int) -> None:
    """Set what happens to the background. To replace it is to remove it."""
    removal = None if background.remove is None else _removal(background.remove, background.prompt)
    if background.replace is not None:
        image = pictures.source(background.replace, "background.replace", max_bytes)
        message.background.replace.CopyFrom(image)
        removal = removal or pb.REMOVAL_AUTO
    if removal is not None:
        message.background.remove = removal
    if background.color is not None:
        message.background.color.CopyFrom(colors.parse(background.color, "background.color"))


def _removal(name: str, prompt: str | None) -> pb.Removal.ValueType:
    """Which object stays; by a prompt, the one whose kind its words name."""
    found = words.find((*REMOVALS, _GENERATIVE), name)
    if found is None:
        raise BadRequestError(f"background.remove must be one of {', '.join(REMOVALS)}, {_GENERATIVE}")
    return _named(prompt or "") if found == _GENERATIVE else REMOVALS[found]


def _named(prompt: str) -> pb.Removal.ValueType:
    """Persons where a prompt names persons alone, things where it names things alone, else the main object."""
    said = [word.removesuffix("s") for word in _WORD.findall(prompt.lower())]
    persons = [word for word in said if word in _PERSONS]
    others = [word for word in said if word not in _PERSONS and word not in _FILLING]
    if persons and not others:
        return pb.REMOVAL_HUMAN
    return pb.REMOVAL_ITEM if others and not persons else pb.REMOVAL_AUTO


def _set_output(message: pb.GenerateRequest, request: ProcessRequest) -> None:
    """Set format, quality and size limit of the file, and where a copy goes."""
    if request.output_format is not None:
        found = words.find(FORMATS, request.output_format)
        if found is None:
            raise BadRequestError(f"output_format must be one of {', '.join(FORMATS)}")
        message.output.format = FORMATS[found]
    elif request.max_file_size is not None:  # of the formats that it works with, the one that keeps what is clear
        message.output.format = pb.IMAGE_FORMAT_WEBP if request.is_clear else pb.IMAGE_FORMAT_JPEG
    quality = request.quality if request.output_quality is None else request.output_quality
    if quality is not None:
        message.output.quality = quality
    if request.max_file_size is not None:
        message.output.max_file_size = request.max_file_size
    if request.metadata is not None:
        stated = words.find(METADATA, request.metadata)
        if stated is None:
            raise BadRequestError(f"metadata must be one of {', '.join(METADATA)}")
        message.output.metadata = METADATA[stated]
    if request.target is not None:
        message.output.target = request.target.strip()
