"""Proto to JSON: the documented request that asks for what a job was asked for. The inverse of request.py.

A picture that came in the request is "sha256:<hex>": its file is not kept.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, TypeVar

from google.protobuf import json_format
from google.protobuf.message import Message

from gateway.translate import enhancements, extensions, layout, paper, request, tasks
from imagegen.v1 import generation_pb2 as pb

Json = dict[str, Any]
Value = TypeVar("Value", bound=int)

MISSING: Final = "sha256:"
"""What the text of a picture begins with that came in its request."""

_ADAPTERS: Mapping[str, str] = MappingProxyType(
    {
        "image_to_image": tasks.IMG2IMG,
        "inpaint": tasks.INPAINTING,
        "generate_background": tasks.BACKGROUND,
        "face": tasks.FACE,
        "face_swap": tasks.FACE,
        "control": tasks.CONTROL,
        "upscale": tasks.UPSCALE,
    }
)
_ACROSS = {pb.HORIZONTAL_PLACE_LEFT: "L", pb.HORIZONTAL_PLACE_CENTER: "M", pb.HORIZONTAL_PLACE_RIGHT: "R"}
_DOWN = {pb.VERTICAL_PLACE_TOP: "T", pb.VERTICAL_PLACE_CENTER: "M", pb.VERTICAL_PLACE_BOTTOM: "B"}


def from_proto(message: pb.GenerateRequest) -> Json:
    """The documented JSON of a request. What it leaves open is left out."""
    document: Json = {}
    name = message.WhichOneof("task") or "text_to_image"
    task = getattr(message, name)
    generate = {} if name == "edit" else _generate(message, name, task)
    if name != "text_to_image":
        document["url"] = _picture(task.image)
    if name == "outpaint":
        document["fit"] = {"canvas": "outpainting"}
    if name == "upscale" and task.HasField("fidelity"):
        document["upscale_strength"] = task.fidelity
    if name == "edit" and task.enlargement == pb.ENLARGEMENT_TEXT:
        document["upscale_parameters"] = {"type": "text_x4"}
    background = _background(message.background) | ({"generate": generate} if generate else {})
    if background:
        document["background"] = background
    document |= _size(message, from_picture=name != "text_to_image")
    document |= _layout(message.layout)
    document |= _enhancements(message)
    if message.HasField("caption"):
        document["caption"] = _caption(message.caption)
    document |= _output(message.output)
    document |= _safety(message)
    block = _extensions(message)
    return document | ({"imagegen": block} if block else {})


def to_grpc_json(message: pb.GenerateRequest) -> Json:
    """The JSON of protobuf, by the schema's names, without request_id. The message loses its files: they are ""."""
    message.ClearField("request_id")
    _drop_files(message)
    document: Json = json_format.MessageToDict(message, preserving_proto_field_name=True)
    return document


def _drop_files(message: Message) -> None:
    if isinstance(message, pb.ImageSource) and message.HasField("data"):
        message.data = b""
    for field, value in message.ListFields():
        if field.message_type is not None:
            for each in [value] if isinstance(value, Message) else value:
                _drop_files(each)


def _generate(message: pb.GenerateRequest, name: str, task: Any) -> Json:  # noqa: ANN401 - a message of any task
    """The block background.generate."""
    block: Json = {}
    for field, key in (
        ("prompt", "description"),
        ("negative_prompt", "negative_prompt"),
        ("family", "model_type"),
        ("seed", "sample_num"),
    ):
        if message.HasField(field):  # type: ignore[arg-type]  # one of its own fields
            block[key] = getattr(message, field)
    if name in _ADAPTERS:
        block["adapter_type"] = tasks.CONTROL2 if name == "control" and task.edges_only else _ADAPTERS[name]
    known = task.DESCRIPTOR.fields_by_name
    if "edges" in known and task.edges.HasField("scale"):
        block["controlnet_conditioning_scale"] = task.edges.scale
    if name in {"image_to_image", "face_swap"} and task.HasField("strength"):
        block["strength"] = task.strength
    if name in {"inpaint", "face_swap"}:
        block["ip_image2"] = _picture(task.mask if name == "inpaint" else task.face)
    if name == "image_to_image" and task.references:
        block["context_images"] = [_picture(each) for each in task.references]
    if name == "face" and task.face_only:
        block["face_id"] = True
    if name == "generate_background":
        block |= {"item_area_percentage": task.item_area} if task.HasField("item_area") else {}
        block |= {"color": _color(task.color)} if task.HasField("color") else {}
    return block


def _background(background: pb.Background) -> Json:
    block: Json = {}
    if background.remove:
        block["remove"] = _key(request.REMOVALS, background.remove)
    if background.HasField("color"):
        block["color"] = _color(background.color)
    if background.HasField("replace"):
        block["replace"] = _picture(background.replace)
    return block


def _size(message: pb.GenerateRequest, *, from_picture: bool) -> Json:
    """Width, height and min_length; a paper by its name, where the size is one of it."""
    size, block = message.size, {}
    if message.output.HasField("dpi"):
        for name, millimetres in paper.SIZES.items():
            if paper.pixels(millimetres, message.output.dpi) == (size.width, size.height):
                turns = {} if size.reorient or not from_picture else {"print_reorientation": False}
                return {"print_size": name, "dpi": message.output.dpi, **turns}
    for side in ("width", "height"):
        if size.HasField(side):
            block[side] = getattr(size, side)
        elif size.HasField(f"{side}_percent"):  # type: ignore[arg-type]  # one of its own fields
            block[side] = f"{getattr(size, f'{side}_percent')}%"
    return block | ({"min_length": size.min_length} if size.HasField("min_length") else {})


def _layout(placed: pb.Layout) -> Json:
    block: Json = {}
    if placed.gravity:
        block["fit"] = {"crop": _key(layout.GRAVITIES, placed.gravity)}
    elif placed.fit in layout.FITS.values():
        block["fit"] = _key(layout.FITS, placed.fit)
    return block | _padding(placed)


def _padding(placed: pb.Layout | pb.Caption) -> Json:
    match placed.WhichOneof("padding"):
        case "padding_pixels":
            return {"padding": placed.padding_pixels}
        case "padding_share":
            return {"padding": f"{round(placed.padding_share * 100, 6):g}%"}
        case _:
            return {}


def _enhancements(message: pb.GenerateRequest) -> Json:
    document: Json = {}
    for each in message.enhancements:
        name = _key(enhancements.KINDS, each.kind)
        document.setdefault("enhancements", []).append(name)
        block: Json = {"level": each.level} if each.HasField("level") else {}
        if each.method:
            block["type"] = _key(enhancements.TYPES[name], each.method)
        if each.HasField("smoothing"):
            block["smoothing_level"] = each.smoothing
        if block:
            document[f"{name}_parameters"] = block
    return document


def _caption(caption: pb.Caption) -> Json:
    block: Json = {"url": _picture(caption.image)}
    if caption.horizontal or caption.vertical:
        block["position"] = _ACROSS.get(caption.horizontal, "R") + _DOWN.get(caption.vertical, "B")
    if caption.HasField("width_share"):
        block["target_width_percentage"] = round(caption.width_share * 100, 6)
    if caption.HasField("opacity"):
        block["opacity"] = round(caption.opacity * 100, 6)
    return block | _padding(caption)


def _output(output: pb.Output) -> Json:
    block: Json = {"output_format": _key(request.FORMATS, output.format)} if output.format else {}
    for name in ("quality", "max_file_size", "target"):
        if output.HasField(name):
            block[name] = getattr(output, name)
    return block | ({"metadata": _key(request.METADATA, output.metadata)} if output.metadata else {})


def _safety(message: pb.GenerateRequest) -> Json:
    safety = message.safety
    if not message.HasField("safety"):
        return {}
    block: Json = {"threshold": safety.threshold} if safety.HasField("threshold") else {}
    if safety.HasField("replacement"):
        block["nsfw_image_url"] = _picture(safety.replacement)
    enabled = safety.enabled if safety.HasField("enabled") else True
    return {"safe": enabled} | ({"nsfw_parameters": block} if block else {})


def _extensions(message: pb.GenerateRequest) -> Json:
    """The block imagegen, without what changes nothing in the picture: preview_interval."""
    block: Json = {}
    for name in ("steps", "guidance_scale", "skip_tolerance", "prompt_weights", "clip_skip"):
        if message.HasField(name):
            block[name] = getattr(message, name)
    if message.loras:
        block["loras"] = [
            {"name": lora.name, "weight": lora.weight} if lora.HasField("weight") else {"name": lora.name}
            for lora in message.loras
        ]
    if message.HasField("guidance"):
        block["guidance"] = _guidance(message.guidance)
    if message.sampler:
        block["sampler"] = _key(extensions.SAMPLERS, message.sampler)
    if message.priority:
        block["priority"] = _key(extensions.PRIORITIES, message.priority)
    return block


def _guidance(message: pb.Guidance) -> Json:
    found: Json = {field.name: value for field, value in message.ListFields() if field.name != "method"}
    if message.method:
        found["method"] = _key(extensions.GUIDANCE_METHODS, message.method)
    return found


def _picture(image: pb.ImageSource) -> str:
    return image.url if image.HasField("url") else f"{MISSING}{image.sha256.hex()}"


def _color(color: pb.Color) -> str:
    if color.auto:
        return "auto"
    text = f"#{color.rgba:08x}"
    return text.removesuffix("ff") if len(text) == 9 else text


def _key(words: Mapping[str, Value], value: int) -> str:
    """The first word for a value; its number where it came into the schema after this build."""
    return next((word for word, number in words.items() if number == value), str(value))
