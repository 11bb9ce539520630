"""Size and layout of the picture that comes back: width, height, min_length, fit, padding."""

from collections.abc import Mapping
from types import MappingProxyType

from gateway.contract import words
from gateway.contract.blocks import JsonObject
from gateway.contract.request import ProcessRequest
from gateway.errors import BadRequestError
from imagegen.v1 import generation_pb2 as pb

FITS: Mapping[str, pb.Fit.ValueType] = MappingProxyType(
    {"crop": pb.FIT_CROP, "bounds": pb.FIT_BOUNDS, "cover": pb.FIT_COVER}
)
GRAVITIES: Mapping[str, pb.CropGravity.ValueType] = MappingProxyType(
    {"content": pb.CROP_GRAVITY_CONTENT, "item": pb.CROP_GRAVITY_ITEM, "center": pb.CROP_GRAVITY_CENTER}
)
_CANVAS = "canvas"
_OUTPAINTING = "outpainting"


def wants_outpainting(request: ProcessRequest) -> bool:
    """Whether `fit` asks to continue the picture beyond its borders."""
    return isinstance(request.fit, dict) and _word(request.fit.get(_CANVAS)) == _OUTPAINTING


def pads(request: ProcessRequest) -> bool:
    """Whether padding has a meaning: the picture is placed on a canvas, or its item alone is.

    Raises:
        BadRequestError: fit is not one of the documented ones.
    """
    fit, gravity = _fit(request.fit)
    return request.has_picture and (fit is None or gravity == pb.CROP_GRAVITY_ITEM)


def set_size(message: pb.GenerateRequest, request: ProcessRequest) -> None:
    """Set width, height and min_length.

    Raises:
        BadRequestError: a side is a fraction of a percent, or, without a picture, a percentage.
    """
    size = message.size
    for name, side in (("width", request.width), ("height", request.height)):
        if isinstance(side, int):
            setattr(size, name, side)
        elif side is not None:
            if not request.has_picture:
                raise BadRequestError(f"{name} in percent needs a picture (url); give pixels")
            setattr(size, f"{name}_percent", _whole_percent(side, name))
    if request.min_length:
        size.min_length = request.min_length


def set_layout(message: pb.GenerateRequest, request: ProcessRequest) -> None:
    """Set fit and padding. The default, canvas without padding, sets nothing.

    Raises:
        BadRequestError: fit is not one of the documented ones.
    """
    fit, gravity = _fit(request.fit)
    padding = _padding(request.padding)
    if fit is not None:
        message.layout.fit = fit
    if gravity is not None:
        message.layout.gravity = gravity
    if isinstance(padding, int) and padding:
        message.layout.padding_pixels = padding
    elif padding:
        message.layout.padding_share = padding


def _fit(fit: str | JsonObject | None) -> tuple[pb.Fit.ValueType | None, pb.CropGravity.ValueType | None]:
    """Fit and what a crop keeps; None for defaults. {"canvas": "outpainting"} is a task, on a canvas like any."""
    if fit is None or _word(fit) == _CANVAS:
        return None, None
    if isinstance(fit, str) and _word(fit) in FITS:
        return FITS[_word(fit)], None
    if isinstance(fit, dict):
        said = {name: _word(value) for name, value in fit.items() if value not in (None, "", [], {})}
        said = {
            name: word for name, word in said.items() if name in {_CANVAS, "crop"}
        } or said  # others next to it: ignored
        if not said or said == {_CANVAS: _OUTPAINTING}:
            return None, None
        if set(said) == {"crop"} and said["crop"] in GRAVITIES:
            return pb.FIT_CROP, GRAVITIES[said["crop"]]
    raise BadRequestError(
        'fit must be canvas, crop, bounds, cover, {"crop": "content"}, {"crop": "item"}, {"crop": "center"} or '
        '{"canvas": "outpainting"}'
    )


def _padding(padding: int | str | None) -> int | float:
    """Pixels as an int, a share of the shorter side as a float; 0 for none."""
    return float(padding.removesuffix("%")) / 100 if isinstance(padding, str) else padding or 0


def _whole_percent(side: str, field: str) -> int:
    percent = float(side.removesuffix("%"))
    if not percent.is_integer():
        raise BadRequestError(f"{field} must be a whole number of percent, not {side}")
    return int(percent)


def _word(value: object) -> str:
    """A word of the contract; "" for what is not text."""
    return words.plain(value) if isinstance(value, str) else ""
