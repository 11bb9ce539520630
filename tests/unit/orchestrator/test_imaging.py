"""Resizing and file formats."""

import math
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.arrays import Pixels
from orchestrator.errors import PreconditionError
from orchestrator.imaging import codec, geometry
from orchestrator.params import ImageFormat, OutputParams

sides = st.integers(1, 150)


def scene(width: int, height: int) -> Pixels:
    """A smooth picture with an edge, each channel another."""
    y, x = np.mgrid[:height, :width]
    red = 255 * x / max(1, width - 1)
    green = 255 * y / max(1, height - 1)
    blue = np.where(x + y < (width + height) / 2, 30, 220)
    return np.stack([red, green, blue], axis=-1).astype(np.uint8)


def decode(data: bytes) -> Pixels:
    """RGB of a file, by OpenCV."""
    bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert bgr is not None
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)


def error(a: Pixels, b: Pixels) -> float:
    """Mean absolute difference."""
    return float(np.abs(a.astype(float) - b).mean())


@given(sides, sides, sides, sides)
def test_cover_gives_exactly_the_size(have_width: int, have_height: int, width: int, height: int) -> None:
    picture = np.full((have_height, have_width, 3), (10, 120, 250), np.uint8)
    covered = geometry.cover(picture, width, height)
    assert covered.shape == (height, width, 3)
    assert covered.dtype == np.uint8
    assert covered.flags.c_contiguous
    # No border comes in, channels stay in order; Lanczos' integer weights may round by one.
    assert (np.abs(covered.astype(int) - (10, 120, 250)) <= 1).all()


@pytest.mark.parametrize("size", [(64, 4096), (4096, 64), (4096, 4096)])
@pytest.mark.parametrize("bucket", [(128, 128), (64, 256), (256, 64)])
def test_cover_reaches_the_largest_sizes(bucket: tuple[int, int], size: tuple[int, int]) -> None:
    assert geometry.cover(scene(*bucket), *size).shape == (size[1], size[0], 3)


def test_the_same_size_changes_nothing() -> None:
    picture = scene(40, 30)
    assert (geometry.cover(picture, 40, 30) == picture).all()


@pytest.mark.parametrize(
    ("have", "want"),
    [((200, 200), (600, 300)), ((200, 200), (301, 601)), ((256, 128), (100, 100)), ((160, 96), (999, 600))],
)
def test_a_circle_stays_a_circle_in_the_middle(have: tuple[int, int], want: tuple[int, int]) -> None:
    width, height = have
    y, x = np.mgrid[:height, :width]
    inside = (x - (width - 1) / 2) ** 2 + (y - (height - 1) / 2) ** 2 < 30**2
    covered = geometry.cover(np.repeat(inside[..., None], 3, axis=2).astype(np.uint8) * 255, *want)
    rows, columns = np.nonzero(covered[..., 0] > 127)
    scale = max(want[0] / width, want[1] / height)
    assert np.ptp(columns) + 1 == pytest.approx(60 * scale, abs=1.5 * max(1, scale))
    assert np.ptp(rows) + 1 == pytest.approx(np.ptp(columns) + 1, rel=0.01, abs=1)
    assert columns.mean() == pytest.approx((want[0] - 1) / 2, abs=1)
    assert rows.mean() == pytest.approx((want[1] - 1) / 2, abs=1)


def test_the_middle_is_kept() -> None:
    picture = np.zeros((10, 30, 3), np.uint8)
    picture[:, 10:20] = 200
    assert (geometry.cover(picture, 10, 10) == 200).all()
    assert (geometry.cover(picture.transpose(1, 0, 2), 10, 10) == 200).all()


@pytest.mark.parametrize("factor", [2, 3, 7])
def test_shrinking_does_not_alias(factor: int) -> None:
    """Stripes too fine for the result become their mean, not coarser stripes."""
    stripes = np.zeros((210, 210, 3), np.uint8)
    stripes[:, ::2] = 255
    small = geometry.cover(stripes, 210 // factor, 210 // factor)
    assert np.ptp(small.astype(int)) <= 255 / factor + 1
    assert small.mean() == pytest.approx(127.5, abs=3)


def test_enlarging_is_smooth_and_faithful() -> None:
    """Nearer to the scene drawn at the larger size than repeating pixels is."""
    smooth = scene(64, 64)[..., :2]
    small = np.concatenate([smooth, smooth[..., :1]], axis=2)
    large = geometry.cover(small, 512, 512)
    truth = scene(512, 512)
    assert error(large[..., :2], truth[..., :2]) < 0.6 * error(small.repeat(8, 0).repeat(8, 1)[..., :2], truth[..., :2])


def encode(picture: Pixels, image_format: ImageFormat, **options: Any) -> codec.Encoded:
    return codec.encode(picture, OutputParams(format=image_format, **options))


def test_png_is_lossless_and_always_the_same_bytes() -> None:
    picture = scene(101, 67)
    first = encode(picture, ImageFormat.PNG)
    assert first.data.startswith(b"\x89PNG")
    assert first.quality is None
    assert (decode(first.data) == picture).all()
    assert encode(picture.copy(), ImageFormat.PNG, quality=3) == first


def test_webp_of_quality_100_is_lossless() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (33, 50, 3), np.uint8)
    assert (decode(encode(picture, ImageFormat.WEBP, quality=100).data) == picture).all()
    assert not (decode(encode(picture, ImageFormat.WEBP, quality=99).data) == picture).all()


@pytest.mark.parametrize("quality", [0, 1, 50, 85, 99, 100])
@pytest.mark.parametrize(("image_format", "start"), [(ImageFormat.JPEG, b"\xff\xd8\xff"), (ImageFormat.WEBP, b"RIFF")])
def test_lossy_formats(image_format: ImageFormat, start: bytes, quality: int) -> None:
    picture = scene(120, 80)
    encoded = encode(picture, image_format, quality=quality)
    assert encoded.data.startswith(start)
    assert encoded.quality == quality
    assert decode(encoded.data).shape == picture.shape
    assert error(decode(encoded.data), picture) < (12 if quality >= 50 else 60)


@pytest.mark.parametrize("image_format", [*ImageFormat])
def test_colours_are_not_swapped(image_format: ImageFormat) -> None:
    picture = np.full((16, 16, 3), (200, 100, 20), np.uint8)
    assert decode(encode(picture, image_format).data)[8, 8].tolist() == pytest.approx([200, 100, 20], abs=6)


@pytest.mark.parametrize("image_format", [ImageFormat.JPEG, ImageFormat.WEBP])
def test_more_quality_is_a_larger_file(image_format: ImageFormat) -> None:
    sizes = [len(encode(scene(200, 200), image_format, quality=quality).data) for quality in (5, 50, 95)]
    assert sizes == sorted(set(sizes))


@pytest.mark.parametrize("image_format", [ImageFormat.JPEG, ImageFormat.WEBP])
@pytest.mark.parametrize("limit", [1500, 2000, 2500, 4000, 6000])
def test_the_highest_quality_that_fits_is_taken(image_format: ImageFormat, limit: int) -> None:
    """Held against all qualities; size may fall a little where quality grows, so near the limit one may be missed."""
    picture = scene(200, 200)
    sizes = [len(encode(picture, image_format, quality=quality).data) for quality in range(91)]
    encoded = encode(picture, image_format, quality=90, max_file_size=limit)
    assert len(encoded.data) <= limit
    assert encoded.quality is not None
    assert encoded.data == encode(picture, image_format, quality=encoded.quality).data
    highest = max(quality for quality, size in enumerate(sizes) if size <= limit)
    first_too_large = next((quality for quality, size in enumerate(sizes) if size > limit), 91)
    assert first_too_large - 1 <= encoded.quality <= highest


def test_a_limit_that_is_kept_anyway_changes_nothing() -> None:
    picture = scene(64, 64)
    free = encode(picture, ImageFormat.JPEG, quality=70)
    assert encode(picture, ImageFormat.JPEG, quality=70, max_file_size=len(free.data)) == free
    tighter = encode(picture, ImageFormat.JPEG, quality=70, max_file_size=len(free.data) - 1)
    assert tighter.quality is not None
    assert tighter.quality < 70


@pytest.mark.parametrize("quality", [0, 1, 60])
def test_a_limit_that_nothing_keeps_is_refused(quality: int) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)
    with pytest.raises(PreconditionError, match=r"^output\.max_file_size: .* 1024 bytes"):
        encode(noise, ImageFormat.JPEG, quality=quality, max_file_size=1024)


def test_the_search_writes_a_handful_of_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bisection: 1 + log2(100) of them."""
    written: list[int] = []
    real = codec._write

    def counted(bgr: npt.NDArray[Any], extension: str, options: list[int]) -> bytes:
        written.append(options[1])
        return real(bgr, extension, options)

    monkeypatch.setattr(codec, "_write", counted)
    encode(scene(200, 200), ImageFormat.JPEG, quality=100, max_file_size=3000)
    assert len(written) <= 1 + math.ceil(math.log2(101))


@pytest.mark.parametrize("size", [(10, 10), (64, 64)])
def test_cover_keeps_hidden_colours_hidden(size: tuple[int, int]) -> None:
    """Green hides under what is transparent; wherever anything is seen, it is red."""
    picture = np.full((33, 33, 4), (0, 255, 0, 0), np.uint8)
    picture[8:25, 8:25] = (200, 0, 0, 255)
    covered = geometry.cover(picture, *size)
    seen = covered[covered[..., 3] > 32]
    assert len(seen) > 0
    assert np.abs(seen[:, :3].astype(int) - (200, 0, 0)).max() <= 8
