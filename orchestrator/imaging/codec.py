"""Arrays to files. decode.py reads what clients send."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy.typing as npt

from orchestrator.arrays import Pixels
from orchestrator.errors import PreconditionError, Violation
from orchestrator.imaging import streaming
from orchestrator.imaging.composite import Composite
from orchestrator.imaging.layers import opaque
from orchestrator.params import ImageFormat, OutputParams

FULL_COLOUR_QUALITY = 90
"""From this quality on JPEG keeps colour at full resolution (4:4:4); below it at half (4:2:0)."""
_FAST_PNG = (
    cv2.IMWRITE_PNG_COMPRESSION,
    1,
    cv2.IMWRITE_PNG_STRATEGY,
    cv2.IMWRITE_PNG_STRATEGY_RLE,
    cv2.IMWRITE_PNG_FILTER,
    cv2.IMWRITE_PNG_FILTER_SUB,
)
"""A fifth of the time of level 6, for files that are 14 % larger: docs/files.md has the measurement."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """A picture's file, and the quality that it was written with (None for lossless PNG)."""

    data: bytes
    quality: int | None


def encode(picture: Pixels, output: OutputParams) -> Encoded:
    """Write uint8 (height, width, 3) RGB, or (height, width, 4) RGBA with straight alpha, as output.format.

    JPEG has no opacity: what is transparent is laid over white first.

    With a max_file_size, the highest quality up to output.quality that fits is found by bisection: file size grows with
    quality (nearly always; the result fits in any case).

    Raises:
        PreconditionError: not even quality 0 fits.
    """
    if output.format is ImageFormat.JPEG:
        picture = opaque(picture)
    bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR if picture.shape[2] == 3 else cv2.COLOR_RGBA2BGRA)
    if output.format is ImageFormat.PNG:
        return Encoded(_write(bgr, ".png", [*_FAST_PNG]), None)
    return _best(lambda quality: _lossy(bgr, output.format, quality), output)


def encode_composite(picture: Composite, output: OutputParams) -> Encoded:
    """As `encode`, of a picture that is large: PNG and JPEG by rows. libwebp takes a picture whole.

    Raises:
        PreconditionError: not even quality 0 fits.
    """
    if output.format is ImageFormat.WEBP:
        return encode(picture.whole(), output)
    if output.format is ImageFormat.PNG:
        return Encoded(streaming.png(picture), None)

    def write(quality: int) -> bytes:
        def band(rows: Pixels) -> bytes:
            return _lossy(cv2.cvtColor(opaque(rows), cv2.COLOR_RGB2BGR), ImageFormat.JPEG, quality)

        return streaming.jpeg(picture, band)

    return _best(write, output)


def _best(write: Callable[[int], bytes], output: OutputParams) -> Encoded:
    """The file of the highest quality that fits."""
    data = write(output.quality)
    if output.max_file_size is None or len(data) <= output.max_file_size:
        return Encoded(data, output.quality)
    best, low, high = None, 0, output.quality - 1
    while low <= high:
        quality = (low + high) // 2
        data = write(quality)
        if len(data) <= output.max_file_size:
            best, low = Encoded(data, quality), quality + 1
        else:
            high = quality - 1
    if best is None:
        said = f"is too small: the picture does not fit into {output.max_file_size} bytes at any quality"
        raise PreconditionError(Violation("output.max_file_size", said))
    return best


def _lossy(bgr: npt.NDArray[Any], image_format: ImageFormat, quality: int) -> bytes:
    if image_format is ImageFormat.JPEG:
        full = quality >= FULL_COLOUR_QUALITY
        sampling = cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444 if full else cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420
        return _write(bgr, ".jpg", [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling])
    # OpenCV's WebP knows 1 to 100, and above 100 means lossless.
    return _write(bgr, ".webp", [cv2.IMWRITE_WEBP_QUALITY, 101 if quality == 100 else max(1, quality)])


def _write(bgr: npt.NDArray[Any], extension: str, options: list[int]) -> bytes:
    ok, data = cv2.imencode(extension, bgr, options)
    if not ok:
        raise RuntimeError(f"OpenCV could not write {extension}")
    return data.tobytes()
