"""JSON to proto. Pure functions; ranges are not looked at here (orchestrator/params)."""

from collections.abc import Mapping
from types import MappingProxyType

from gateway import captions, colors, enhancements, extensions, layout, paper, pictures, safety, served, tasks
from gateway.blocks import Background, Generate
from gateway.contract import ProcessRequest
from gateway.errors import BadRequestError
from imagegen.v1 import generation_pb2 as pb

_FORMATS: Mapping[str, pb.ImageFormat.ValueType] = MappingProxyType(
    {
        "jpeg": pb.IMAGE_FORMAT_JPEG,
        "jpg": pb.IMAGE_FORMAT_JPEG,
        "png": pb.IMAGE_FORMAT_PNG,
        "webp": pb.IMAGE_FORMAT_WEBP,
    }
)
_METADATA: Mapping[str, pb.Metadata.ValueType] = MappingProxyType(
    {"none": pb.METADATA_NONE, "prompt": pb.METADATA_PROMPT}
)
_REMOVALS: Mapping[str, pb.Removal.ValueType] = MappingProxyType(
    {"auto": pb.REMOVAL_AUTO, "human": pb.REMOVAL_HUMAN, "item": pb.REMOVAL_ITEM}
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
    chosen = tasks.choose(request)
    served.check(request, chosen)
    message = pb.GenerateRequest(request_id=request_id)
    tasks.set_task(message, request, chosen, max_input_bytes)
    if request.background is not None:
        _set_background(message, request.background, chosen, max_input_bytes)
        if request.background.generate is not None:
            _set_generate(message, request.background.generate)
    layout.set_size(message, request)
    paper.set_size(message, request)
    layout.set_layout(message, request)
    enhancements.set_enhancements(message, request)
    captions.set_caption(message, request.caption, max_input_bytes)
    _set_output(message, request)
    safety.set_safety(message, request, max_input_bytes)
    if request.imagegen is not None:
        extensions.set_extensions(message, request.imagegen)
    return message


def _set_generate(message: pb.GenerateRequest, generate: Generate) -> None:
    """Set what all tasks that paint have in common."""
    if generate.description is not None or generate.additional_prompt is not None:
        texts = (generate.description, generate.additional_prompt)
        message.prompt = ", ".join(text for text in texts if text)
    if generate.negative_prompt is not None:
        message.negative_prompt = generate.negative_prompt
    if generate.model_type is not None:
        message.family = generate.model_type
    if generate.sample_num is not None:
        message.seed = generate.sample_num


def _set_background(message: pb.GenerateRequest, background: Background, chosen: str, max_bytes: int) -> None:
    """Set what happens to the background. To replace it is to remove it; to generate it is to remove it, too."""
    removal = None if background.remove is None else _REMOVALS.get(background.remove.strip().lower())
    if background.remove is not None and removal is None:
        raise BadRequestError(f"background.remove must be one of {', '.join(_REMOVALS)}")
    if background.replace is not None:
        if chosen == tasks.BACKGROUND:
            raise BadRequestError("background.replace does not go with a background that is generated; leave one out")
        image = pictures.source(background.replace, "background.replace", max_bytes)
        message.background.replace.CopyFrom(image)
        removal = removal or pb.REMOVAL_AUTO
    if chosen == tasks.BACKGROUND and removal is not None:
        if removal != pb.REMOVAL_AUTO:
            raise BadRequestError("background.remove must be auto where a background is generated: the object is found")
        removal = None
    if removal is not None:
        message.background.remove = removal
    if background.color is not None:
        message.background.color.CopyFrom(colors.parse(background.color, "background.color"))


def _set_output(message: pb.GenerateRequest, request: ProcessRequest) -> None:
    """Set format, quality and size limit of the file, and where a copy goes."""
    if request.output_format is not None:
        found = _FORMATS.get(request.output_format.lower())
        if found is None:
            raise BadRequestError(f"output_format must be one of {', '.join(_FORMATS)}")
        message.output.format = found
    quality = request.quality if request.output_quality is None else request.output_quality
    if quality is not None:
        message.output.quality = quality
    if request.max_file_size is not None:
        message.output.max_file_size = request.max_file_size
    if request.metadata is not None:
        stated = _METADATA.get(request.metadata.strip().lower())
        if stated is None:
            raise BadRequestError(f"metadata must be one of {', '.join(_METADATA)}")
        message.output.metadata = stated
    if request.target is not None:
        message.output.target = request.target.strip()
