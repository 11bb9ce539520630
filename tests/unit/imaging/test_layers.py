"""Pictures with opacity: resized, placed, laid over each other, and written."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.arrays import Pixels
from orchestrator.imaging import codec, layers
from orchestrator.params import ImageFormat, OutputParams

sides = st.integers(1, 60)
bytes_of = st.integers(0, 255)


def disc(side: int, color: tuple[int, int, int], hidden: tuple[int, int, int]) -> Pixels:
    """An opaque disc of a colour; `hidden` is what the transparent pixels around it have for a colour."""
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    inside = x**2 + y**2 < (side / 2 - 3) ** 2
    picture = np.where(inside[..., None], color, hidden)
    return np.dstack([picture, np.where(inside, 255, 0)]).astype(np.uint8)


@given(sides, sides, sides, sides, st.sampled_from([3, 4]))
def test_sizes_are_exact_and_a_plain_colour_stays(
    have_width: int, have_height: int, width: int, height: int, channels: int
) -> None:
    color = (10, 120, 250, 200)[:channels]
    resized = layers.resized(layers.filled((have_width, have_height), color), (width, height))
    assert resized.shape == (height, width, channels)
    assert (np.abs(resized.astype(int) - color) <= 1).all()


@pytest.mark.parametrize("size", [(20, 20), (100, 100), (300, 300), (100, 30), (30, 100), (150, 60)])
@pytest.mark.parametrize("hidden", [(0, 0, 0), (255, 255, 255), (0, 255, 0)])
def test_hidden_colours_do_not_come_out(size: tuple[int, int], hidden: tuple[int, int, int]) -> None:
    """No dark, white or green border: wherever anything is seen, it has the disc's colour."""
    resized = layers.resized(disc(80, (200, 90, 40), hidden), size)
    seen = resized[resized[..., 3] > 8][:, :3].astype(int)
    assert len(seen) > 100
    assert np.abs(seen - (200, 90, 40)).max() <= 16  # 8 bits of colour times 8 of 255 opacity
    whole = resized[resized[..., 3] == 255][:, :3].astype(int)
    assert np.abs(whole - (200, 90, 40)).max() <= 1


def test_enlarging_opacity_does_not_ring() -> None:
    """The disc's inside stays opaque, the outside transparent."""
    alpha = layers.resized(disc(80, (200, 90, 40), (0, 0, 0)), (240, 240))[..., 3]
    y, x = np.mgrid[:240, :240] - 119.5
    radius = np.hypot(x, y)
    assert (alpha[radius < 104] == 255).all()
    assert (alpha[radius > 118] == 0).all()


def test_the_same_size_is_the_same_picture() -> None:
    picture = disc(20, (1, 2, 3), (4, 5, 6))
    assert layers.resized(picture, (20, 20)) is picture


@given(sides, sides, sides, sides, st.integers(-80, 80), st.integers(-80, 80))
def test_placing_keeps_every_pixel_that_is_inside(
    width: int, height: int, own_width: int, own_height: int, left: int, top: int
) -> None:
    picture = np.arange(own_height * own_width * 3).reshape(own_height, own_width, 3).astype(np.uint8)
    canvas = layers.placed(picture, (width, height), left, top)
    assert canvas.shape == (height, width, 4)
    for y, x in (
        (y, x) for y in range(max(0, top), min(height, top + own_height)) for x in (left, left + own_width - 1)
    ):
        if 0 <= x < width:
            assert canvas[y, x].tolist() == [*picture[y - top, x - left].tolist(), 255]
    columns = max(0, min(width, left + own_width) - max(0, left))
    inside = columns * max(0, min(height, top + own_height) - max(0, top))
    assert (canvas[..., 3] == 255).sum() == inside
    assert (canvas[..., 3] > 0).sum() == inside


@given(st.lists(bytes_of, min_size=4, max_size=4), st.lists(bytes_of, min_size=3, max_size=4))
def test_over_is_porter_and_duffs(front: list[int], back: list[int]) -> None:
    result = layers.over(np.array([[front]], np.uint8), np.array([[back]], np.uint8))[0, 0].tolist()
    share = front[3] / 255
    behind = (back[3] / 255 if len(back) == 4 else 1.0) * (1 - share)
    alpha = share + behind
    assert len(result) == len(back)
    if len(back) == 4:
        assert result[3] == pytest.approx(alpha * 255, abs=0.51)
    if alpha > 0:
        colours = [(f * share + b * behind) / alpha for f, b in zip(front[:3], back, strict=False)]
        assert result[:3] == pytest.approx(colours, abs=0.51)
    if front[3] == 255:
        assert result[:3] == front[:3]
    if front[3] == 0 and behind == 1.0:
        assert result[:3] == back[:3]


def test_an_opaque_front_hides_everything() -> None:
    front, back = disc(20, (1, 2, 3), (9, 9, 9))[..., :3], layers.filled((20, 20), (50, 60, 70))
    assert layers.over(front, back) is front


def test_alpha_of_its_own_or_given() -> None:
    picture = layers.filled((3, 2), (5, 6, 7))
    assert layers.with_alpha(picture).tolist() == layers.filled((3, 2), (5, 6, 7, 255)).tolist()
    clear = layers.with_alpha(picture, np.full((2, 3), 0.5))
    assert clear[0, 0].tolist() == [5, 6, 7, 128]
    assert layers.with_alpha(clear) is clear
    assert layers.with_alpha(clear, np.ones((2, 3)))[..., 3].min() == 255


def test_the_colour_of_a_frame() -> None:
    picture = layers.filled((39, 39), (250, 240, 230))
    picture[2:37, 2:37] = 0
    picture[0, :2] = (255, 0, 0)
    picture[38] = (245, 235, 225)  # light falls off
    assert layers.frame_color(picture) == (250, 240, 230)


def test_without_a_frame_it_is_white() -> None:
    """The object reaches the border, the border has many colours, or nothing is seen of it."""
    picture = layers.filled((40, 40), (250, 240, 230))
    clear = layers.with_alpha(picture, np.zeros((40, 40)))
    half = layers.with_alpha(picture, np.where(np.arange(40)[:, None] < 20, 1.0, 0.0) * np.ones((40, 40)))
    cut = picture.copy()
    cut[20:, 10:35] = (30, 60, 20)
    noise = np.random.default_rng(1).integers(0, 256, (40, 40, 3), np.uint8)
    for each in (clear, half, cut, noise):
        assert layers.frame_color(each) == (255, 255, 255)


def read(data: bytes) -> Pixels:
    bgra = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert bgra is not None
    code = cv2.COLOR_BGRA2RGBA if bgra.shape[2] == 4 else cv2.COLOR_BGR2RGB
    return np.asarray(cv2.cvtColor(bgra, code), np.uint8)


def ramp() -> Pixels:
    """One colour, its opacity a ramp."""
    alpha = np.broadcast_to(np.arange(0, 256, 5), (40, 52))
    return np.dstack([layers.filled((52, 40), (200, 100, 20)), alpha]).astype(np.uint8)


def test_png_keeps_opacity_and_hidden_colours() -> None:
    assert (read(codec.encode(ramp(), OutputParams(format=ImageFormat.PNG)).data) == ramp()).all()


@pytest.mark.parametrize("quality", [60, 85, 100])
def test_webp_keeps_opacity(quality: int) -> None:
    picture = read(codec.encode(ramp(), OutputParams(format=ImageFormat.WEBP, quality=quality)).data)
    assert (picture[..., 3] == ramp()[..., 3]).all()
    assert np.abs(picture[20, 40:, :3].astype(int) - (200, 100, 20)).max() <= (0 if quality == 100 else 12)


def test_jpeg_is_laid_over_white() -> None:
    flat = read(codec.encode(ramp(), OutputParams(format=ImageFormat.JPEG, quality=95)).data)
    assert flat.shape == (40, 52, 3)
    share = ramp()[..., 3:] / 255
    assert np.abs(flat - (255 + share * (np.array([200, 100, 20]) - 255))).max() < 8


@pytest.mark.parametrize(("image_format", "limit"), [(ImageFormat.JPEG, 4000), (ImageFormat.WEBP, 7000)])
def test_a_limit_holds_with_opacity_too(image_format: ImageFormat, limit: int) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 4), np.uint8)
    output = OutputParams(format=image_format, quality=90, max_file_size=limit)
    encoded = codec.encode(noise, output)
    assert len(encoded.data) <= limit
    assert encoded.quality is not None
    assert encoded.quality < 90
