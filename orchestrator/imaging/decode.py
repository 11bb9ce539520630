"""Files to arrays: the pictures of clients, and nothing else. Safe to call from several threads.

The first bytes say which decoder opens a file; no other one ever sees it. Sizes come from the header and are refused
before pixels are made. Of several frames the first is read. EXIF orientation is applied, an embedded ICC profile is
converted to sRGB; CMYK without a profile by R = (255 - C)(255 - K) / 255, and so on by channel. Colour that a
file describes otherwise (PNG's gAMA and cHRM, the CICP numbers of AVIF and HEIC, HDR) is read as sRGB. A damaged file
is an error, never a picture with something wrong in it; metadata that is broken is left out.
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
from pi_heif import HeifImageFile  # type: ignore[import-untyped]  # without type hints
from PIL import Image, ImageCms
from PIL.AvifImagePlugin import AvifImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from orchestrator.errors import InvalidRequestError, Reason, Violation
from orchestrator.imaging import jpeg, png, profiles, sniff, tiff

Pixels = npt.NDArray[np.uint8]
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
# Samples below 8 bits are stretched to 8 by these factors, and so is the transparent grey of PNG.
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
            said = f"is {width} x {height} pixels; the limit is {limit}"
            limits = {"maximum": self.max_side, "max_pixels": self.max_pixels}
            raise InvalidRequestError(Violation(field, said, Reason.ABOVE_MAXIMUM, limits))


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
        raise _refusal(field, f"is not a picture that can be read; send {sniff.FORMATS}")
    try:
        return work(data, name, limits, field)
    except InvalidRequestError:
        raise
    except Exception as error:  # noqa: BLE001 - a broken file makes decoders stumble in every way
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
        if image.mode not in _MODES:
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


def _measure(data: bytes, name: str, limits: DecodeLimits, field: str) -> int:
    data = png.essentials(data).data if name == "PNG" else data
    with _opened(data, name, limits, field) as image:
        tile = tiff.tile_size(image) if isinstance(image, TiffImageFile) else (1, 1)
        return max(image.width * image.height, tile[0] * tile[1])


def _decode(data: bytes, name: str, limits: DecodeLimits, field: str) -> Pixels:
    profile = None
    if name == "PNG":
        essentials = png.essentials(data)
        data, profile = essentials.data, essentials.profile
    with _opened(data, name, limits, field) as image:
        stored = _stored(image, data, profile)
        limits.check(stored.size, field)  # again: a header may have lied
        return _pixels(stored)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stored:
    """A decoded picture as its file has it.

    Attributes:
        size: (width, height).
        transform: to sRGB; None where nothing is to be done.
        orientation: of EXIF, 1 to 8.
        alpha: whether any pixel may be transparent.
        seen: (left, top, right, bottom) of the first frame; beside it the picture is transparent.
        strip: the rows from one to another, in a mode of Pillow.
    """

    size: tuple[int, int]
    transform: ImageCms.ImageCmsTransform | None
    orientation: int
    alpha: bool
    seen: tuple[int, int, int, int]
    strip: Callable[[int, int], Image.Image]


def _stored(image: ImageFile, data: bytes, profile: bytes | None) -> _Stored:
    """Decode an opened file. `profile` is the one that the file has outside of what Pillow sees."""
    stored_as = image.tile[0].args if image.tile else None
    seen = _first_frame(image, data)
    if isinstance(image, JpegImageFile):
        strip = _jpeg_strips(image, data)
        size = image.size
    else:
        low = png.low_bytes(image, data)
        image.load()
        if low is None:
            _scale_transparent_colour(image, stored_as)
        strip = _strips(image, low)
        size = image.size
    return _Stored(
        size=size,
        transform=profiles.to_srgb(profile or image.info.get("icc_profile"), _base_mode(image)),
        orientation=_orientation(image),
        alpha=image.has_transparency_data or seen != (0, 0, *size),
        seen=seen,
        strip=strip,
    )


def _jpeg_strips(image: JpegImageFile, data: bytes) -> Callable[[int, int], Image.Image]:
    pixels = jpeg.decode(data, image.mode)
    if pixels.shape[:2] != (image.height, image.width):
        raise ValueError("the header that was checked is not the one that was decoded")
    if image.mode == "CMYK":  # Adobe's inks are inverted, and all JPEG files of CMYK are Adobe's
        np.subtract(255, pixels, out=pixels)
    pixels = pixels[..., 0] if image.mode == "L" else pixels
    return lambda top, bottom: Image.fromarray(pixels[top:bottom], image.mode if image.mode == "CMYK" else None)


def _strips(image: Image.Image, low: Image.Image | None) -> Callable[[int, int], Image.Image]:
    """Strips of a loaded picture; with the low bytes of 16 bit RGB, its transparent colour is looked for in both."""
    inverted = isinstance(image, TiffImageFile) and tiff.is_inverted(image)

    def strip(top: int, bottom: int) -> Image.Image:
        box = 0, top, image.width, bottom
        rows = image.crop(box)
        if low is not None:
            return _with_key(rows, low.crop(box))
        return _eight_bits(rows, inverted=inverted) if rows.mode in _GREY16 else rows

    return strip


def _first_frame(image: ImageFile, data: bytes) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of an animation's first frame, which may be smaller than the picture."""
    whole = 0, 0, image.width, image.height
    if isinstance(image, GifImageFile) and image.tile:
        left, top, right, bottom = image.tile[0].extents or whole
    elif isinstance(image, WebPImageFile):
        left, top, right, bottom = sniff.webp_first_frame(data) or whole
    else:
        return whole
    return left, top, min(right, image.width), min(bottom, image.height)


def _scale_transparent_colour(image: Image.Image, stored_as: object) -> None:
    """PNG's tRNS is in the file's own depth; Pillow has stretched the pixels to 8 bits, and not this number."""
    key = image.info.get("transparency")
    if stored_as in _STRETCH and isinstance(key, int):
        image.info["transparency"] = key * _STRETCH[stored_as]


def _pixels(stored: _Stored) -> Pixels:
    """Upright sRGB of a decoded picture."""
    width, height = stored.size
    shape = (width, height) if stored.orientation >= 5 else (height, width)
    upright: Pixels = np.empty((*shape, 4 if stored.alpha else 3), np.uint8)
    as_stored = _AS_STORED[stored.orientation](upright)
    rows = max(1, STRIP // width)
    for top in range(0, height, rows):
        bottom = min(height, top + rows)
        as_stored[top:bottom] = _convert(stored.strip(top, bottom), stored.transform, alpha=stored.alpha)
    if stored.alpha:
        left, top, right, bottom = stored.seen
        for beside in (np.s_[:top], np.s_[bottom:], np.s_[:, :left], np.s_[:, right:]):
            as_stored[beside] = 0
        if upright[..., 3].min() == 255:
            return np.ascontiguousarray(upright[..., :3])
    return upright


def _base_mode(image: Image.Image) -> str:
    """Pillow mode of the colour samples without alpha."""
    if image.mode in _GREY:
        return "L"
    return "CMYK" if image.mode == "CMYK" else "RGB"


def _orientation(image: Image.Image) -> int:
    """EXIF orientation, 1 to 8; 1 where there is none, or none that can be read."""
    for name in ("xmp", "XML:com.adobe.xmp"):  # Pillow would look there too, and browsers do not
        image.info.pop(name, None)
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # noqa: BLE001 - broken metadata does not make a broken picture
        return 1
    return value if value in _AS_STORED else 1


def _convert(strip: Image.Image, transform: ImageCms.ImageCmsTransform | None, *, alpha: bool) -> Pixels:
    """RGB or RGBA of a strip in any mode."""
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


def _eight_bits(strip: Image.Image, *, inverted: bool) -> Image.Image:
    """The high bytes of 16 bit grey, as "LA" where PNG named a transparent grey."""
    samples = np.asarray(strip)
    high = (samples >> 8).astype(np.uint8)
    grey = Image.fromarray(255 - high if inverted else high)
    key = strip.info.get("transparency")
    if key is None:
        return grey
    opaque = np.where(samples == key, 0, 255).astype(np.uint8)
    return Image.merge("LA", (grey, Image.fromarray(opaque)))


def _with_key(high: Image.Image, low: Image.Image) -> Image.Image:
    """RGBA of 16 bit RGB in two halves: transparent where all 16 bits of each channel are the transparent colour's."""
    key = np.array(high.info["transparency"], np.uint16)
    is_key = ((np.asarray(high) == key >> 8) & (np.asarray(low) == key & 255)).all(axis=2)
    colours = Image.fromarray(np.asarray(high))
    colours.putalpha(Image.fromarray(np.where(is_key, 0, 255).astype(np.uint8)))
    return colours


def _refusal(field: str, description: str) -> InvalidRequestError:
    return InvalidRequestError(Violation(field, description, Reason.UNIDENTIFIED_IMAGE))
