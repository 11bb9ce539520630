"""Files to arrays: the pictures of clients, and nothing else. Safe to call from several threads.

The first bytes say which decoder opens a file; no other one ever sees it. Sizes come from the header and are refused
before pixels are made. Of several frames the first is read. EXIF orientation is applied, an embedded ICC profile is
turned into sRGB; CMYK without a profile is turned by R = 255 - min(255, C + K), channel by channel. Colour that a
file describes otherwise (PNG's gAMA and cHRM, the CICP numbers of AVIF and HEIC, HDR) is read as sRGB.
"""

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import structlog
from PIL import Image, ImageCms
from PIL.AvifImagePlugin import AvifImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TILELENGTH, TILEWIDTH, TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile
from pillow_heif import HeifImageFile

from orchestrator.errors import InvalidRequestError, Violation
from orchestrator.imaging import profiles, sniff

Pixels = npt.NDArray[np.uint8]
T = TypeVar("T")

log = structlog.get_logger()

Image.MAX_IMAGE_PIXELS = None  # DecodeLimits stands in its place: refuses from one pixel too many, and never only warns
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
"""Scans times pixels: each scan walks over the whole picture, in a thread that nothing breaks off."""

STRIP = 1 << 20
"""Pixels that are converted at a time, so that only the decoded picture and the answer are held whole."""

_GREY16 = {"I;16", "I;16L", "I;16B", "I;16N"}
_GREY = {"1", "L", "LA", "La", *_GREY16}
_MODES = {*_GREY, "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr"}
_ORIENTATION = 0x0112  # EXIF 2.3, 4.6.4: tag Orientation
# From the upright picture to the picture as the file has it, as a view: what is written to the view stands upright.
_AS_STORED: dict[int, Callable[[Pixels], Pixels]] = {
    1: lambda upright: upright,
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.transpose(1, 0, 2),
    6: np.rot90,
    7: lambda upright: upright.transpose(1, 0, 2)[::-1, ::-1],
    8: lambda upright: np.rot90(upright, -1),
}
# Samples below 8 bits are stretched to 8 by these factors, and so is PNG's transparent grey.
_STRETCH = {"L;2": 85, "L;4": 17}


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
            raise _refusal(field, f"is {width} x {height} pixels; the limit is {limit}")


def decode(data: bytes, limits: DecodeLimits, field: str) -> Pixels:
    """Read a picture's file as uint8 (height, width, 3) RGB, or (height, width, 4) RGBA where any pixel is not opaque.

    Alpha is straight. `field` is the request's field that errors name. Beside the file it takes
    8 bytes a pixel, 12 where there is alpha, 16 for WebP.

    Raises:
        InvalidRequestError: not a picture of a format that is read, broken, cut off, or too large.
    """
    return _guarded(_decode, data, limits, field)


def measure(data: bytes, limits: DecodeLimits, field: str) -> int:
    """Pixels that `decode` will make of a picture's file, as its header has it; tiles count that are larger than it.

    Raises:
        InvalidRequestError: as decode does, for what shows before any pixel is made.
    """
    return _guarded(_measure, data, limits, field)


def _guarded(work: Callable[[bytes, str, DecodeLimits, str], T], data: bytes, limits: DecodeLimits, field: str) -> T:
    """What `work` answers of a file whose format is known; what breaks in it is the file's fault."""
    if not data:
        raise _refusal(field, "is empty: 0 bytes")
    name = sniff.format_of(data)
    if name is None:
        raise _refusal(field, f"Unidentified image; send {sniff.FORMATS}")
    try:
        return work(data, name, limits, field)
    except InvalidRequestError:
        raise
    except Exception as error:  # noqa: BLE001 - a broken file makes decoders stumble in every way
        log.info("picture refused", field=field, format=name, bytes=len(data), reason=repr(error))
        raise _refusal(field, f"Unidentified image: the {name} file is broken or cut off") from None


@contextmanager
def _opened(data: bytes, name: str, limits: DecodeLimits, field: str) -> Iterator[ImageFile]:
    """The picture's file, of which nothing but the header was read, and nothing that is too large."""
    if name == "WebP" and (canvas := sniff.webp_size(data)):
        limits.check(canvas, field)
    scans = sniff.jpeg_scans(data) if name == "JPEG" else 1
    if scans > MAX_SCANS:
        raise _refusal(field, f"is a JPEG file of more than {MAX_SCANS} scans")
    with READERS[name](BytesIO(data)) as image:
        limits.check(image.size, field)
        if scans > 1 and scans * image.width * image.height > MAX_SCANNED:
            raise _refusal(
                field, f"is a JPEG file of {scans} scans, too many for {image.width} x {image.height} pixels"
            )
        if isinstance(image, TiffImageFile):
            limits.check(_tile(image), field)
        if image.mode not in _MODES:
            raise _refusal(field, f"has samples of kind {image.mode!r}; send 8 or 16 bit grey, RGB or CMYK")
        yield image


def _measure(data: bytes, name: str, limits: DecodeLimits, field: str) -> int:
    with _opened(data, name, limits, field) as image:
        tile = _tile(image) if isinstance(image, TiffImageFile) else (1, 1)
        return max(image.width * image.height, tile[0] * tile[1])


def _decode(data: bytes, name: str, limits: DecodeLimits, field: str) -> Pixels:
    with _opened(data, name, limits, field) as image:
        stored_as = image.tile[0].args if image.tile else None
        image.load()
        limits.check(image.size, field)  # again: a header may have lied
        _scale_transparent_colour(image, stored_as)
        return _pixels(image)


def _tile(image: TiffImageFile) -> tuple[int, int]:
    """(width, height) of a TIFF's tiles, which are decoded whole however small the picture is."""
    width, height = (image.tag_v2.get(tag, 1) for tag in (TILEWIDTH, TILELENGTH))
    return int(width), int(height)


def _scale_transparent_colour(image: Image.Image, stored_as: object) -> None:
    """PNG's tRNS is in the file's own depth; Pillow has stretched or cut the pixels to 8 bits, and not this number."""
    key = image.info.get("transparency")
    if stored_as in _STRETCH and isinstance(key, int):
        image.info["transparency"] = key * _STRETCH[stored_as]
    elif stored_as == "RGB;16B" and isinstance(key, tuple):
        image.info["transparency"] = tuple(sample >> 8 for sample in key)


def _pixels(image: Image.Image) -> Pixels:
    """Upright sRGB of a loaded picture."""
    transform = profiles.to_srgb(image.info.get("icc_profile"), _base_mode(image))
    width, height = image.size
    orientation = _orientation(image)
    alpha = image.has_transparency_data
    shape = (width, height) if orientation >= 5 else (height, width)
    upright: Pixels = np.empty((*shape, 4 if alpha else 3), np.uint8)
    stored = _AS_STORED[orientation](upright)
    rows = max(1, STRIP // width)
    for top in range(0, height, rows):
        bottom = min(height, top + rows)
        stored[top:bottom] = _convert(image.crop((0, top, width, bottom)), transform, alpha=alpha)
    if alpha and upright[..., 3].min() == 255:
        return np.ascontiguousarray(upright[..., :3])
    return upright


def _base_mode(image: Image.Image) -> str:
    """Pillow mode of the colour samples without alpha."""
    if image.mode in _GREY:
        return "L"
    return "CMYK" if image.mode == "CMYK" else "RGB"


def _orientation(image: Image.Image) -> int:
    """EXIF orientation, 1 to 8; 1 where there is none, or none that can be read."""
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # noqa: BLE001 - broken metadata does not make a broken picture
        return 1
    return value if value in _AS_STORED else 1


def _convert(strip: Image.Image, transform: ImageCms.ImageCmsTransform | None, *, alpha: bool) -> Pixels:
    """RGB or RGBA of a strip in any mode."""
    if strip.mode in _GREY16:
        strip = _eight_bits(strip)
    if strip.mode == "La":
        strip = strip.convert("LA")
    opacity = None
    if alpha:
        strip = strip.convert("RGBA")
        opacity = np.asarray(strip.getchannel("A"))
    if transform is None:
        colours = strip.convert("RGB")
    else:
        colours = ImageCms.applyTransform(strip.convert(transform.input_mode), transform) or strip
    rgb = np.asarray(colours, np.uint8)
    return rgb if opacity is None else np.dstack([rgb, opacity])


def _eight_bits(strip: Image.Image) -> Image.Image:
    """The high bytes of 16 bit grey, as "LA" where PNG named a transparent grey."""
    samples = np.asarray(strip)
    grey = Image.fromarray((samples >> 8).astype(np.uint8))
    key = strip.info.get("transparency")
    if key is None:
        return grey
    opaque = np.where(samples == key, 0, 255).astype(np.uint8)
    return Image.merge("LA", (grey, Image.fromarray(opaque)))


def _refusal(field: str, description: str) -> InvalidRequestError:
    return InvalidRequestError(Violation(field, description))
