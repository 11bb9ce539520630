"""XMP packets in PNG, JPEG and WebP: written into files of our own encoders, and found in files of others.

XMP: ISO 16684-1. Properties: IPTC Photo Metadata Standard 2025.1 (DigitalSourceType, AISystemUsed,
AISystemVersionUsed, AIPromptInformation). Places: XMP Specification Part 3, 1.1.3 (JPEG), 1.1.5 (PNG); WebP Container
Specification (RFC 9649, section 2.7).
"""

import re
import struct
import zlib
from dataclasses import dataclass
from xml.sax.saxutils import escape, quoteattr

from orchestrator.params import ImageFormat
from orchestrator.provenance.origin import Origin

SOFTWARE = "imagegen"
MAX_PROMPT_CHARACTERS = 8000
"""A JPEG segment holds 65,533 bytes (ITU-T T.81, B.1.1.4); escaped text may take six times its characters."""
MAX_PACKET_BYTES = 1 << 20
"""Of a packet that is read from a client's file."""

_PNG_HEADER = 33
"""Bytes of a PNG's signature and IHDR chunk (PNG Specification, third edition, 5.2 and 11.2.1)."""
_JPEG_NAME = b"http://ns.adobe.com/xap/1.0/\0"
_FORBIDDEN = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 has no place for (section 2.2)."""
_PACKET = re.compile(rb"<x:xmpmeta\b.*?</x:xmpmeta>", re.DOTALL)
_SOURCE_TYPE = re.compile(rb"digitalsourcetype/([A-Za-z]{1,64})")
_TOOL = re.compile(rb"CreatorTool(?:=\"|>)([^\"<]{1,200})")


@dataclass(frozen=True, slots=True)
class Statement:
    """What a file's XMP says about its origin.

    Attributes:
        origin: generated or composite; None if it says neither.
        digital_source_type: code of IPTC's vocabulary, whatever it is; None if there is none.
        software: that wrote it, at most 200 characters; None if there is none.
    """

    origin: Origin | None = None
    digital_source_type: str | None = None
    software: str | None = None


def packet(origin: Origin, version: str, recipe: str | None = None) -> bytes | None:
    """The XMP packet of a picture; None for a plain edit that has nothing to say. Nothing in it depends on time or job.

    Args:
        origin: of the picture.
        version: of this software.
        recipe: prompt and settings, for people who recall them from the file; cut to MAX_PROMPT_CHARACTERS.
    """
    source_type = origin.digital_source_type
    if source_type is None and recipe is None:
        return None
    names = [f"xmp:CreatorTool={quoteattr(f'{SOFTWARE} {version}')}"]
    if source_type is not None:
        names += [
            f"Iptc4xmpExt:DigitalSourceType={quoteattr(source_type)}",
            f"Iptc4xmpExt:AISystemUsed={quoteattr(SOFTWARE)}",
            f"Iptc4xmpExt:AISystemVersionUsed={quoteattr(version)}",
        ]
    text = ""
    if recipe is not None:
        clean = escape(_FORBIDDEN.sub("", recipe)[:MAX_PROMPT_CHARACTERS])
        text = f"<Iptc4xmpExt:AIPromptInformation>{clean}</Iptc4xmpExt:AIPromptInformation>"
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/" '
        'xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" '
        f'{" ".join(names)}>{text}</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="r"?>'
    ).encode()


def with_packet(data: bytes, image_format: ImageFormat, xmp: bytes) -> bytes:
    """The file, as our encoders write it, with an XMP packet.

    Raises:
        ValueError: the file is not one of that format, or the packet does not fit into it.
    """
    if image_format is ImageFormat.PNG:
        body = b"iTXtXML:com.adobe.xmp\0\0\0\0\0" + xmp  # not compressed, without language and translated keyword
        chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
        return data[:_PNG_HEADER] + chunk + data[_PNG_HEADER:]
    if image_format is ImageFormat.JPEG:
        return _in_jpeg(data, xmp)
    return _in_webp(data, xmp)


def overhead(image_format: ImageFormat, xmp: bytes) -> int:
    """At most how many bytes larger a file is with that packet."""
    return len(xmp) + {ImageFormat.PNG: 34, ImageFormat.JPEG: 4 + len(_JPEG_NAME), ImageFormat.WEBP: 27}[image_format]


def read(data: bytes) -> Statement:
    """What the first XMP packet of any file says. Never raises; compressed packets are not found."""
    # Packets are built to be found without knowledge of the format that they are in (XMP Specification Part 1, 7.3.2).
    start = data.find(b"<x:xmpmeta")
    found = None if start < 0 else _PACKET.match(data, start, start + MAX_PACKET_BYTES)
    if found is None:
        return Statement()
    xmp = found[0]
    source, tool = _SOURCE_TYPE.search(xmp), _TOOL.search(xmp)
    code = None if source is None else source[1].decode("ascii")
    return Statement(
        origin=None if code is None else Origin.of_source_type(code),
        digital_source_type=code,
        software=None if tool is None else tool[1].decode("utf-8", "replace"),
    )


def _in_jpeg(data: bytes, xmp: bytes) -> bytes:
    """In a segment APP1 behind the JFIF header."""
    if data[:4] != b"\xff\xd8\xff\xe0":
        raise ValueError("the JPEG has no JFIF header")
    body = _JPEG_NAME + xmp
    if len(body) > 65_533:
        raise ValueError("the XMP packet does not fit into a JPEG segment")
    end = 4 + int.from_bytes(data[4:6], "big")
    return data[:end] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + data[end:]


def _in_webp(data: bytes, xmp: bytes) -> bytes:
    """In a chunk at the file's end, which needs the extended format (RFC 9649, 2.7)."""
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP":
        raise ValueError("the WebP has no RIFF header")
    body = data[12:]
    if body[:4] == b"VP8X":
        head = bytearray(body[:18])
        head[8] |= 0x04
        body = bytes(head) + body[18:]
    else:
        body = _extended_head(body) + body
    body += b"XMP " + struct.pack("<I", len(xmp)) + xmp + b"\0" * (len(xmp) % 2)
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def _extended_head(body: bytes) -> bytes:
    """Chunk VP8X for a file of one simple chunk: flags, and the canvas's size less one as 24 bits each."""
    if body[:4] == b"VP8 ":
        width, height = (int(side) & 0x3FFF for side in struct.unpack("<HH", body[14:18]))
        alpha = False
    elif body[:4] == b"VP8L":
        bits = int.from_bytes(body[9:13], "little")
        width, height, alpha = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, bool(bits >> 28 & 1)
    else:
        raise ValueError(f"the WebP begins with a chunk {body[:4]!r}")
    flags = 0x04 | (0x10 if alpha else 0)
    sides = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return b"VP8X" + struct.pack("<I", 10) + bytes([flags, 0, 0, 0]) + sides
