"""A request in OpenAI's form as requests to the orchestrator, by way of the documented JSON.

So everything that the documented API has works here too: a field that OpenAI does not have is one of SHORT, or one of
ProcessRequest.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from gateway.contract import request as contract
from gateway.contract import spellings
from gateway.contract.request import ProcessRequest
from gateway.errors import BadRequestError
from gateway.openai.errors import from_api, invalid
from gateway.openai.forms import Form
from gateway.openai.requests import EditRequest, ImagesRequest
from gateway.translate import pictures, webhooks
from gateway.translate import request as translate
from gateway.translate.names import MAX_REFERENCES, REFERENCE, Names
from gateway.translate.presets import Presets
from imagegen.v1 import generation_pb2 as pb
from imagegen.v1 import jobs_pb2

SHORT: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "seed": ("background", "generate", "sample_num"),
        "negative_prompt": ("background", "generate", "negative_prompt"),
        "adapter": ("background", "generate", "adapter_type"),
        "strength": ("background", "generate", "strength"),
        "steps": ("imagegen", "steps"),
        "sampler": ("imagegen", "sampler"),
        "guidance_scale": ("imagegen", "guidance_scale"),
        "skip_tolerance": ("imagegen", "skip_tolerance"),
        "prompt_weights": ("imagegen", "prompt_weights"),
        "clip_skip": ("imagegen", "clip_skip"),
        "loras": ("imagegen", "loras"),
        "guidance": ("imagegen", "guidance"),
        "priority": ("imagegen", "priority"),
        "deadline_seconds": ("imagegen", "deadline_seconds"),
    }
)
"""Names of this API, and where the documented JSON has them."""
# Fields of the documented JSON that OpenAI's own ones stand for.
_OWNED = frozenset({"url", "width", "height", "quality", "output_quality", "output_format", "background"})
_MORE = (ProcessRequest.model_fields.keys() | set(spellings.NAMES)) - _OWNED
# Fields of the documented JSON by the names that OpenAI has for what they come from.
_SENT_AS: Mapping[str, str] = MappingProxyType(
    {
        "background.generate.description": "prompt",
        "background.generate.model_type": "model",
        "background.generate.ip_image2": "mask",
        "background.generate.context_images": "image",
        "imagegen.n": "n",
        "imagegen.preview_interval": "partial_images",
        "width, height:": "size",
        "width, height": "size",
        "width": "size",
        "height": "size",
        "quality": "output_compression",
        "url": "image",
    }
)
_PAINTING = "img2img"
_OUTPAINTING = "outpainting"  # an adapter here, a way of fitting in the documented JSON


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request comes to.

    Attributes:
        request: as it was sent.
        message: for the first picture.
        names: of its fields, by those of the documented JSON.
        warnings: known fields that its task does not use.
        webhook: that each picture's end is reported to.
    """

    request: ImagesRequest
    message: pb.GenerateRequest
    names: Names
    warnings: tuple[str, ...]
    webhook: jobs_pb2.Webhook | None


def to_proto(
    request: ImagesRequest,
    form: Form,
    presets: Presets,
    own: str | None,
    aliases: Mapping[str, str],
    max_input_bytes: int,
) -> Asked:
    """Turn a request into proto. Its request_id is still to be set.

    Args:
        request: of a client.
        form: with its files.
        presets: that it may name.
        own: JSON of its account's own preset of the name that it gives.
        aliases: of families: names of other services' models.
        max_input_bytes: largest picture that may come inside the request.

    Raises:
        OpenAIError: a field is not known or does not fit; its param is the field.
    """
    sent_as = dict(_SENT_AS)
    document = _document(request, aliases, sent_as)
    files = form.files.get("image", [])
    if isinstance(request, EditRequest):
        _add_source(document, request, files)
    present, older = spellings.present(document)
    sent_as |= older
    names = Names(sent_as=sent_as)
    try:
        asked = contract.parse(presets.under(present, own))
        if files:
            asked = asked.with_file("image", files[0])
        found = translate.translated(asked, "", max_input_bytes)
        names = Names.of(found.request, sent_as)
        webhook = webhooks.to_proto(asked, document)
    except BadRequestError as error:
        raise from_api(error, names) from None
    found.message.ClearField("request_id")
    if isinstance(request, EditRequest):
        _add_pictures(found.message, request, form, max_input_bytes)
        names = replace(names, sent_as={**names.sent_as, **_numbered(len(files) or len(request.images))})
    return Asked(request, found.message, names, tuple(map(names.reworded, found.warnings)), webhook)


def _numbered(count: int) -> dict[str, str]:
    """Names of pictures after the first: image[1], …."""
    return {REFERENCE.format(number - 1): f"image[{number}]" for number in range(1, count)}


def _document(request: ImagesRequest, aliases: Mapping[str, str], sent_as: dict[str, str]) -> dict[str, Any]:
    """The documented JSON that a request corresponds to; `sent_as` gets the names that its fields have there."""
    document: dict[str, Any] = {"output_format": request.output_format}
    if isinstance(request.background, dict):
        document["background"] = dict(request.background)
    background = document.setdefault("background", {})
    if not isinstance(background.setdefault("generate", {}), dict):
        raise invalid("background.generate must be a JSON object", "background")
    background["generate"] = {**background["generate"], "description": request.prompt}
    if request.model is not None:
        family, loras = split_model(aliases.get(request.model, request.model))
        background["generate"]["model_type"] = family
        if loras:
            document["imagegen"], sent_as["imagegen.loras"] = {"loras": loras}, "model"
    if request.transparent:
        background["remove"], sent_as["background.remove"] = "auto", "background"
    if request.sides is not None:
        document["width"], document["height"] = request.sides
    if request.output_compression is not None:
        document["quality"] = request.output_compression
    for name, value in request.extra.items():
        if value is not None:
            _add_extra(document, name, value, sent_as)
    return document


def split_model(name: str) -> tuple[str, list[dict[str, str]]]:
    """The family of a model's name, FAMILY+LORA+LORA:WEIGHT, and its LoRAs."""
    family, *named = name.split("+")
    loras = []
    for each in named:
        lora, colon, weight = each.partition(":")
        loras.append({"name": lora, "weight": weight} if colon else {"name": lora})
    return family, loras


def _add_extra(document: dict[str, Any], name: str, value: object, sent_as: dict[str, str]) -> None:
    """Put a field that OpenAI does not have where the documented JSON has it."""
    if name == "adapter" and value == _OUTPAINTING:
        document["fit"], sent_as["fit"] = {"canvas": _OUTPAINTING}, name
    elif name in SHORT:
        sent_as[".".join(SHORT[name])] = name
        place = document
        *blocks, field = SHORT[name]
        for block in blocks:
            place = place.setdefault(block, {})
            if not isinstance(place, dict):
                raise invalid(f"{block} must be a JSON object", block)
        place[field] = value
    elif name in _MORE:
        document[name] = {**document.get(name, {}), **value} if isinstance(value, dict) else value
    else:
        raise invalid(f"{name[:64]!r} is not a field of this request", name[:64], "unknown_parameter")


def _add_source(document: dict[str, Any], request: EditRequest, files: list[bytes]) -> None:
    """Name the picture to start from, and what is done to it."""
    if files and request.images:
        raise invalid("image must be sent as files or by address, not both", "image")
    if not files and not request.images:
        raise invalid("image is required: the picture to edit", "image", "missing_required_parameter")
    if not files:
        document["url"] = request.images[0]
    generate = document["background"]["generate"]
    wants_outpainting = isinstance(document.get("fit"), dict) and document["fit"].get("canvas") == _OUTPAINTING
    if not wants_outpainting:
        generate.setdefault("adapter_type", _PAINTING)


def _add_pictures(message: pb.GenerateRequest, request: EditRequest, form: Form, max_bytes: int) -> None:
    """Add the pictures after the first, whose likeness steers, and the mask of the first."""
    more = [pb.ImageSource(data=data) for data in form.files.get("image", [])[1:]]
    more += [_picture(address, f"image[{n}]", max_bytes) for n, address in enumerate(request.images[1:], 1)]
    if len(more) > MAX_REFERENCES:
        raise invalid(f"image may be {1 + MAX_REFERENCES} pictures at most, not {1 + len(more)}", "image")
    masks = [pb.ImageSource(data=data) for data in form.files.get("mask", [])]
    masks += [] if request.mask is None else [_picture(request.mask, "mask", max_bytes)]
    if not more and not masks:
        return
    if message.WhichOneof("task") != "image_to_image":
        name = "mask" if masks else "image"
        raise invalid(f"{name}: this adapter starts from one picture, without a mask", name)
    start = message.image_to_image
    start.references.extend(more)
    if len(masks) > 1:
        raise invalid("mask must be one picture", "mask")
    if masks:
        painted = pb.Inpaint(image=start.image, mask=masks[0], mask_by_opacity=True, references=start.references)
        if start.HasField("strength"):
            painted.strength = start.strength
        if start.HasField("edges"):
            painted.edges.CopyFrom(start.edges)
        message.inpaint.CopyFrom(painted)


def _picture(address: str, field: str, max_bytes: int) -> pb.ImageSource:
    try:
        return pictures.source(address, field, max_bytes)
    except BadRequestError as error:
        raise from_api(error, Names(sent_as={field: field})) from None
