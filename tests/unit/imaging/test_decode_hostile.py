"""Files that are not a picture, a broken one, or one that would cost too much."""

import struct
import subprocess
import sys
import threading
import zipfile
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from orchestrator.errors import InvalidRequestError
from orchestrator.imaging.decode import MAX_SCANS, DecodeLimits, decode
from tests.unit.imaging import files
from tests.unit.imaging.files import chunk, png, saved

ROOT = Path(__file__).parents[3]
LIMITS = DecodeLimits(max_pixels=1_000_000, max_side=30_000)
FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "HEIF", "BMP", "TIFF", "GIF")


def noise() -> Image.Image:
    """A picture that no format makes small."""
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8))


VALID = {name: saved(noise(), name) for name in FORMATS}
VALID["progressive"] = saved(noise(), "JPEG", progressive=True)
VALID["grey JPEG"] = saved(noise().convert("L"), "JPEG")
VALID["CMYK JPEG"] = saved(noise().convert("CMYK"), "JPEG")
VALID["LZW"] = saved(noise(), "TIFF", compression="tiff_lzw")
VALID["alpha"] = saved(noise().convert("RGBA"), "PNG")


def refusal(data: bytes, limits: DecodeLimits = LIMITS) -> str:
    """What is said of a file that is not read; never anything of the program's own."""
    with pytest.raises(InvalidRequestError) as caught:
        decode(data, limits, "control.image")
    (violation,) = caught.value.violations
    assert violation.field == "control.image"
    for inner in ("Error", "PIL", "cannot identify", "object at", "None"):
        assert inner not in violation.description
    return violation.description


def test_no_bytes() -> None:
    assert refusal(b"") == "is empty: 0 bytes"


def archive() -> bytes:
    file = BytesIO()
    with zipfile.ZipFile(file, "w") as packed:
        packed.writestr("a.txt", "x" * 1000)
    return file.getvalue()


OTHERS = {
    "text": b"this is text, and its name may end in .png",
    "SVG": b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'><image href='file:///etc/passwd'/></svg>",
    "XML": b"<?xml version='1.0'?><!DOCTYPE svg [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><svg>&x;</svg>",
    "HTML": b"<html><img src=x></html>",
    "PDF": b"%PDF-1.7\n1 0 obj\n",
    "PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
    "binary EPS": b"\xc5\xd0\xd3\xc6" + bytes(60),
    "zip": archive(),
    "gzip": b"\x1f\x8b\x08\0" + bytes(40),
    "tar": bytes(257) + b"ustar\0" + bytes(300),
    "TrueType": b"\0\1\0\0\0\x0a" + bytes(60),
    "WOFF": b"wOFF" + bytes(60),
    "ICO": b"\0\0\1\0\1\0" + bytes(60),
    "ICNS": saved(Image.new("RGBA", (32, 32)), "ICNS"),
    "JPEG 2000": saved(noise(), "JPEG2000"),
    "PCX": saved(noise(), "PCX"),
    "PPM": saved(noise(), "PPM"),
    "TGA": saved(noise(), "TGA"),
    "SGI": saved(noise(), "SGI"),
    "DDS": saved(noise(), "DDS"),
    "Photoshop": b"8BPS\0\1" + bytes(60),
    "MP4": b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + bytes(60),
    "WAV": b"RIFF\0\0\0\0WAVEfmt " + bytes(60),
    "ELF": b"\x7fELF" + bytes(60),
    "zeros": bytes(4096),
}


@pytest.mark.promise(
    "files that are no pictures",
    "the first bytes choose one decoder of eight",
    "orchestrator/imaging/decode.py",
)
@pytest.mark.parametrize("name", OTHERS)
def test_other_files_are_not_opened(name: str) -> None:
    said = refusal(OTHERS[name])
    assert said.startswith("is ")
    assert said.endswith("not a picture that can be read; send JPEG, PNG, WebP, AVIF, HEIC, BMP, TIFF or GIF")


SAID = {
    "text": "text",
    "SVG": "an SVG drawing",
    "XML": "an XML document",
    "HTML": "a web page (HTML)",
    "PDF": "a PDF document",
    "PostScript": "a PostScript document",
    "zip": "a ZIP archive",
    "gzip": "a gzip archive",
    "ICO": "an icon (ICO)",
    "JPEG 2000": "a JPEG 2000 picture",
    "Photoshop": "a Photoshop document",
    "MP4": "a video (MP4, QuickTime)",
}


@pytest.mark.parametrize("name", SAID)
def test_what_a_file_is_instead_is_said(name: str) -> None:
    assert refusal(OTHERS[name]).startswith(f"is {SAID[name]}, not a picture that can be read; ")


@pytest.mark.parametrize(
    "page", [b"<!DOCTYPE HTML>\n<p>", b"\n  <HTML><body>", b"\xef\xbb\xbf<!doctype html>", b"<head>"]
)
def test_a_page_in_any_spelling_is_a_page(page: bytes) -> None:
    assert refusal(page).startswith("is a web page (HTML), ")


@pytest.mark.parametrize("name", VALID)
@pytest.mark.parametrize("kept", [0.03, 0.3, 0.6, 0.95])
def test_files_that_were_cut_off(name: str, kept: float) -> None:
    data = VALID[name]
    assert refusal(data[: max(12, int(len(data) * kept))]).endswith("broken or cut off; send a whole one")


@pytest.mark.parametrize("name", VALID)
def test_what_is_appended_is_left_alone(name: str) -> None:
    """An archive behind a picture, or a script inside one, is bytes that nobody reads."""
    whole = decode(VALID[name], LIMITS, "image")
    assert (decode(VALID[name] + archive(), LIMITS, "image") == whole).all()
    assert (decode(VALID[name] + b"<script>alert(1)</script>", LIMITS, "image") == whole).all()


def test_a_gif_that_is_a_script_too() -> None:
    """Its width, 10,799, begins a comment of a script; to us it is a wide picture."""
    script = VALID["GIF"][:6] + b"/*" + VALID["GIF"][8:] + b"*/=1;alert(1)"
    picture = decode(script, LIMITS, "image")
    assert picture.shape[:2] == (40, 10_799)
    assert (picture[:, :40, :3] == decode(VALID["GIF"], LIMITS, "image")).all()


def test_sizes_are_named() -> None:
    limits = DecodeLimits(max_pixels=1599, max_side=30_000)
    expected = "is 40 x 40 pixels; the limit is 1599 pixels in all and 30000 on a side"
    for name, data in VALID.items():
        assert refusal(data, limits) == expected, name
        assert decode(data, DecodeLimits(max_pixels=1600, max_side=40), "image").shape[:2] == (40, 40)
    assert refusal(VALID["PNG"], DecodeLimits(max_side=39)).startswith("is 40 x 40 pixels")


def webp(body: bytes) -> bytes:
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


HUGE: dict[str, Callable[[], bytes]] = {
    "PNG": lambda: files.huge_png(30_000, 1_000_000),
    "JPEG": lambda: VALID["JPEG"].replace(struct.pack(">HH", 40, 40), struct.pack(">HH", 30_000, 30_000), 1),
    "BMP": lambda: VALID["BMP"][:18] + struct.pack("<ii", 30_000, 30_000) + VALID["BMP"][26:],
    "GIF": lambda: VALID["GIF"][:6] + struct.pack("<HH", 30_000, 30_000) + VALID["GIF"][10:],
    "GIF frame": lambda: VALID["GIF"].replace(
        b"," + struct.pack("<HHHH", 0, 0, 40, 40), b"," + struct.pack("<HHHH", 0, 0, 30_000, 30_000), 1
    ),
    "WebP": lambda: webp(b"VP8X" + struct.pack("<IIHBHB", 10, 0, 16_382, 0, 16_382, 0) + VALID["WEBP"][12:]),
    "TIFF": lambda: tiff_with({256: 30_000, 257: 30_000}),
    "TIFF tile": lambda: tiff_with({322: 30_000, 323: 30_000, 324: 8, 325: 100}),
}


def tiff_with(tags: dict[int, int]) -> bytes:
    """A TIFF of 40 x 40, some of its tags others."""
    usual = {256: 40, 257: 40, 258: 8, 259: 8, 262: 1, 273: 8, 277: 1, 278: 40, 279: 100}
    entries = {**usual, **tags}
    pixels = zlib.compress(bytes(1600)).ljust(100, b"\0")
    table = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(entries.items()))
    return b"II*\0" + struct.pack("<I", 8 + len(pixels)) + pixels + struct.pack("<H", len(entries)) + table + bytes(4)


MEASURE = """
import resource, sys
from pathlib import Path
from orchestrator.errors import InvalidRequestError
from orchestrator.imaging.decode import DecodeLimits, decode
from tests.unit.imaging.files import saved, huge_png, png
data = Path(sys.argv[1]).read_bytes()
small = Path(sys.argv[2]).read_bytes()
decode(small, DecodeLimits(), "image")  # what is loaded once is loaded
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    print(decode(data, DecodeLimits(), "image").shape)
except InvalidRequestError as error:
    print(error)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def cost(data: bytes, small: bytes, folder: Path) -> tuple[str, int]:
    """What comes of a file, and the kilobytes of memory that it took, measured in a process of its own."""
    paths = (folder / "data", folder / "small")
    for path, content in zip(paths, (data, small), strict=True):
        path.write_bytes(content)
    command = [sys.executable, "-c", MEASURE, *map(str, paths)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S603 - our own
    said, growth = [line for line in done.stdout.splitlines() if "picture refused" not in line][-2:]
    return said, int(growth)


@pytest.mark.promise(
    "pictures that unpack to gigabytes",
    "the header's size is refused before pixels are decoded",
    "orchestrator/imaging/decode.py",
)
@pytest.mark.parametrize("name", HUGE)
def test_huge_pictures_are_refused_before_they_are_decoded(name: str, tmp_path: Path) -> None:
    data = HUGE[name]()
    small = VALID[name.split(maxsplit=1)[0].upper()]
    said, growth = cost(data, small, tmp_path)
    assert "000 pixels; the limit is 67108864 pixels" in said or "16383 x 16383 pixels" in said
    assert growth < 4096


def test_a_gif_of_ten_thousand_frames_costs_as_much_as_one(tmp_path: Path) -> None:
    data = files.many_frames(10_000)
    assert decode(data, LIMITS, "image").tolist() == [[[255, 0, 0]] * 2] * 2
    said, growth = cost(data, VALID["GIF"], tmp_path)
    assert said == "(2, 2, 3)"
    assert growth < 4096


BOMB = zlib.compress(bytes(200 << 20))
CHUNKS = {
    "zTXt": chunk(b"zTXt", b"a\0\0" + BOMB),
    "iTXt": chunk(b"iTXt", b"a\0\1\0\0\0" + BOMB),
    "iCCP": chunk(b"iCCP", b"a\0\0" + BOMB),
    "many": chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(1 << 19))) * 400,
}


@pytest.mark.parametrize("name", CHUNKS)
def test_chunks_that_unpack_to_much_are_left_out(name: str, tmp_path: Path) -> None:
    """200 MB each; of an ICC profile no more than its limit is unpacked."""
    data = png((1, 1), 8, files.GREY, b"\0\0", CHUNKS[name])
    said, growth = cost(data, VALID["PNG"], tmp_path)
    assert said == "(1, 1, 3)"
    assert growth < (40 << 10 if name == "iCCP" else 1 << 10)


def test_pixels_that_unpack_to_more_than_there_are(tmp_path: Path) -> None:
    """A PNG of one pixel with 200 MB behind it: they are not unpacked."""
    data = png((1, 1), 8, files.GREY, b"\0\x07", chunk(b"IDAT", zlib.compress(b"\0\x07" + bytes(200 << 20))))
    _, growth = cost(data, VALID["PNG"], tmp_path)
    assert growth < 8192


def test_a_progressive_file_of_too_many_scans() -> None:
    data = VALID["progressive"]
    start = data.rindex(b"\xff\xda")
    scan = data[start:-2]
    assert refusal(data[:-2] + scan * MAX_SCANS + data[-2:]) == f"is a JPEG file of more than {MAX_SCANS} scans"


def test_fewer_scans_are_taken_of_a_larger_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each scan walks over all pixels: what is bounded is their product, as it is for the largest picture here."""
    data = VALID["progressive"]
    scans, pixels = data.count(b"\xff\xda"), decode(data, DecodeLimits(), "image").size // 3
    monkeypatch.setattr("orchestrator.imaging.decode.MAX_SCANNED", scans * pixels)
    assert decode(data, DecodeLimits(), "image").size // 3 == pixels
    monkeypatch.setattr("orchestrator.imaging.decode.MAX_SCANNED", scans * pixels - 1)
    assert refusal(data).startswith(f"is a JPEG file of {scans} scans, too many for")


@pytest.mark.parametrize("mode", ["F", "I"])
def test_samples_of_32_bits_are_refused(mode: str) -> None:
    assert "send 8 or 16 bit" in refusal(saved(Image.new(mode, (4, 4)), "TIFF"))


@pytest.mark.parametrize(
    "tags",
    [
        {256: 0},
        {257: 0},
        {258: 65_535},
        {259: 65_535},
        {262: 65_535},
        {273: 4_294_967_295},
        {277: 65_535},
        {278: 0},
        {279: 4_294_967_295},
        {322: 0, 323: 0, 324: 8, 325: 100},
        {34_665: 4_294_967_295, 256: 0},
        {34_675: 4_294_967_295, 256: 0},
    ],
)
def test_absurd_tags(tags: dict[int, int]) -> None:
    assert decode(tiff_with({}), LIMITS, "image").shape == (40, 40, 3)  # the file without them is fine
    assert refusal(tiff_with(tags)).startswith(("is a TIFF file", "has samples"))


def attempt(data: bytes) -> None:
    """Read a file, or refuse it: nothing else may come of it."""
    try:
        picture = decode(data, LIMITS, "image")
    except InvalidRequestError:
        return
    assert picture.dtype == np.uint8
    assert picture.ndim == 3
    assert picture.size > 0


@given(st.binary(max_size=300))
@example(b"BM")
def test_any_bytes(data: bytes) -> None:
    attempt(data)


MAGIC = (
    b"\xff\xd8\xff",
    files.PNG_MAGIC,
    b"GIF89a",
    b"BM",
    b"II*\0",
    b"MM\0*",
    b"II+\0\x08\0\0\0",
    b"RIFF\0\0\0\0WEBP",
    b"\0\0\0\x18ftypheic",
    b"\0\0\0\x18ftypavif",
)


@given(st.sampled_from(MAGIC), st.binary(max_size=300))
def test_any_bytes_behind_the_start_of_a_picture(magic: bytes, data: bytes) -> None:
    attempt(magic + data)


@pytest.mark.promise(
    "broken decoders",
    "random and changed bytes are refused in words, never crash",
    "orchestrator/imaging/decode.py",
)
@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.sampled_from(sorted(VALID)), st.data())
def test_pictures_with_changed_bytes(name: str, drawn: st.DataObject) -> None:
    data = bytearray(VALID[name])
    ends = st.one_of(st.integers(0, min(len(data), 400) - 1), st.integers(0, len(data) - 1))  # headers more often
    for place, byte in drawn.draw(st.lists(st.tuples(ends, st.integers(0, 255)), min_size=1, max_size=12)):
        data[place] = byte
    attempt(
        bytes(data[: drawn.draw(st.integers(len(data) // 2, len(data)))]) if drawn.draw(st.booleans()) else bytes(data)
    )


def test_several_threads_read_at_once() -> None:
    expected = {name: decode(data, LIMITS, "image") for name, data in VALID.items()}
    wrong: list[str] = []

    def read() -> None:
        for name, data in [*VALID.items()] * 3:
            if not (decode(data, LIMITS, "image") == expected[name]).all():
                wrong.append(name)

    threads = [threading.Thread(target=read) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
