"""What this build refuses of the documented JSON: by name, never silently.

What passes: fields that are absent, switched off, or at their documented default (generated clients fill those in), and
parameters of a switch that is off, which the documents say act only with it.
"""

from pydantic import BaseModel

from gateway.blocks import Generate
from gateway.contract import ProcessRequest
from gateway.errors import BadRequestError
from gateway.tasks import BACKGROUND, FACE, GENERATE, IMG2IMG, INPAINTING, TEXT, UPSCALE

# Fields that are not served, with the documented default that changes nothing. None: there is no such default.
_NOT_SERVED: dict[str, object] = {
    f"{GENERATE}.context_images": None,
    f"{GENERATE}.avatar_generation_type": None,
}

# Fields of background.generate that one adapter knows, with the value that changes nothing.
_OF_ONE_ADAPTER: dict[str, tuple[str, object]] = {
    "face_id": (FACE, False),
    "ip_image2": (INPAINTING, None),
    "strength": (IMG2IMG, None),
    "item_area_percentage": (BACKGROUND, 1),
    "color": (BACKGROUND, None),
}

_PLAIN_SCALE = 0.5  # the documented default of controlnet_conditioning_scale
_PLAIN_UPSCALING = "v1"  # the documented default of upscale_parameters.type


def check(request: ProcessRequest, chosen: str) -> None:
    """Let pass what is served.

    Args:
        request: of a client.
        chosen: its task, as tasks.choose names it.

    Raises:
        BadRequestError: a field asks for what this build, or the task, does not do; it is named.
    """
    for path, harmless in _NOT_SERVED.items():
        value = _at(request, path)
        asks = value is not None and value != harmless and not _is_blank(value)
        if asks:
            raise BadRequestError(f"{path} is not served by this build")
    way = (request.upscale_parameters or {}).get("type") or _PLAIN_UPSCALING
    if request.has_picture and way != _PLAIN_UPSCALING:  # without a picture there is nothing that it acts on
        raise BadRequestError("upscale_parameters.type other than v1 is not served by this build")
    if request.background is not None and request.background.generate is not None:
        _check_generate(request.background.generate, chosen)


def _check_generate(generate: Generate, chosen: str) -> None:
    """Refuse what the chosen task does not know."""
    for field, (only, harmless) in _OF_ONE_ADAPTER.items():
        value = getattr(generate, field)
        if value is not None and value != harmless and chosen != only:
            raise BadRequestError(f"{GENERATE}.{field} works only with a picture (url) and adapter_type {only}")
    scale = generate.controlnet_conditioning_scale
    if scale is not None and scale != _PLAIN_SCALE and chosen in {TEXT, UPSCALE}:
        raise BadRequestError(
            f"{GENERATE}.controlnet_conditioning_scale needs a picture (url), and an adapter_type other than upscale"
        )


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
