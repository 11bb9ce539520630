"""Files made by hand, for what Pillow does not write: PNG of every depth, ICC profiles, and hostile ones."""

import struct
import zlib
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from pillow_heif import register_heif_opener

from orchestrator.arrays import Pixels

register_heif_opener()  # so that Pillow writes HEIC; decode.py needs no registering

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
GREY, COLOUR, GREY_ALPHA, COLOUR_ALPHA = 0, 2, 4, 6
"""Colour types of PNG."""


def saved(picture: Pixels | Image.Image, image_format: str, **options: Any) -> bytes:
    """A file by Pillow."""
    file = BytesIO()
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    if "exif" in options:  # where pillow-heif looks for the orientation, to write it as HEIF's own
        image.info["exif"] = options["exif"]
    image.save(file, image_format, **options)
    return file.getvalue()


def chunk(name: bytes, body: bytes) -> bytes:
    """A PNG chunk."""
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(size: tuple[int, int], depth: int, colour: int, packed: bytes, *extra: bytes) -> bytes:
    """A PNG of scan lines `packed` (with filter bytes, not compressed); `extra` chunks go before the pixels."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", *size, depth, colour, 0, 0, 0))
    return PNG_MAGIC + head + b"".join(extra) + chunk(b"IDAT", zlib.compress(packed)) + chunk(b"IEND", b"")


def sixteen_bit(samples: npt.NDArray[np.uint16], colour: int, *extra: bytes) -> bytes:
    """A PNG of 16 bit samples (height, width[, channels])."""
    height, width = samples.shape[:2]
    lines = samples.astype(">u2").reshape(height, -1)
    return png((width, height), 16, colour, b"".join(b"\0" + line.tobytes() for line in lines), *extra)


def huge_png(side: int, size: int) -> bytes:
    """A valid PNG of side x side black grey pixels, 8 bit, in about `size` bytes."""
    block = 1 << 20
    packer = zlib.compressobj(1)
    start = packer.compress(bytes(block)) + packer.flush(zlib.Z_FULL_FLUSH)
    zeros = packer.compress(bytes(block)) + packer.flush(zlib.Z_FULL_FLUSH)  # complete in itself, so it may be repeated
    whole, rest = divmod(side * (side + 1), block)
    packer = zlib.compressobj(1, wbits=-15)
    end = packer.compress(bytes(rest)) + packer.flush()
    adler = (side * (side + 1) % 65521) << 16 | 1  # of zeros
    pixels = start + zeros * (whole - 1) + end + struct.pack(">I", adler)
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, GREY, 0, 0, 0))
    padding = chunk(b"prVt", bytes(max(0, size - len(pixels))))
    return PNG_MAGIC + head + padding + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def many_frames(count: int) -> bytes:
    """A GIF of 2 x 2 pixels: the first frame is red, and blue ones follow."""

    def frame(pixels: list[int]) -> bytes:
        codes = [4, *pixels, 5]  # clear, literals, end, of 3 bits each
        packed = sum(code << 3 * place for place, code in enumerate(codes)).to_bytes(3, "little")
        return b"\x2c" + struct.pack("<HHHHB", 0, 0, 2, 2, 0) + b"\x02\x03" + packed + b"\0"

    palette = bytes([255, 0, 0, 0, 0, 255, 0, 0, 0, 0, 0, 0])
    head = b"GIF89a" + struct.pack("<HHBBB", 2, 2, 0x81, 0, 0) + palette
    return head + frame([0] * 4) + frame([1] * 4) * (count - 1) + b"\x3b"


def icc(space: bytes, tags: dict[bytes, bytes]) -> bytes:
    """An ICC profile (ICC.1:2001-04) of an input device, connected by XYZ, or by Lab if it is of CMYK."""
    connection = b"Lab " if space == b"CMYK" else b"XYZ "
    table, data = struct.pack(">I", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for name, body in tags.items():
        table += name + struct.pack(">II", start + len(data), len(body))
        data += body + bytes(-len(body) % 4)
    white = struct.pack(">iii", 63190, 65536, 54061)
    head = struct.pack(">I4sI4s4s4s", start + len(data), b"none", 0x02400000, b"scnr", space, connection)
    head += bytes(12) + b"acsp" + bytes(28) + white
    return head.ljust(128, b"\0") + table + data


def xyz(x: float, y: float, z: float) -> bytes:
    """An XYZ tag, in s15Fixed16."""
    return b"XYZ \0\0\0\0" + struct.pack(">iii", *(round(value * 65536) for value in (x, y, z)))


def gamma(exponent: float) -> bytes:
    """A curve tag, in u8Fixed8."""
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(exponent * 256))


WHITE = xyz(0.9642, 1.0, 0.8249)
PRIMARIES = (xyz(0.4361, 0.2225, 0.0139), xyz(0.3851, 0.7169, 0.0971), xyz(0.1431, 0.0606, 0.7141))
"""Of sRGB, adapted to D50."""


def rgb_profile(red: bytes, green: bytes, blue: bytes, *, exponent: float) -> bytes:
    """A matrix profile."""
    curve = gamma(exponent)
    columns = {b"rXYZ": red, b"gXYZ": green, b"bXYZ": blue}
    return icc(b"RGB ", {b"wtpt": WHITE, **columns, b"rTRC": curve, b"gTRC": curve, b"bTRC": curve})


def grey_profile(exponent: float) -> bytes:
    """A profile of grey."""
    return icc(b"GRAY", {b"wtpt": WHITE, b"kTRC": gamma(exponent)})


def cmyk_profile() -> bytes:
    """Inks whose cyan prints as grey: lightness falls with the sum of all inks, and there is no colour at all."""
    head = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + struct.pack(">9i", *(65536 * (i % 4 == 0) for i in range(9)))
    straight = bytes(range(256))
    grid = bytearray()
    for corner in range(16):
        grid += bytes([round(255 * (1 - corner.bit_count() / 4)), 128, 128])
    return icc(b"CMYK", {b"wtpt": WHITE, b"A2B0": head + straight * 4 + bytes(grid) + straight * 3})
