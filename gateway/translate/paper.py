"""Sizes of paper in pixels."""

from collections.abc import Mapping
from types import MappingProxyType

from gateway.contract import words
from gateway.contract.request import ProcessRequest
from gateway.errors import BadRequestError
from imagegen.v1 import generation_pb2 as pb

MM_PER_INCH = 25.4
DEFAULT_DPI = 300
MAX_DPI = 2400


def _iso(letter: str, width: int, height: int) -> dict[str, tuple[float, float]]:
    """A series of ISO 216 or ISO 269: each half of the one before, rounded down to whole millimetres."""
    found = {}
    for number in range(11):
        found[f"{letter}{number}"] = float(width), float(height)
        width, height = height // 2, width
    return found


def _inches(**sizes: tuple[float, float]) -> dict[str, tuple[float, float]]:
    return {name.strip("_"): (width * MM_PER_INCH, height * MM_PER_INCH) for name, (width, height) in sizes.items()}


SIZES: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        **_iso("a", 841, 1189),
        **_iso("b", 1000, 1414),
        **_iso("c", 917, 1297),
        # Larger and longer ones, as printers' descriptions (PPD) name them.
        "a2extra": (445, 619),
        "a3extra": (322, 445),
        "a3super": (305, 508),
        "supera3": (305, 487),
        "a4extra": (235, 322),
        "a4super": (229, 322),
        "supera4": (227, 356),
        "a4long": (210, 348),
        "a5extra": (173, 235),
        "sob5extra": (202, 276),
        # ANSI and other sizes of North America.
        **_inches(
            letter=(8.5, 11),
            legal=(8.5, 14),
            executive=(7.25, 10.5),
            tabloid=(11, 17),
            ledger=(17, 11),
            statement=(5.5, 8.5),
            halfletter=(5.5, 8.5),
            memo=(5.5, 8.5),
            folio=(8.5, 13),
            flsa=(8.5, 13),
            flse=(8.5, 13),
            note=(7.5, 10),
            juniorlegal=(5, 8),
            governmentletter=(8, 10.5),
            governmentlegal=(8.5, 13),
            _11x17=(11, 17),
            _10x14=(10, 14),
        ),
        # Architects' sizes, by number and by letter.
        **_inches(
            arch1=(9, 12),
            arch2=(12, 18),
            arch3=(18, 24),
            arch4=(24, 36),
            arch5=(30, 42),
            arch6=(36, 48),
            archa=(9, 12),
            archb=(12, 18),
            archc=(18, 24),
            archd=(24, 36),
            arche1=(30, 42),
            arche=(36, 48),
            arche2=(26, 38),
            arche3=(27, 39),
        ),
    }
)
"""Width and height in millimetres, by the documented names; upright, all but ledger."""


def pixels(millimetres: tuple[float, float], dpi: int) -> tuple[int, int]:
    """Width and height of a paper at some dots per inch."""
    width, height = millimetres
    return round(width / MM_PER_INCH * dpi), round(height / MM_PER_INCH * dpi)


def set_size(message: pb.GenerateRequest, request: ProcessRequest) -> None:
    """Set width, height and density of a print, and that it turns with the picture. Without print_size nothing is set.

    Raises:
        BadRequestError: no such paper.
    """
    if request.print_size is None:
        return
    name = words.find(SIZES, request.print_size)
    if name is None:
        raise BadRequestError(f"print_size must be one of {', '.join(SIZES)}, not {request.print_size[:40]!r}")
    dpi = DEFAULT_DPI if request.dpi is None else request.dpi
    if not 1 <= dpi <= MAX_DPI:
        raise BadRequestError(f"dpi must be from 1 to {MAX_DPI}, not {dpi}")
    message.size.width, message.size.height = pixels(SIZES[name], dpi)
    message.output.dpi = dpi
    if request.has_picture and request.print_reorientation is not False:
        message.size.reorient = True
