"""Pixels of JPEG files. libjpeg only warns of damage and answers grey; here a damaged file is an error."""

import re

import numpy as np
import simplejpeg

from orchestrator.arrays import Pixels

_START, _SCAN, _END = b"\xff\xd8", 0xDA, b"\xff\xd9"
_JFIF, _ADOBE = 0xE0, 0xEE
_COLOURS = {"L": "GRAY", "RGB": "RGB", "CMYK": "CMYK"}
"""Pillow mode -> simplejpeg colour space."""
_PADDED = re.compile(r"(\d+) extraneous bytes before marker 0xd9")
MAX_PADDING = 16
"""Bytes that cameras leave between the last pixel and the end marker."""


class DamagedError(ValueError):
    """libjpeg warns of the file."""


def decode(data: bytes, mode: str) -> Pixels:
    """Decode to uint8 (height, width, channels) in Pillow's mode "L", "RGB", or "CMYK" as the file has it.

    A file that ends without its end marker and lacks no pixel is read, as browsers do.

    Raises:
        DamagedError: pixels are missing or broken.
    """
    colours, pixels = _COLOURS[mode], _pixels_only(data) + _END
    try:
        return np.asarray(simplejpeg.decode_jpeg(pixels, colours), np.uint8)
    except ValueError as error:
        padded = _PADDED.search(str(error))
        if padded is None or int(padded[1]) > MAX_PADDING:
            raise DamagedError(str(error)) from error
    return np.asarray(simplejpeg.decode_jpeg(pixels, colours, strict=False), np.uint8)


def _pixels_only(data: bytes) -> bytes:
    """The file without profiles, previews and comments, which the decoder would parse, and may fail on.

    ITU-T T.81, B.1.1: marker segments up to the first scan. JFIF's and Adobe's stay: they say what the channels are.
    """
    kept, at = [_START], len(_START)
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != _SCAN:
        marker = data[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        is_metadata = marker == 0xFE or (0xE0 <= marker <= 0xEF and marker not in {_JFIF, _ADOBE})
        if not is_metadata:
            kept.append(data[at:end])
        at = end
    return b"".join([*kept, data[at:]])
