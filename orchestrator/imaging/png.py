"""PNG files without the chunks that their pixels do not need (PNG specification, third edition)."""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO

from PIL import ImageFile
from PIL.PngImagePlugin import PngImageFile

MAX_PROFILE = 16 << 20
"""Bytes of an ICC profile after decompression. Printers' are 1 to 3 MB."""
MAX_EXIF = 1 << 20
_SIGNATURE, _END = 8, struct.pack(">I", 0) + b"IEND" + struct.pack(">I", zlib.crc32(b"IEND"))
_COLOUR_TYPE = 25
"""Where IHDR has the colour type, from the start of the file."""
_KEY_BYTES = {0: (2, 2), 2: (6, 6), 3: (1, 256)}
"""Fewest and most bytes of tRNS by colour type; the others have none."""
_DEEP, _LOW_BYTES = "RGB;16B", "RGB;16L"
"""Pillow's names of 16 bit RGB as the file has it, of which it keeps the high bytes, and of the reading that keeps the
low ones."""


@dataclass(frozen=True, slots=True)
class Essentials:
    """A PNG file of the chunks that its pixels need, and its ICC profile, decompressed."""

    data: bytes
    profile: bytes | None


def essentials(data: bytes) -> Essentials:
    """Drop text, time, animation and whatever else does not change the first picture's pixels.

    A decoder that stumbles over a broken comment would refuse a whole picture. Of the chunks that are not critical
    tRNS, eXIf and iCCP are kept, and only where their checksum is right. The end chunk is added where it is missing.
    """
    kept: list[bytes | memoryview] = [data[:_SIGNATURE]]
    colour_type = data[_COLOUR_TYPE] if len(data) > _COLOUR_TYPE else 0
    profile = None
    whole = False
    for name, chunk in _chunks(data):
        if name == b"iCCP":
            profile = profile or (_profile(bytes(chunk[8:-4])) if _is_whole(chunk) else None)
        elif _is_needed(name, chunk, colour_type):
            kept.append(chunk)
        whole = name == b"IEND"
    if not whole:
        kept.append(_END)
    return Essentials(b"".join(kept), profile)


def _chunks(data: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """Names and whole chunks up to the end chunk; the last one may be cut off."""
    at, view = _SIGNATURE, memoryview(data)
    while at + 8 <= len(data):
        length, name = struct.unpack_from(">I4s", data, at)
        yield name, view[at : at + 12 + length]
        if name == b"IEND":
            return
        at += 12 + length


def _is_needed(name: bytes, chunk: memoryview, colour_type: int) -> bool:
    if name == b"tRNS":
        fewest, most = _KEY_BYTES.get(colour_type, (1, 0))
        return fewest <= len(chunk) - 12 <= most and _is_whole(chunk)
    if name == b"eXIf":
        return len(chunk) <= MAX_EXIF and _is_whole(chunk)
    if name == b"PLTE":
        return colour_type == 3
    return not name[0] & 0x20  # 5.4: bit 5 of the first byte is set in chunks that are not critical


def _is_whole(chunk: memoryview) -> bool:
    """Whether the checksum is right."""
    return len(chunk) >= 12 and zlib.crc32(chunk[4:-4]) == int.from_bytes(chunk[-4:], "big")


def _profile(body: bytes) -> bytes | None:
    """The profile of an iCCP chunk: a name, NUL, the method 0, and the deflated profile."""
    name, _, packed = body.partition(b"\0")
    if not 0 < len(name) < 80 or packed[:1] != b"\0":
        return None
    try:
        unpacker = zlib.decompressobj()
        profile = unpacker.decompress(packed[1:], MAX_PROFILE)
    except zlib.error:
        return None
    return profile if unpacker.eof else None


def low_bytes(image: ImageFile.ImageFile, data: bytes) -> PngImageFile | None:
    """The low bytes of 16 bit RGB whose transparent colour is compared with both; None for all other pictures.

    Pillow reads the high bytes, and the file has to be read again for the low ones.
    """
    if not image.tile or image.tile[0].args != _DEEP or not isinstance(image.info.get("transparency"), tuple):
        return None
    low = PngImageFile(BytesIO(data))
    low.tile = [tile._replace(args=_LOW_BYTES) for tile in low.tile]
    low.load()
    return low
