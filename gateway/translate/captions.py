"""The caption: a picture over the result."""

from gateway.contract.blocks import Caption
from gateway.errors import BadRequestError
from gateway.translate import pictures
from imagegen.v1 import generation_pb2 as pb

_ACROSS = {
    "L": pb.HORIZONTAL_PLACE_LEFT,
    "M": pb.HORIZONTAL_PLACE_CENTER,
    "C": pb.HORIZONTAL_PLACE_CENTER,
    "R": pb.HORIZONTAL_PLACE_RIGHT,
}
_DOWN = {
    "T": pb.VERTICAL_PLACE_TOP,
    "M": pb.VERTICAL_PLACE_CENTER,
    "C": pb.VERTICAL_PLACE_CENTER,
    "B": pb.VERTICAL_PLACE_BOTTOM,
}


def set_caption(message: pb.GenerateRequest, caption: Caption | None, max_bytes: int) -> None:
    """Set what is laid over the result.

    Raises:
        BadRequestError: the picture is missing or wrong, or something else is; the message names the field.
    """
    if caption is None or not caption.model_fields_set:
        return
    if caption.url is None:
        raise BadRequestError("caption.url is required: the picture that is laid over the result")
    proto = message.caption
    proto.image.CopyFrom(pictures.source(caption.url, "caption.url", max_bytes))
    if caption.position is not None:
        proto.horizontal, proto.vertical = _place(caption.position)
    if caption.target_width_percentage is not None:
        proto.width_share = _share(caption.target_width_percentage, "caption.target_width_percentage")
        if not proto.width_share:
            raise BadRequestError("caption.target_width_percentage must be above 0")
    if caption.opacity is not None:
        proto.opacity = _share(caption.opacity, "caption.opacity")
    if isinstance(caption.padding, int):
        proto.padding_pixels = caption.padding
    elif caption.padding is not None:
        proto.padding_share = float(caption.padding.removesuffix("%")) / 100


def _place(position: str) -> tuple[pb.HorizontalPlace.ValueType, pb.VerticalPlace.ValueType]:
    """Two letters, in either order: one of the width, one of the height."""
    word = position.strip().upper()
    for letters in (word, word[::-1]):
        across, down = letters[:1], letters[1:]
        if across in _ACROSS and down in _DOWN:
            return _ACROSS[across], _DOWN[down]
    raise BadRequestError("caption.position must be two letters: L, M or R of the width, and T, M or B of the height")


def _share(percent: float, field: str) -> float:
    if not 0 <= percent <= 100:
        raise BadRequestError(f"{field} must be from 0 to 100, not {percent:g}")
    return percent / 100
