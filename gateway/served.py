"""What this build serves of the documented JSON: pictures from text. All else is refused by name, never ignored.

What passes: fields that are absent, switched off, or at their documented default (generated clients fill those in), and
parameters of a switch that is off, which the documents say act only with it.
"""

from pydantic import BaseModel

from gateway.contract import Generate, ProcessRequest
from gateway.errors import BadRequestError, picture_required

# Adapters that the documents name. All but the first need a picture.
_DEFAULT_ADAPTER = "generate_background"
_PICTURE_ADAPTERS = frozenset({"face", "control", "control2", "upscale", "inpainting", "img2img"})

# Fields that are not served, with the documented default that changes nothing. None: there is no such default.
_NOT_SERVED: dict[str, object] = {
    "target": None,
    "webhooks.complete": None,
    "min_length": None,
    "padding": None,
    "fit": "canvas",
    "print_size": None,
    "dpi": 300,
    "print_reorientation": True,
    "caption": None,
    "enhancements": None,
    "generative_upscale": None,
    "safe": None,
    "background.remove": None,
    "background.color": None,
    "background.replace": None,
    "background.generate.face_id": None,
    "background.generate.controlnet_conditioning_scale": 0.5,
    "background.generate.ip_image2": None,
    "background.generate.context_images": None,
    "background.generate.strength": None,
    "background.generate.avatar_generation_type": None,
    "background.generate.item_area_percentage": 1,
    "background.generate.color": None,
}

# Fields whose "off" is written as 0 or false. For the others 0 is a value like any.
_OFF_AT_ZERO = frozenset(
    {"min_length", "padding", "generative_upscale", "safe", "background.generate.face_id"},
)


def text_to_image(request: ProcessRequest) -> Generate:
    """Answer what shall be made from text, once it is sure that nothing else was asked for.

    Raises:
        BadRequestError: there is no prompt, or a field asks for what this build does not do; the message names it.
    """
    if request.url is not None:
        raise BadRequestError("url is not served by this build: it makes pictures from text, without url")
    generate = request.background.generate if request.background else None
    if generate is None or generate.description is None:
        raise picture_required()
    _refuse_adapter(generate.adapter_type)
    if request.preset is not None:
        raise BadRequestError(f"Preset {request.preset:.64} not found! preset is not served by this build")
    for path, harmless in _NOT_SERVED.items():
        value = _at(request, path)
        asks = value is not None and value != harmless and not _is_blank(value)
        if asks and (value or path not in _OFF_AT_ZERO):
            raise BadRequestError(f"{path} is not served by this build")
    for path in ("width", "height"):
        if isinstance(_at(request, path), str):
            raise BadRequestError(f"{path} in percent needs a picture (url); give pixels")
    return generate


def _refuse_adapter(name: str | None) -> None:
    """Let pass what a request without a picture may say: nothing, or the documented default, which clients fill in."""
    if name is None or name == _DEFAULT_ADAPTER:
        return
    if name in _PICTURE_ADAPTERS:
        raise picture_required()
    known = ", ".join([_DEFAULT_ADAPTER, *sorted(_PICTURE_ADAPTERS)])
    raise BadRequestError(f"background.generate.adapter_type must be one of {known}")


def _is_blank(value: object) -> bool:
    """Whether a JSON object holds nothing but names with nothing behind them."""
    return isinstance(value, dict) and all(item in (None, "", [], {}) for item in value.values())


def _at(request: BaseModel, path: str) -> object:
    """The value at a path, None where a part of it is absent."""
    value: object = request
    for name in path.split("."):
        if value is None:
            return None
        value = getattr(value, name)
    return value
