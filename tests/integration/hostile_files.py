"""Files that are meant to hurt whoever reads them."""

import io
import struct
import zlib
from collections.abc import Mapping

import numpy as np
from PIL import Image

from tests.integration.pictures import encode, scene

SCRIPT = b"<script>alert('a polyglot')</script>"
GOOD = encode(scene())
GOOD_JPEG = encode(scene(), ".jpg")


def chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk of a PNG file."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def bomb(side: int = 30_000) -> bytes:
    """A whole and valid PNG of side x side grey pixels, all black: about 1 MB for 30,000, 900 MB when decoded."""
    rows = 100
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = packer.compress(bytes((side + 1) * rows)) + packer.flush(zlib.Z_FULL_FLUSH)
    end = zlib.compressobj(9, zlib.DEFLATED, -15).flush()
    total = (side + 1) * side
    checksum = struct.pack(">I", (total % 65521) << 16 | 1)  # Adler-32 of zeros
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    data = b"\x78\xda" + block * (side // rows) + end + checksum
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def long_gif(frames: int = 10_000) -> bytes:
    """A GIF of `frames` frames, all of them the same."""
    stream = io.BytesIO()
    Image.fromarray(scene(64, 64)).quantize(16).save(stream, "GIF")
    data = stream.getvalue()
    head = 13 + 3 * 2 ** ((data[10] & 7) + 1)
    return data[:head] + data[head:-1] * frames + b";"


def cmyk() -> bytes:
    """A JPEG of CMYK without profile: pure cyan, as printers mean it."""
    stream = io.BytesIO()
    Image.new("CMYK", (64, 64), (255, 0, 0, 0)).save(stream, "JPEG", quality=95)
    return stream.getvalue()


def polyglot() -> bytes:
    """A picture, and after its end a page with a script and an archive's signature."""
    return GOOD + b"<html>" + SCRIPT + b"</html>PK\x05\x06" + bytes(18)


def sliver(width: int, height: int) -> bytes:
    """A picture of a single row or column, or pixel."""
    return encode(np.full((height, width, 3), 90, np.uint8))


SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><script>alert(1)</script></svg>'
TEXT = b"This is a text whose name ends with .png.\n" * 20

BROKEN: Mapping[str, tuple[bytes, str]] = {
    "half a PNG": (GOOD[: len(GOOD) // 2], "broken or cut off"),
    "half a JPEG": (GOOD_JPEG[: len(GOOD_JPEG) // 2], "broken or cut off"),
    "a PNG's signature": (GOOD[:8], "broken or cut off"),
    "30,000 x 30,000 pixels in 1 MB": (bomb(), "30000 x 30000 pixels; the limit is"),
    "SVG": (SVG, "is an SVG drawing, not a picture"),
    "text": (TEXT, "is text, not a picture"),
    "zeros": (bytes(1000), "is not a picture"),
}
"""Files, and what is said of them."""

SLIVERS = {"1 x 1": sliver(1, 1), "1 x 20,000": sliver(1, 20_000), "20,000 x 1": sliver(20_000, 1)}
