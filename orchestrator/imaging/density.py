"""How large a picture is on paper: dots per inch, written into its file."""

import struct
import zlib

from orchestrator.params import ImageFormat

METERS_PER_INCH = 0.0254
_AFTER_IHDR = 33
"""Bytes of a PNG's signature and first chunk (PNG specification, third edition, 5.2 and 11.2.1)."""
_JFIF = slice(13, 18)
"""Units and densities in the JFIF segment that a JPEG of OpenCV's begins with (ITU-T T.871, 10.1)."""


def with_density(data: bytes, image_format: ImageFormat, dpi: int) -> bytes:
    """The file with its density: PNG's pHYs chunk, JPEG's JFIF header. WebP has no place for it, and stays as it is.

    Raises:
        ValueError: a JPEG without that header.
    """
    if image_format is ImageFormat.PNG:
        per_meter = round(dpi / METERS_PER_INCH)
        body = b"pHYs" + struct.pack(">IIB", per_meter, per_meter, 1)
        chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
        return data[:_AFTER_IHDR] + chunk + data[_AFTER_IHDR:]
    if image_format is ImageFormat.JPEG:
        if data[6:11] != b"JFIF\0":
            raise ValueError("no JFIF header")
        return data[: _JFIF.start] + struct.pack(">BHH", 1, dpi, dpi) + data[_JFIF.stop :]
    return data
