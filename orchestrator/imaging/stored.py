"""A picture as its file has it, and from there to upright sRGB, some rows at a time."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageCms
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from orchestrator.arrays import Pixels
from orchestrator.imaging import jpeg, png, profiles, sniff, tiff

Allocate = Callable[[tuple[int, ...]], Pixels]
"""Memory for pixels of a shape."""

STRIP = 1 << 20
"""Pixels that are converted at a time, so that only the decoded picture and the answer are held whole."""

_GREY16 = {"I;16", "I;16L", "I;16B", "I;16N"}
_GREY = {"1", "L", "LA", "La", *_GREY16}
MODES = {*_GREY, "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr"}
"""Modes of Pillow that are converted."""
_ORIENTATION = 0x0112  # EXIF 2.3, 4.6.4: tag Orientation
# From the upright picture to the picture as the file has it, as a view: what is written to the view is upright.
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
class Stored:
    """A decoded picture as its file has it.

    Attributes:
        size: (width, height).
        transform: to sRGB; None where nothing is to be done.
        orientation: of EXIF, 1 to 8.
        alpha: whether any pixel may be transparent.
        seen: (left, top, right, bottom) of the first frame; around it the picture is transparent.
        strip: the rows from one to another, in a mode of Pillow.
    """

    size: tuple[int, int]
    transform: ImageCms.ImageCmsTransform | None
    orientation: int
    alpha: bool
    seen: tuple[int, int, int, int]
    strip: Callable[[int, int], Image.Image]


def stored(image: ImageFile, data: bytes, profile: bytes | None) -> Stored:
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
    return Stored(
        size=size,
        transform=profiles.to_srgb(profile or image.info.get("icc_profile"), _base_mode(image)),
        orientation=orientation(image),
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
    """Strips of a loaded picture; with the low bytes of 16 bit RGB, its transparent colour is searched for in both."""
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


def upright(stored: Stored, allocate: Allocate) -> Pixels:
    """Upright sRGB of a decoded picture."""
    width, height = stored.size
    shape = (width, height) if stored.orientation >= 5 else (height, width)
    upright = allocate((*shape, 4 if stored.alpha else 3))
    as_stored = _AS_STORED[stored.orientation](upright)
    rows = max(1, STRIP // width)
    for top in range(0, height, rows):
        bottom = min(height, top + rows)
        as_stored[top:bottom] = _convert(stored.strip(top, bottom), stored.transform, alpha=stored.alpha)
    if stored.alpha:
        left, top, right, bottom = stored.seen
        for around in (np.s_[:top], np.s_[bottom:], np.s_[:, :left], np.s_[:, right:]):
            as_stored[around] = 0
        if upright[..., 3].min() == 255:
            return _without_alpha(upright)
    return upright


def _without_alpha(picture: Pixels) -> Pixels:
    """RGB of RGBA, in the same memory."""
    height, width = picture.shape[:2]
    flat, quadruples = picture.reshape(-1), picture.reshape(-1, 4)
    for start in range(0, height * width, STRIP):
        end = min(height * width, start + STRIP)
        flat[3 * start : 3 * end] = quadruples[start:end, :3].reshape(-1)  # a copy: three channels of four
    return flat[: 3 * height * width].reshape(height, width, 3)


def _base_mode(image: Image.Image) -> str:
    """Pillow mode of the colour samples without alpha."""
    if image.mode in _GREY:
        return "L"
    return "CMYK" if image.mode == "CMYK" else "RGB"


def orientation(image: Image.Image) -> int:
    """EXIF orientation, 1 to 8; 1 where there is none, or none that can be read."""
    for name in ("xmp", "XML:com.adobe.xmp"):  # Pillow would look there too, and browsers do not
        image.info.pop(name, None)
    try:
        return _of_exif(image.getexif())
    except Exception:  # noqa: BLE001 - broken metadata is not a broken picture
        return 1


def orientation_of(exif_chunk: bytes) -> int:
    """The same, of an EXIF chunk."""
    exif = Image.Exif()
    try:
        exif.load(exif_chunk)
        return _of_exif(exif)
    except Exception:  # noqa: BLE001 - the same
        return 1


def _of_exif(exif: Image.Exif) -> int:
    value = exif.get(_ORIENTATION, 1)
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
