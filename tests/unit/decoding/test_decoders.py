"""Files in decoding processes: what comes back, and that nothing but one request ends with a process."""

import asyncio
import os
import signal
import zlib
from collections.abc import AsyncIterator, Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from structlog.testing import capture_logs

from common.errors import SettingsError
from orchestrator.arrays import Pixels
from orchestrator.decoding.decoders import DecoderProcess, Decoders
from orchestrator.errors import InvalidRequestError, Reason
from orchestrator.imaging.decode import DecodeLimits, Measured, decode
from tests.unit.imaging import files
from tests.unit.imaging.files import saved

LIMITS = DecodeLimits()
FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "HEIF", "BMP", "TIFF", "GIF")


@pytest.fixture(scope="module")
def process() -> Iterator[DecoderProcess]:
    started = DecoderProcess()
    yield started
    started.close()


@pytest.fixture
async def decoders(process: DecoderProcess) -> AsyncIterator[Decoders]:
    """Every decoder is dead after a test."""
    yield Decoders(process, at_once=3, seconds=60)
    await no_children(process)


async def no_children(process: DecoderProcess) -> None:
    async with asyncio.timeout(30):
        while children(process):  # noqa: ASYNC110 - no event reports another process's children
            await asyncio.sleep(0.01)


def children(process: DecoderProcess) -> list[int]:
    """Process ids of the decoders."""
    if process._process is None:  # it is being started
        return []
    pid = process._process.pid
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_dead(pid: int) -> bool:
    """Whether a process is gone, or about to be buried by its parent."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in {"Z", "X"}
    except (FileNotFoundError, ProcessLookupError):
        return True


def cpu_ticks(pid: int) -> int:
    """CPU time of a process, in hundredths of a second (proc(5): utime)."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11])


def environment(process: DecoderProcess) -> bytes:
    process.start()
    assert process._process is not None
    return Path(f"/proc/{process._process.pid}/environ").read_bytes()


async def running(process: DecoderProcess) -> int:
    """The decoder that runs, once there is one."""
    async with asyncio.timeout(30):
        while not (found := children(process)):  # noqa: ASYNC110 - the same
            await asyncio.sleep(0.005)
    return found[0]


async def refusal(decoders: Decoders, data: bytes, memory: int = 1 << 30) -> str:
    with pytest.raises(InvalidRequestError) as caught:
        await decoders.decode(data, LIMITS, "edit.image", memory)
    (violation,) = caught.value.violations
    assert (violation.field, violation.reason) == ("edit.image", Reason.UNIDENTIFIED_IMAGE)
    return violation.description


def picture() -> Pixels:
    return np.random.default_rng(0).integers(0, 256, (60, 90, 3), np.uint8)


@cache
def slow_file() -> bytes:
    """A progressive JPEG of 16 megapixels that takes a minute: its last scan comes 40 times more."""
    image = Image.effect_noise((4000, 4000), 80).convert("RGB")
    data = saved(image, "JPEG", quality=95, progressive=True)
    start = data.rindex(b"\xff\xda")
    return data[:start] + data[start:-2] * 40 + data[-2:]


@pytest.mark.parametrize("image_format", FORMATS)
@pytest.mark.parametrize("alpha", [False, True], ids=["opaque", "transparent"])
async def test_pixels_are_those_of_decoding_here(decoders: Decoders, image_format: str, *, alpha: bool) -> None:
    image = Image.fromarray(picture())
    if alpha and image_format not in {"JPEG", "BMP"}:
        image.putalpha(Image.linear_gradient("L").resize(image.size))
    data = saved(image, image_format)
    measured = await decoders.measure(data, LIMITS, "image")
    pixels = await decoders.decode(data, LIMITS, "image", measured.memory)
    assert np.array_equal(pixels, decode(data, LIMITS, "image"))
    assert (measured.height, measured.width) == pixels.shape[:2]
    pixels[0, 0] = 7  # it is this process's own, and may be written to


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF"])
async def test_the_measured_size_is_the_upright_one(decoders: Decoders, image_format: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    measured = await decoders.measure(saved(picture(), image_format, exif=exif.tobytes()), LIMITS, "image")
    assert (measured.width, measured.height, measured.pixels) == (60, 90, 5400)


async def test_a_header_is_read_in_little_memory(decoders: Decoders) -> None:
    """A WebP of 38 bytes, for which libwebp would take 512 MiB as it opens it."""
    data = saved(Image.new("RGBA", (8192, 8192), (200, 30, 40, 128)), "WEBP", lossless=True, quality=0, method=0)
    measured = await decoders.measure(data, LIMITS, "image")
    assert (measured.width, measured.height) == (8192, 8192)
    with pytest.raises(InvalidRequestError, match="16383 x 16383 pixels"):
        await decoders.measure(data[:21] + b"\xfe\xbf\xff\x1f" + data[25:], LIMITS, "image")


async def test_an_alpha_that_is_opaque_is_left_out(decoders: Decoders) -> None:
    opaque = np.dstack([picture(), np.full((60, 90), 255, np.uint8)])
    pixels = await decoders.decode(saved(opaque, "PNG"), LIMITS, "image", 1 << 28)
    assert np.array_equal(pixels, picture())
    assert pixels.flags.c_contiguous


async def test_refusals_are_those_of_decoding_here_and_are_logged_here(decoders: Decoders) -> None:
    data = saved(picture(), "PNG")[:300]
    with pytest.raises(InvalidRequestError) as here:
        decode(data, LIMITS, "edit.image")
    with capture_logs() as lines, pytest.raises(InvalidRequestError) as there:
        await decoders.decode(data, LIMITS, "edit.image", 1 << 28)
    assert there.value.violations == here.value.violations
    assert [line["event"] for line in lines] == ["picture refused"]
    with pytest.raises(InvalidRequestError, match="limit"):
        await decoders.measure(saved(picture(), "PNG"), DecodeLimits(max_pixels=100), "image")


@pytest.mark.promise(
    "a decoder that crashes, hangs or takes all memory",
    ("each file is decoded in a process of its own, with limits of memory and time; it ends one request"),
    "orchestrator/decoding/process.py",
)
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT])
async def test_a_crash_ends_one_request_and_no_other(
    decoders: Decoders, process: DecoderProcess, end: signal.Signals
) -> None:
    slow = asyncio.create_task(refusal(decoders, slow_file()))
    os.kill(await running(process), end)
    others = await asyncio.gather(*(decoders.decode(saved(picture(), "PNG"), LIMITS, "x", 1 << 28) for _ in range(3)))
    assert all(np.array_equal(other, picture()) for other in others)
    assert await slow == "cannot be decoded: its decoder crashed; send it as another kind of file"


async def test_the_process_is_started_again(decoders: Decoders, process: DecoderProcess) -> None:
    await decoders.measure(saved(picture(), "PNG"), LIMITS, "x")
    assert process._process is not None
    before = process._process.pid
    os.kill(before, signal.SIGKILL)
    process._process.wait()
    measured = await decoders.measure(saved(picture(), "PNG"), LIMITS, "x")
    assert (measured.width, measured.height) == (90, 60)
    assert process._process.pid != before


async def test_a_file_that_takes_too_long_is_given_up(process: DecoderProcess) -> None:
    decoders = Decoders(process, at_once=1, seconds=1)
    said = await refusal(decoders, slow_file())
    assert said == "takes more than 1 seconds to decode; send a smaller or simpler file"
    await no_children(process)


async def test_a_request_that_is_cancelled_ends_its_decoder(decoders: Decoders, process: DecoderProcess) -> None:
    request = asyncio.create_task(decoders.decode(slow_file(), LIMITS, "x", 1 << 30))
    decoder = await running(process)
    async with asyncio.timeout(30):
        while cpu_ticks(decoder) < 10:  # noqa: ASYNC110 - it decodes; no event says so
            await asyncio.sleep(0.005)
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    assert is_dead(decoder)


async def test_memory_is_bounded_by_what_was_measured(decoders: Decoders) -> None:
    data = files.huge_png(4000, 100)
    measured = await decoders.measure(data, LIMITS, "x")
    assert measured.memory < 16 * 4000**2 + (100 << 20)
    assert await refusal(decoders, data, 20 << 20) == "needs more memory than a picture of its size may take"
    assert (await decoders.decode(data, LIMITS, "x", measured.memory)).shape == (4000, 4000, 3)


async def test_a_lying_header_takes_no_more_than_it_says(decoders: Decoders) -> None:
    """An iTXt chunk of 200 MB and a profile of 200 MB are not unpacked, and the picture is read."""
    packed = zlib.compress(bytes(200 << 20))
    chunks = files.chunk(b"iCCP", b"a\0\0" + packed), files.chunk(b"iTXt", b"a\0\1\0\0\0" + packed)
    data = files.png((1, 1), 8, files.GREY, b"\0\0", *chunks)
    measured = await decoders.measure(data, LIMITS, "x")
    assert (await decoders.decode(data, LIMITS, "x", measured.memory)).shape == (1, 1, 3)


@pytest.mark.promise(
    "keys read by a broken decoder",
    "its process has no settings and no keys in its environment",
    "orchestrator/decoding/decoders.py",
)
def test_the_process_knows_no_settings_and_no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGEGEN_DATABASE_URL", "postgresql://secret")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    own = DecoderProcess()
    try:
        assert b"secret" not in environment(own)
    finally:
        own.close()


async def test_many_at_once_take_turns(process: DecoderProcess) -> None:
    decoders, most = Decoders(process, at_once=2, seconds=60), 0

    async def watch() -> None:
        nonlocal most
        while True:
            most = max(most, len(children(process)))
            await asyncio.sleep(0.002)

    watching = asyncio.create_task(watch())
    data = saved(picture(), "PNG")
    found = await asyncio.gather(*(decoders.measure(data, LIMITS, "x") for _ in range(12)))
    watching.cancel()
    assert {(each.width, each.height) for each in found} == {(90, 60)}
    assert isinstance(found[0], Measured)
    assert 1 <= most <= 2


async def test_a_system_on_which_files_cannot_be_decoded_is_named_at_start(
    process: DecoderProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    await Decoders(process, at_once=1, seconds=60).prove()
    broken = DecoderProcess()
    monkeypatch.setattr("sys.executable", "/bin/false")
    try:
        with pytest.raises(SettingsError, match=r"files cannot be decoded here .* needs Linux 5.3 or newer"):
            await Decoders(broken, at_once=1, seconds=60).prove()
    finally:
        broken.close()
