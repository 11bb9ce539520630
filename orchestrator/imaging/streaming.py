"""Large pictures to files, some rows at a time: what is held is a band of pixels and the file."""

import struct
import zlib
from collections.abc import Callable, Iterator
from io import BytesIO

import numpy as np

from orchestrator.arrays import Pixels
from orchestrator.imaging.composite import BAND, Composite

EncodeJpeg = Callable[[Pixels], bytes]

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOUR_TYPES = {3: 2, 4: 6}
_SUB = 1
"""PNG's filter: each byte less the one of the pixel before it (PNG specification, third edition, 9.2)."""
_SOF, _DRI, _SOS, _RST, _END = 0xC0, 0xDD, 0xDA, 0xD0, b"\xff\xd9"
"""JPEG's markers: frame, restart interval, scan, the first of eight restarts; and the end."""


def png(picture: Composite) -> bytes:
    """A PNG file as codec.py writes it: level 1, run lengths, filter Sub."""
    width, height = picture.size
    file = BytesIO()
    file.write(_SIGNATURE)
    _chunk(file, b"IHDR", struct.pack(">IIBBBBB", width, height, 8, _COLOUR_TYPES[picture.channels], 0, 0, 0))
    packer = zlib.compressobj(1, zlib.DEFLATED, zlib.MAX_WBITS, zlib.DEF_MEM_LEVEL, zlib.Z_RLE)
    for band in _bands(picture):
        if packed := packer.compress(_filtered(band)):
            _chunk(file, b"IDAT", packed)
    _chunk(file, b"IDAT", packer.flush())
    _chunk(file, b"IEND", b"")
    return file.getvalue()


def _bands(picture: Composite) -> Iterator[Pixels]:
    height = picture.size[1]
    for top in range(0, height, BAND):
        yield picture.band(top, min(height, top + BAND))


def _filtered(band: Pixels) -> bytes:
    """Its lines, each with its filter's number before it."""
    rows, width, channels = band.shape
    lines = np.empty((rows, 1 + width * channels), np.uint8)
    lines[:, 0] = _SUB
    lines[:, 1 : 1 + channels] = band[:, 0]
    lines[:, 1 + channels :] = (band[:, 1:] - band[:, :-1]).reshape(rows, -1)  # modulo 256
    return lines.tobytes()


def _chunk(file: BytesIO, name: bytes, body: bytes) -> None:
    file.write(struct.pack(">I", len(body)) + name)
    file.write(body)
    file.write(struct.pack(">I", zlib.crc32(body, zlib.crc32(name))))


def jpeg(picture: Composite, encode: EncodeJpeg) -> bytes:
    """A baseline JPEG file of bands, each coded by itself, with restart markers between them.

    ITU-T T.81, B.2.1 and E.1.4: a restart interval is coded as a scan of its own would be, with the same tables. So
    the files of bands share all but their height, and their scans are joined.

    Args:
        picture: the result.
        encode: writes RGB of any height as a baseline JPEG file with the standard Huffman tables.
    """
    width, height = picture.size
    file = BytesIO()
    for index, band in enumerate(_bands(picture)):
        data = encode(band)
        segments = _segments(data)
        start, scan = segments[_SOS]
        if index == 0:
            frame, _ = segments[_SOF]
            unit = 8 * (data[frame + 11] >> 4), 8 * (data[frame + 11] & 15)  # coded together: width and height
            interval = -(-width // unit[0]) * (BAND // unit[1])
            file.write(data[: frame + 5] + struct.pack(">H", height) + data[frame + 7 : start])
            file.write(struct.pack(">BBHH", 0xFF, _DRI, 4, interval) + data[start:scan])
        else:
            file.write(bytes([0xFF, _RST + (index - 1) % 8]))
        file.write(data[scan : data.rindex(_END)])
    file.write(_END)
    return file.getvalue()


def _segments(data: bytes) -> dict[int, tuple[int, int]]:
    """Where the segments of each marker start and end, up to the scan's header."""
    found, at = dict[int, tuple[int, int]](), 2
    while _SOS not in found:
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        found[data[at + 1]] = at, end
        at = end
    return found
