"""Damaged pictures are refused; what is around the pixels may be broken or missing."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from orchestrator.arrays import Pixels
from orchestrator.errors import InvalidRequestError
from orchestrator.imaging.decode import DecodeLimits, decode
from tests.unit.imaging import files
from tests.unit.imaging.files import chunk, saved

LIMITS = DecodeLimits()
WIDTH, HEIGHT = 300, 200


def photograph() -> Pixels:
    """Ramps and grain, so that damage anywhere shows."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    ramps = np.stack([128 + 80 * np.sin(x / 40), x * 255 / WIDTH, (x + y) / 2], axis=-1)
    return np.clip(ramps + np.random.default_rng(0).normal(0, 6, ramps.shape), 0, 255).astype(np.uint8)


def jpeg(mode: str, *, progressive: bool, restarts: int = 0) -> bytes:
    image = Image.fromarray(photograph()).convert(mode)
    return saved(image, "JPEG", quality=90, progressive=progressive, restart_marker_rows=restarts)


KINDS = {
    "baseline": jpeg("RGB", progressive=False),
    "progressive": jpeg("RGB", progressive=True),
    "with restarts": jpeg("RGB", progressive=False, restarts=1),
    "grey": jpeg("L", progressive=False),
    "grey, progressive": jpeg("L", progressive=True),
    "CMYK": jpeg("CMYK", progressive=False),
}
END = b"\xff\xd9"


def taller(data: bytes) -> bytes:
    """Its header says four times the height."""
    marker = b"\xff\xc0" if b"\xff\xc0" in data else b"\xff\xc2"
    at = data.index(marker) + 5
    return data[:at] + struct.pack(">H", HEIGHT * 4) + data[at + 2 :]


def damaged(data: bytes) -> dict[str, bytes]:
    middle = len(data) // 2
    return {
        "2000 bytes zero": data[:middle] + bytes(2000) + data[middle + 2000 :],
        "2000 bytes missing": data[:middle] + data[middle + 2000 :],
        "four times the height": taller(data),
        **{f"cut at {share}": data[: int(len(data) * share)] for share in (0.3, 0.6, 0.9, 0.99)},
        **{f"cut at {share}, with an end": data[: int(len(data) * share)] + END for share in (0.3, 0.6, 0.9, 0.99)},
    }


@pytest.mark.promise(
    "pixels that a decoder invents",
    "a damaged file is refused, also where its decoder only warns",
    "orchestrator/imaging/jpeg.py",
)
@pytest.mark.parametrize("fault", damaged(KINDS["baseline"]))
@pytest.mark.parametrize("kind", KINDS)
def test_damaged_jpegs_are_refused(kind: str, fault: str) -> None:
    with pytest.raises(InvalidRequestError, match="is a JPEG file that is broken or cut off"):
        decode(damaged(KINDS[kind])[fault], LIMITS, "image")


@pytest.mark.parametrize("kind", KINDS)
def test_a_jpeg_that_lacks_only_its_end_marker_is_read(kind: str) -> None:
    whole = decode(KINDS[kind], LIMITS, "image")
    assert np.array_equal(decode(KINDS[kind][:-2], LIMITS, "image"), whole)
    assert np.array_equal(decode(KINDS[kind][:-1], LIMITS, "image"), whole)
    assert np.array_equal(decode(KINDS[kind] + bytes(5000), LIMITS, "image"), whole)
    assert np.array_equal(decode(KINDS[kind][:-2] + bytes(3) + END, LIMITS, "image"), whole)  # as some cameras write


def segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


@pytest.mark.parametrize(
    "metadata",
    [
        segment(0xE2, b"ICC_PROFILE\0\x07\x02" + bytes(90)),
        segment(0xE1, b"Exif\0\0" + bytes(range(200))),
        segment(0xE1, KINDS["baseline"][:60_000]),
        segment(0xFE, b"a comment"),
        b"\xff\xff\xff" + segment(0xEC, b""),
    ],
    ids=["a broken profile", "broken EXIF", "a preview", "a comment", "fill bytes"],
)
def test_metadata_of_a_jpeg_does_not_matter(metadata: bytes) -> None:
    data = KINDS["baseline"]
    assert np.array_equal(decode(data[:2] + metadata + data[2:], LIMITS, "image"), decode(data, LIMITS, "image"))


def with_chunks(*chunks: bytes, behind: bool = False) -> bytes:
    """A PNG of the photograph with more chunks before or behind its pixels."""
    data = saved(photograph(), "PNG")
    at = data.index(b"IEND") - 4 if behind else 33
    return data[:at] + b"".join(chunks) + data[at:]


def wrong_checksum(whole: bytes) -> bytes:
    return whole[:-1] + bytes([whole[-1] ^ 1])


LARGE = zlib.compress(b"a photo of an astronaut, " * 200_000)
ANCILLARY = {
    "zTXt of 5 MB": chunk(b"zTXt", b"parameters\0\0" + LARGE),
    "iTXt of 5 MB": chunk(b"iTXt", b"parameters\0\1\0\0\0" + LARGE),
    "iCCP of 5 MB": chunk(b"iCCP", b"printer\0\0" + LARGE),
    "tEXt of 5 MB": chunk(b"tEXt", b"parameters\0" + bytes(5_000_000)),
    **{f"{name} without a body": chunk(name.encode(), b"") for name in ("iCCP", "gAMA", "cHRM", "pHYs", "tIME")},
    **{f"{name} of 3 bytes": chunk(name.encode(), b"abc") for name in ("iCCP", "gAMA", "sRGB", "acTL", "fcTL", "eXIf")},
    "tRNS of 5 bytes": chunk(b"tRNS", bytes(5)),
    "zTXt that is not packed": chunk(b"zTXt", b"a\0\0not deflate"),
    "iTXt without its fields": chunk(b"iTXt", b"a"),
    "tEXt, wrong checksum": wrong_checksum(chunk(b"tEXt", b"a\0b")),
    "iCCP, wrong checksum": wrong_checksum(chunk(b"iCCP", b"a\0\0" + zlib.compress(b"x"))),
    "tRNS, wrong checksum": wrong_checksum(chunk(b"tRNS", bytes(6))),
    "eXIf, wrong checksum": wrong_checksum(chunk(b"eXIf", b"MM\0*")),
    "PLTE of no palette picture": chunk(b"PLTE", bytes(4)),
    "a private one": chunk(b"prVt", bytes(100)),
}


@pytest.mark.parametrize("behind", [False, True], ids=["before", "behind"])
@pytest.mark.parametrize("name", ANCILLARY)
def test_a_png_is_read_without_the_chunks_that_it_does_not_need(name: str, *, behind: bool) -> None:
    assert np.array_equal(decode(with_chunks(ANCILLARY[name], behind=behind), LIMITS, "image"), photograph())


def test_a_png_without_its_end_chunk_is_read() -> None:
    assert np.array_equal(decode(with_chunks()[:-12], LIMITS, "image"), photograph())
    assert np.array_equal(decode(with_chunks()[:-5], LIMITS, "image"), photograph())


@pytest.mark.parametrize("share", [0.5, 0.99])
def test_a_png_that_lacks_pixels_is_refused(share: float) -> None:
    data = with_chunks()
    for cut in (data[: int(len(data) * share)], data[: int(len(data) * share)] + chunk(b"IEND", b"")):
        with pytest.raises(InvalidRequestError, match="broken or cut off"):
            decode(cut, LIMITS, "image")


def test_a_png_with_a_large_profile_is_converted_by_it() -> None:
    """A profile padded to 3 MB, as a printer's may be."""
    swapped = files.rgb_profile(*files.PRIMARIES[::-1], exponent=2.2)
    padded = struct.pack(">I", 3_000_000) + swapped[4:] + bytes(3_000_000 - len(swapped))
    data = with_chunks(chunk(b"iCCP", b"printer\0\0" + zlib.compress(padded)))
    picture = decode(data, LIMITS, "image").astype(int)
    assert np.abs(picture - photograph()[..., ::-1]).mean() < 3


@pytest.mark.parametrize("image_format", ["PNG", "WEBP", "JPEG", "TIFF"])
def test_an_orientation_that_only_xmp_has_is_ignored(image_format: str) -> None:
    """As browsers do: editors that turn the pixels often leave XMP behind."""
    xmp = (
        b"<x:xmpmeta xmlns:x='adobe:ns:meta/'><rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#'>"
        b"<rdf:Description xmlns:tiff='http://ns.adobe.com/tiff/1.0/' tiff:Orientation='6'/></rdf:RDF></x:xmpmeta>"
    )
    if image_format == "PNG":
        data = with_chunks(chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp))
    elif image_format == "TIFF":
        data = saved(photograph(), "TIFF", tiffinfo={700: xmp})
    else:
        data = saved(photograph(), image_format, xmp=xmp)
    assert decode(data, LIMITS, "image").shape == (HEIGHT, WIDTH, 3)
