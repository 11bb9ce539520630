"""What a file is, by its first bytes, and what must be known of it before a decoder sees it."""

FORMATS = "JPEG, PNG, WebP, AVIF, HEIC, BMP, TIFF or GIF"
"""What is read, in words."""

_MAGIC = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"BM", "BMP"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
    (b"II+\x00", "TIFF"),  # BigTIFF
    (b"MM\x00+", "TIFF"),
)
# What is often sent in place of a picture, by what it begins with, without white space and in lower case.
_UNSUPPORTED = (
    (b"<!doctype html", "a web page (HTML)"),
    (b"<html", "a web page (HTML)"),
    (b"<head", "a web page (HTML)"),
    (b"<body", "a web page (HTML)"),
    (b"<svg", "an SVG drawing"),
    (b"<?xml", "an XML document"),
    (b"%pdf-", "a PDF document"),
    (b"%!ps", "a PostScript document"),
    (b"8bps", "a Photoshop document"),
    (b"pk\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"rar!", "a RAR archive"),
    (b"\x1aE\xdf\xa3".lower(), "a video (Matroska, WebM)"),
    (b"\x00\x00\x00\x0cjxl ", "a JPEG XL picture"),
    (b"\xff\x0a", "a JPEG XL picture"),
    (b"\x00\x00\x00\x0cjp  ", "a JPEG 2000 picture"),
    (b"\xff\x4f\xff\x51".lower(), "a JPEG 2000 picture"),
    (b"\x00\x00\x01\x00", "an icon (ICO)"),
    (b"{", "JSON"),
    (b"[", "JSON"),
)
_TEXT = frozenset(range(0x20, 0x7F)) | frozenset(b"\t\n\r")
_AVIF = {b"avif", b"avis"}
_HEIF = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}


def format_of(data: bytes) -> str | None:
    """The one format that may be tried, as FORMATS spells it, or None. File names and media types are not asked."""
    for magic, name in _MAGIC:
        if data.startswith(magic):
            return name
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WebP"
    if data[4:8] == b"ftyp":  # ISO/IEC 14496-12: box size, "ftyp", major brand, version, compatible brands
        end = min(int.from_bytes(data[:4], "big"), 256)
        brands = {data[8:12], *(data[at : at + 4] for at in range(16, end, 4))}
        return "AVIF" if brands & _AVIF else "HEIC" if brands & _HEIF else None
    return None


def described(data: bytes) -> str | None:
    """What a file is that format_of does not know, for a reader: "a web page (HTML)"; None where that does not show."""
    start = data[:256].removeprefix(b"\xef\xbb\xbf").lstrip()
    if data[4:8] == b"ftyp":
        return "a video (MP4, QuickTime)"
    for magic, words in _UNSUPPORTED:
        if data[: len(magic)].lower() == magic or start[: len(magic)].lower() == magic:
            return words
    return "text" if start and _TEXT.issuperset(start) else None


def webp_size(data: bytes) -> tuple[int, int] | None:
    """(width, height) of a WebP file, or None where its first chunk is not one that begins a picture.

    libwebp's animation decoder takes memory for the whole canvas as it opens. RFC 9649: VP8X holds the canvas less 1 in
    two times 24 bits, VP8L two times 14 bits less 1, VP8 two times 14 bits and two bits of scale each.
    """
    chunk, head = data[12:16], data[20:30]
    if len(data) < 30:
        return None
    if chunk == b"VP8X":
        return 1 + int.from_bytes(head[4:7], "little"), 1 + int.from_bytes(head[7:10], "little")
    if chunk == b"VP8L":
        bits = int.from_bytes(head[1:5], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if chunk == b"VP8 ":
        return int.from_bytes(head[6:8], "little") & 0x3FFF, int.from_bytes(head[8:10], "little") & 0x3FFF
    return None


def webp_chunk(data: bytes, name: bytes) -> bytes | None:
    """The body of the first chunk of a name in a WebP file (RFC 9649, 2.3); None where there is none."""
    at = 12
    while at + 8 <= len(data):
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        if data[at : at + 4] == name:
            return data[at + 8 : at + 8 + length]
        at += 8 + length + length % 2
    return None


def webp_first_frame(data: bytes) -> tuple[int, int, int, int] | None:
    """(left, top, right, bottom) of an animation's first frame; None for a picture that is not animated.

    RFC 9649, 2.7.1.1: ANMF holds half the left and top edge, and width and height less 1, in four times 24 bits.
    """
    frame = webp_chunk(data, b"ANMF")
    if frame is None:
        return None
    left, top, width, height = (int.from_bytes(frame[at : at + 3], "little") for at in (0, 3, 6, 9))
    return 2 * left, 2 * top, 2 * left + width + 1, 2 * top + height + 1


def jpeg_scans(data: bytes) -> int:
    """Scans of a JPEG file, counted by their markers; metadata may hold a few more that are none.

    A progressive file may have thousands of empty scans, each of which walks over the whole picture.
    """
    return data.count(b"\xff\xda")
