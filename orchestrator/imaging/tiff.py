"""Kinds of TIFF files (TIFF 6.0): which are read, and words for those that are not."""

from io import BytesIO

from PIL import TiffImagePlugin
from PIL.TiffImagePlugin import (
    BITSPERSAMPLE,
    COMPRESSION,
    EXTRASAMPLES,
    PHOTOMETRIC_INTERPRETATION,
    PLANAR_CONFIGURATION,
    SAMPLEFORMAT,
    TILELENGTH,
    TILEWIDTH,
    ImageFileDirectory_v2,
    TiffImageFile,
)

TiffImagePlugin.READ_LIBTIFF = True  # Pillow's own reader takes planes of 16 bit for planes of 8
# Grey whose zero is white, big-endian: Pillow's table has it for little-endian files only.
TiffImagePlugin.OPEN_INFO[TiffImagePlugin.MM, 0, (1,), 1, (16,), ()] = ("I;16B", "I;16B")

SEND = "send 8 or 16 bit grey or CMYK without alpha, or RGB"
_PHOTOMETRIC = {
    0: "grey (zero is white)",
    1: "grey",
    2: "RGB",
    3: "palette",
    5: "CMYK",
    6: "YCbCr",
    8: "Lab",
    9: "Lab",
    10: "Lab",
}
_FORMATS = {1: "unsigned", 2: "signed", 3: "floating-point"}
_COMPRESSIONS = {1, 2, 3, 4, 5, 6, 7, 8, 32_773, 32_946, 34_925, 50_000}
"""None, CCITT, LZW, JPEG, Deflate, PackBits, LZMA, Zstandard."""
_WHITE_IS_ZERO, _PLANES_APART = 0, 2
_BIG, _BIG_BIG_ENDIAN = 43, b"MM\x00+"


class UnreadKindError(Exception):
    """A whole file of a kind that is not read; the message says which."""


def check(image: TiffImageFile) -> None:
    """Refuse what would be read wrongly, or as broken.

    Raises:
        UnreadKindError: the message is for the client.
    """
    compression = image.tag_v2.get(COMPRESSION, 1)
    if compression not in _COMPRESSIONS:
        raise UnreadKindError(
            f"is compressed by TIFF's method {compression}; send it with LZW, Deflate, PackBits, JPEG or uncompressed"
        )
    if image.mode in {"LA", "La", "PA"} and image.tag_v2.get(PLANAR_CONFIGURATION, 1) == _PLANES_APART:
        raise UnreadKindError("has grey and alpha in separate planes; send both in one plane")


def kind(data: bytes) -> str | None:
    """What a file holds that Pillow does not open, in words; None where its tags cannot be read."""
    if data.startswith(_BIG_BIG_ENDIAN):
        return "is a BigTIFF file in big-endian order; send it as plain TIFF, or little-endian"
    try:
        tags = ImageFileDirectory_v2(data[: 16 if data[2] == _BIG else 8])
        file = BytesIO(data)
        file.seek(tags.next)
        tags.load(file)
        bits = tags.get(BITSPERSAMPLE, (1,))
        form = _FORMATS[tags.get(SAMPLEFORMAT, (1,))[0]]
        colours = _PHOTOMETRIC[tags[PHOTOMETRIC_INTERPRETATION]]
        extra = " with alpha or other samples" if tags.get(EXTRASAMPLES) else ""
    except Exception:  # noqa: BLE001 - of a broken file no kind can be named
        return None
    return f"has samples of kind {bits[0]} bit {form} {colours}{extra}; {SEND}"


def is_inverted(image: TiffImageFile) -> bool:
    """Whether zero is white in samples of 16 bit, which Pillow hands on as they are."""
    return image.mode.startswith("I;16") and image.tag_v2.get(PHOTOMETRIC_INTERPRETATION) == _WHITE_IS_ZERO


def tile_size(image: TiffImageFile) -> tuple[int, int]:
    """(width, height) of a TIFF's tiles, which are decoded whole however small the picture is."""
    width, height = (image.tag_v2.get(tag, 1) for tag in (TILEWIDTH, TILELENGTH))
    return int(width), int(height)
