"""Files to arrays: the pictures of clients, and nothing else. Safe to call from several threads.

The first bytes say which decoder opens a file; no other one ever sees it. Sizes come from the header and are refused
before pixels are decoded. Of several frames the first is read. EXIF orientation is applied, an embedded ICC profile is
converted to sRGB; CMYK without a profile by R = (255 - C)(255 - K) / 255, and so on by channel. Colour that a
file describes otherwise (PNG's gAMA and cHRM, the CICP numbers of AVIF and HEIC, HDR) is read as sRGB. A damaged file
is an error, never a picture with something wrong in it; metadata that is broken is left out.
"""

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from typing import TypeVar

import numpy as np
import structlog
from pi_heif import HeifImageFile  # type: ignore[import-untyped]  # without type hints
from PIL import Image
from PIL.AvifImagePlugin import AvifImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from orchestrator.arrays import Pixels
from orchestrator.errors import InvalidRequestError, Reason, Violation
from orchestrator.imaging import png, sniff, stored, tiff
from orchestrator.imaging.stored import Allocate

T = TypeVar("T")

log = structlog.get_logger()

Image.MAX_IMAGE_PIXELS = None  # DecodeLimits is used instead: it refuses from one pixel too many, and never only warns
warnings.filterwarnings("ignore", module=r"PIL\.")  # what is wrong with a file is its client's matter
logging.getLogger("PIL").setLevel(logging.CRITICAL)  # the same; libtiff still prints a line of its own here and there

READERS: dict[str, Callable[[BytesIO], ImageFile]] = {
    "JPEG": JpegImageFile,
    "PNG": PngImageFile,
    "WebP": WebPImageFile,
    "AVIF": AvifImageFile,
    "HEIC": HeifImageFile,
    "BMP": BmpImageFile,
    "TIFF": TiffImageFile,
    "GIF": GifImageFile,
}
"""The decoder of each format of sniff.py. Image.open is not used: it has many more, and hands files on to others."""

MAX_SCANS = 256
"""Scans of a progressive JPEG. Encoders write about 10."""
MAX_SCANNED = 1 << 30
"""Scans times pixels: each scan walks over the whole picture, and nothing breaks it off."""

FIXED_MEMORY = 96 << 20
"""Bytes that decoding takes in addition to the file and the pixels: strips, tables, stacks of decoders' threads."""
FILE_COPIES = 4
"""How often a file is held: as it came, without its metadata, and as decoders copy it."""
BYTES_A_PIXEL = {"JPEG": 8, "PNG": 15, "WebP": 20, "AVIF": 18, "HEIC": 14, "BMP": 8, "TIFF": 12, "GIF": 8}
"""Most bytes that decoding takes for each pixel, the pixels that come out among them; docs/files.md has the figures."""
MANY_SCANS = 8
"""More bytes for each pixel of a JPEG file of several scans: its coefficients are held until the last one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodeLimits:
    """Largest pictures that are read.

    Attributes:
        max_pixels: width times height.
        max_side: pixels of the longer side.
    """

    max_pixels: int = 64 * 1024 * 1024
    max_side: int = 30_000

    def check(self, size: tuple[int, int], field: str) -> None:
        """Refuse what is larger.

        Raises:
            InvalidRequestError: names both the size and the limit.
        """
        width, height = size
        if max(size) > self.max_side or width * height > self.max_pixels:
            limit = f"{self.max_pixels} pixels in all and {self.max_side} on a side"
            said = f"is {width} x {height} pixels; the limit is {limit}"
            limits = {"maximum": self.max_side, "max_pixels": self.max_pixels}
            raise InvalidRequestError(Violation(field, said, Reason.ABOVE_MAXIMUM, limits))


def _empty(shape: tuple[int, ...]) -> Pixels:
    return np.empty(shape, np.uint8)


@dataclass(frozen=True, slots=True)
class Measured:
    """What a picture's header says.

    Attributes:
        width, height: of the upright picture, pixels.
        decoded: pixels that a decoder allocates for it; more than width times height where tiles are larger.
        memory: bytes that decoding takes at most, the file and the pixels among them.
    """

    width: int
    height: int
    decoded: int
    memory: int

    @property
    def pixels(self) -> int:
        """Width times height."""
        return self.width * self.height


def decode(data: bytes, limits: DecodeLimits, field: str, allocate: Allocate = _empty) -> Pixels:
    """Read a picture's file as uint8 (height, width, 3) RGB, or (height, width, 4) RGBA where any pixel is not opaque.

    Alpha is straight. `field` is the request's field that errors name, `allocate` gives the memory that the pixels are
    written to, which may be larger than they are.

    Raises:
        InvalidRequestError: not a picture of a format that is read, broken, cut off, or too large.
        MemoryError: of a process whose memory is limited.
    """
    return _guarded(partial(_decode, allocate), data, limits, field)


def measure(data: bytes, limits: DecodeLimits, field: str) -> Measured:
    """Read a picture's header, and estimate what decoding it will take.

    Raises:
        InvalidRequestError: as decode does, for what shows before any pixel is decoded.
    """
    return _guarded(_measure, data, limits, field)


def _guarded(work: Callable[[bytes, str, DecodeLimits, str], T], data: bytes, limits: DecodeLimits, field: str) -> T:
    """What `work` answers of a file whose format is known; what breaks in it is the file's fault."""
    if not data:
        raise _refusal(field, "is empty: 0 bytes")
    name = sniff.format_of(data)
    if name is None:
        raise _refusal(field, not_a_picture(data))
    try:
        return work(data, name, limits, field)
    except (InvalidRequestError, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001 - decoders fail on a broken file in every way
        log.info("picture refused", field=field, format=name, bytes=len(data), reason=repr(error))
        raise _refusal(field, f"is a {name} file that is broken or cut off; send a whole one") from None


@contextmanager
def _opened(data: bytes, name: str, limits: DecodeLimits, field: str) -> Iterator[ImageFile]:
    """The picture's file, of which only the header was read, and nothing that is too large."""
    if name == "WebP" and (canvas := sniff.webp_size(data)):
        limits.check(canvas, field)
    scans = sniff.jpeg_scans(data) if name == "JPEG" else 1
    if scans > MAX_SCANS:
        raise _refusal(field, f"is a JPEG file of more than {MAX_SCANS} scans")
    with _reader(data, name, field) as image:
        limits.check(image.size, field)
        if scans > 1 and scans * image.width * image.height > MAX_SCANNED:
            raise _refusal(
                field, f"is a JPEG file of {scans} scans, too many for {image.width} x {image.height} pixels"
            )
        if image.mode not in stored.MODES:
            raise _refusal(field, f"has samples of kind {image.mode!r}; {tiff.SEND}")
        if isinstance(image, TiffImageFile):
            limits.check(tiff.tile_size(image), field)
            try:
                tiff.check(image)
            except tiff.UnreadKindError as error:
                raise _refusal(field, str(error)) from None
        yield image


def _reader(data: bytes, name: str, field: str) -> ImageFile:
    """The file as its decoder opens it."""
    if name != "TIFF":
        return READERS[name](BytesIO(data))
    try:
        return TiffImageFile(BytesIO(data))
    except Exception:
        kind = tiff.kind(data)
        if kind is None:
            raise
        raise _refusal(field, kind) from None


def _measure(data: bytes, name: str, limits: DecodeLimits, field: str) -> Measured:
    if name == "WebP" and (canvas := sniff.webp_size(data)):
        limits.check(canvas, field)
        turned = stored.orientation_of(sniff.webp_chunk(data, b"EXIF") or b"") >= 5
        return _measured(data, name, canvas[::-1] if turned else canvas, canvas[0] * canvas[1])
    shown = png.essentials(data).data if name == "PNG" else data
    with _opened(shown, name, limits, field) as image:
        tile = tiff.tile_size(image) if isinstance(image, TiffImageFile) else (1, 1)
        # The size of a TIFF file is upright already.
        turned = stored.orientation(image) >= 5 and not isinstance(image, TiffImageFile)
        size = image.size[::-1] if turned else image.size
        return _measured(data, name, size, max(image.width * image.height, tile[0] * tile[1]))


def _measured(data: bytes, name: str, size: tuple[int, int], decoded: int) -> Measured:
    each = BYTES_A_PIXEL[name]
    if name == "JPEG" and sniff.jpeg_scans(data) > 1:
        each += MANY_SCANS
    return Measured(*size, decoded, FIXED_MEMORY + FILE_COPIES * len(data) + each * decoded)


def _decode(allocate: Allocate, data: bytes, name: str, limits: DecodeLimits, field: str) -> Pixels:
    profile = None
    if name == "PNG":
        essentials = png.essentials(data)
        data, profile = essentials.data, essentials.profile
    with _opened(data, name, limits, field) as image:
        picture = stored.stored(image, data, profile)
        limits.check(picture.size, field)  # again: a header may have lied
        return stored.upright(picture, allocate)


def not_a_picture(data: bytes) -> str:
    """What is wrong with a file of none of the formats, to continue a sentence that begins with its field."""
    kind = sniff.described(data)
    return f"is {f'{kind}, ' if kind else ''}not a picture that can be read; send {sniff.FORMATS}"


def _refusal(field: str, description: str) -> InvalidRequestError:
    return InvalidRequestError(Violation(field, description, Reason.UNIDENTIFIED_IMAGE))
