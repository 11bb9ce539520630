"""Enhancements: the list of names, and the block of parameters that each has."""

from collections.abc import Mapping
from types import MappingProxyType

from gateway.contract import words
from gateway.contract.blocks import FaceParameters, LevelParameters, MethodParameters
from gateway.contract.request import ProcessRequest
from gateway.errors import BadRequestError
from imagegen.v1 import generation_pb2 as pb

KINDS: Mapping[str, pb.EnhancementKind.ValueType] = MappingProxyType(
    {
        "denoise": pb.ENHANCEMENT_KIND_DENOISE,
        "deblur": pb.ENHANCEMENT_KIND_DEBLUR,
        "clean": pb.ENHANCEMENT_KIND_CLEAN,
        "face_enhance": pb.ENHANCEMENT_KIND_FACE_ENHANCE,
        "light": pb.ENHANCEMENT_KIND_LIGHT,
        "color": pb.ENHANCEMENT_KIND_COLOR,
        "white_balance": pb.ENHANCEMENT_KIND_WHITE_BALANCE,
        "exposure_correction": pb.ENHANCEMENT_KIND_EXPOSURE_CORRECTION,
    }
)
_V: Mapping[str, pb.EnhancementMethod.ValueType] = MappingProxyType(
    {"v1": pb.ENHANCEMENT_METHOD_V1, "v2": pb.ENHANCEMENT_METHOD_V2}
)
_LIGHTS: Mapping[str, pb.EnhancementMethod.ValueType] = MappingProxyType(
    {
        "contrast": pb.ENHANCEMENT_METHOD_CONTRAST,
        "hdr_light": pb.ENHANCEMENT_METHOD_HDR_LIGHT,
        "hdr_light_advanced": pb.ENHANCEMENT_METHOD_HDR_LIGHT_ADVANCED,
    }
)
_FACES: Mapping[str, pb.EnhancementMethod.ValueType] = MappingProxyType(
    {
        "beautify-real": pb.ENHANCEMENT_METHOD_BEAUTIFY_REAL,
        "beautify": pb.ENHANCEMENT_METHOD_BEAUTIFY,
    }
)
TYPES: Mapping[str, Mapping[str, pb.EnhancementMethod.ValueType]] = MappingProxyType(
    {"denoise": _V, "deblur": _V, "light": _LIGHTS, "color": _LIGHTS, "face_enhance": _FACES}
)


def names(request: ProcessRequest) -> list[str]:
    """What is asked for: each name once, in its documented spelling.

    Raises:
        BadRequestError: an enhancement that is not documented.
    """
    found = {name: words.find(KINDS, name) for name in request.enhancements or ()}
    if unknown := [name for name, known in found.items() if known is None]:
        raise BadRequestError(f"enhancements must be among {', '.join(KINDS)}, not {unknown[0][:40]!r}")
    return [name for name in dict.fromkeys(found.values()) if name is not None]


def set_enhancements(message: pb.GenerateRequest, request: ProcessRequest) -> None:
    """Set what is enhanced, each with its parameters; those of what is not listed do not act.

    Raises:
        BadRequestError: a name or a type is not documented.
    """
    for name in names(request):
        enhancement = message.enhancements.add(kind=KINDS[name])
        parameters: LevelParameters | None = getattr(request, f"{name}_parameters")
        if parameters is None:
            continue
        if parameters.level is not None:
            enhancement.level = parameters.level
        if isinstance(parameters, MethodParameters) and parameters.type is not None:
            types = TYPES[name]
            found = words.find(types, parameters.type)
            if found is None:
                raise BadRequestError(f"{name}_parameters.type must be one of {', '.join(types)}")
            enhancement.method = types[found]
        if isinstance(parameters, FaceParameters) and parameters.smoothing_level is not None:
            enhancement.smoothing = parameters.smoothing_level
