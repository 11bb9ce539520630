"""Known fields that a request's task does not use: they change nothing, and the answer's `warnings` name them.

The documents say of several fields what they work with, and nothing of an error where that is missing. So a client that
fills in every field of its form is served.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from pydantic import BaseModel

from gateway.contract import words
from gateway.contract.request import ProcessRequest
from gateway.translate import layout
from gateway.translate.tasks import (
    BACKGROUND,
    CONTROL,
    CONTROL2,
    EDIT,
    FACE,
    FACE_SWAP,
    GENERATE,
    IMG2IMG,
    INPAINTING,
    OUTPAINTING,
    UPSCALE,
)

Model = TypeVar("Model", bound=BaseModel)

_EDGES = (BACKGROUND, FACE, CONTROL, CONTROL2, INPAINTING, IMG2IMG, OUTPAINTING)


@dataclass(frozen=True, slots=True)
class _Rule:
    """One field, and what uses it.

    Attributes:
        field: its path.
        why: what it works with, as the end of a warning.
        is_used: whether a request does, whose task is named.
        harmless: the documented default: clients fill it in, and it needs no warning.
    """

    field: str
    why: str
    is_used: Callable[[ProcessRequest, str], bool]
    harmless: object = None


def _with(*tasks: str) -> Callable[[ProcessRequest, str], bool]:
    return lambda _, chosen: chosen in tasks


def _has_picture(request: ProcessRequest, _: str) -> bool:
    return request.has_picture


def _of_generate(field: str, *tasks: str, harmless: object = None) -> _Rule:
    adapters = " or ".join(dict.fromkeys("face" if task == FACE_SWAP else task for task in tasks))
    return _Rule(
        f"{GENERATE}.{field}", f"it works with a picture (url) and adapter_type {adapters}", _with(*tasks), harmless
    )


_RULES = (
    _of_generate("face_id", FACE, harmless=False),
    _of_generate("ip_image2", INPAINTING, FACE_SWAP),
    _of_generate("strength", IMG2IMG, FACE_SWAP),
    _of_generate("avatar_generation_type", FACE, FACE_SWAP),
    _of_generate("context_images", IMG2IMG),
    _of_generate("item_area_percentage", BACKGROUND, harmless=1),
    _of_generate("color", BACKGROUND),
    _Rule(
        f"{GENERATE}.controlnet_conditioning_scale",
        "it works with a picture (url), and an adapter_type other than upscale",
        _with(*_EDGES),
        harmless=0.5,
    ),
    _Rule(
        "generative_upscale",
        "it works with a picture (url), alone or with adapter_type upscale",
        _with(UPSCALE),
        harmless=False,
    ),
    _Rule("upscale_strength", "it works with generative_upscale", _with(UPSCALE)),
    _Rule(
        "upscale_parameters",
        "it works with a picture (url) that is enlarged without generation",
        _with(EDIT),
        {"type": "v1"},
    ),
    _Rule("fit", "it works with a picture (url)", _has_picture, "canvas"),
    _Rule(
        "padding",
        'it works with a picture (url) and fit canvas or {"crop": "item"}',
        lambda request, _: layout.pads(request),
        harmless=0,
    ),
    _Rule("min_length", "it works with a picture (url)", _has_picture, 0),
    _Rule("width", "print_size says the size", lambda request, _: request.print_size is None),
    _Rule("height", "print_size says the size", lambda request, _: request.print_size is None),
    _Rule("background.replace", "the background is generated", lambda _, chosen: chosen != BACKGROUND),
    _Rule("background.remove", "the background is generated", lambda _, chosen: chosen != BACKGROUND, "auto"),
    _Rule(
        "background.prompt",
        'it works with background.remove "generative"',
        lambda request, chosen: chosen != BACKGROUND and _removes(request) == "generative",
    ),
    _Rule(
        "max_file_size",
        "it works with output_format jpeg or webp",
        lambda request, _: words.plain(request.output_format or "") != "png",
    ),
)


def leave_out(request: ProcessRequest, chosen: str) -> tuple[ProcessRequest, list[str]]:
    """A request without what its task does not use, and a warning for each such field.

    Args:
        request: of a client.
        chosen: its task, as tasks.choose names it.
    """
    warnings = []
    for rule in _RULES:
        value = _at(request, rule.field)
        if value is None or rule.is_used(request, chosen):
            continue
        if not _is_same(value, rule.harmless):
            warnings.append(f"{rule.field} is not used: {rule.why}")
        request = _without(request, rule.field.split("."))
    return _without_enhancements(request, warnings), warnings


def _without_enhancements(request: ProcessRequest, warnings: list[str]) -> ProcessRequest:
    """A request without a picture has nothing to enhance but the faces that it generates."""
    if request.has_picture or not request.enhancements:
        return request
    kept = [name for name in request.enhancements if words.find(("face_enhance",), name)]
    why = "it works with a picture (url)"
    warnings += [f"enhancements {name[:40]} is not used: {why}" for name in request.enhancements if name not in kept]
    return request.model_copy(update={"enhancements": kept})


def _removes(request: ProcessRequest) -> str:
    return words.plain((request.background.remove if request.background else None) or "")


def _is_same(value: object, harmless: object) -> bool:
    if isinstance(value, str) and isinstance(harmless, str):
        return words.find((harmless,), value) is not None
    return value == harmless or (isinstance(value, dict) and not any(value.values()))


def _at(request: BaseModel, path: str) -> object:
    """The value at a path, None where a part of it is absent."""
    value: object = request
    for name in path.split("."):
        if value is None:
            return None
        value = getattr(value, name)
    return value


def _without(model: Model, path: Sequence[str]) -> Model:
    """The same, its field at a path absent."""
    head, *rest = path
    return model.model_copy(update={head: _without(getattr(model, head), rest) if rest else None})
