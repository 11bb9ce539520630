"""Sizes, pixels and previews."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.diffusion.latents import (
    choose_aspect_size,
    from_pixels,
    latent_shape,
    preview,
    rescale,
    to_pixels,
    unscale,
)
from orchestrator.diffusion.noise import start_noise

ASPECT_SIZES = [(128, 128), (160, 128), (128, 160), (160, 96), (96, 160), (192, 96), (96, 192), (256, 64), (64, 256)]
sides = st.integers(64, 4096)


@pytest.mark.parametrize(
    ("asked", "bucket"),
    [
        ((512, 512), (128, 128)),
        ((2048, 1024), (192, 96)),
        ((1024, 2048), (96, 192)),
        ((4096, 64), (256, 64)),
        ((64, 4096), (64, 256)),
        ((640, 512), (160, 128)),
        ((1600, 960), (160, 96)),
        ((65, 64), (128, 128)),
    ],
)
def test_bucket_of_known_sizes(asked: tuple[int, int], bucket: tuple[int, int]) -> None:
    assert choose_aspect_size(ASPECT_SIZES, *asked) == bucket


@given(sides, sides)
def test_no_bucket_has_a_nearer_aspect_ratio(width: int, height: int) -> None:
    def distance(size: tuple[int, int]) -> float:
        return abs(math.log(size[0] / size[1]) - math.log(width / height))

    assert distance(choose_aspect_size(ASPECT_SIZES, width, height)) <= min(map(distance, ASPECT_SIZES)) + 1e-12


@given(sides, sides)
def test_turning_the_picture_turns_the_bucket(width: int, height: int) -> None:
    turned = choose_aspect_size([(h, w) for w, h in ASPECT_SIZES], height, width)
    assert choose_aspect_size(ASPECT_SIZES, width, height) == turned[::-1]


def test_equal_ratios_are_decided_by_pixel_count() -> None:
    assert choose_aspect_size([(512, 512), (1024, 1024)], 900, 900) == (1024, 1024)
    assert choose_aspect_size([(512, 512), (1024, 1024)], 64, 64) == (512, 512)


def test_a_square_between_mirrored_buckets_is_an_exact_tie() -> None:
    assert choose_aspect_size([(160, 128), (128, 160)], 100, 100) == (160, 128)
    assert choose_aspect_size([(128, 160), (160, 128)], 100, 100) == (128, 160)


def test_latent_shape() -> None:
    assert latent_shape((160, 96), 4, 8) == (1, 4, 12, 20)
    with pytest.raises(ValueError, match="100 x 96 is not a multiple of 8"):
        latent_shape((100, 96), 4, 8)


def test_unscale_keeps_float32() -> None:
    latents = np.array([[[[0.18215, -0.36430]]]], np.float32)
    result = unscale(latents, 0.18215, 0.5)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, [[[[1.5, -1.5]]]], rtol=1e-6)


def test_pixels_are_clipped_rounded_and_channel_last() -> None:
    image = np.zeros((1, 3, 2, 4), np.float32)
    image[0, 0], image[0, 1, 1], image[0, 2, :, 3] = 1.7, -3.0, 1.0
    pixels = to_pixels(image)
    assert pixels.shape == (2, 4, 3)
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous
    assert pixels[0, 0].tolist() == [255, 128, 128]  # 127.5 goes to the even 128
    assert pixels[1, 3].tolist() == [255, 0, 255]
    np.testing.assert_array_equal(to_pixels(image[0]), pixels)


def test_every_byte_survives_the_way_to_the_decoders_range_and_back() -> None:
    bytes_ = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)
    image = bytes_.transpose(2, 0, 1).astype(np.float32) / 127.5 - 1
    np.testing.assert_array_equal(to_pixels(image), bytes_)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_picture_that_overflowed_is_refused(bad: float) -> None:
    image = np.zeros((1, 3, 8, 8), np.float32)
    image[0, 1, 2, 3] = bad
    with pytest.raises(FloatingPointError, match="not finite"):
        to_pixels(image)


def test_preview_is_the_linear_map_of_each_latent() -> None:
    latents = np.zeros((1, 4, 2, 3), np.float32)
    latents[0, 2, 1, 2] = 2.0
    factors = np.zeros((4, 3), np.float32)
    factors[2] = [0.5, -0.25, 0.0]
    pixels = preview(latents, factors, np.array([-1.0, 0.0, 0.2], np.float32))
    assert pixels.shape == (2, 3, 3)
    assert pixels[0, 0].tolist() == [0, 128, 153]
    assert pixels[1, 2].tolist() == [128, 64, 153]


def test_preview_of_an_overflow_is_a_picture_all_the_same() -> None:
    """A preview may be ugly; the picture itself says what went wrong."""
    latents = np.full((1, 4, 2, 2), np.nan, np.float32)
    assert preview(latents, np.ones((4, 3), np.float32), np.zeros(3, np.float32)).shape == (2, 2, 3)


@pytest.mark.parametrize("height", [1, 127, 128, 129, 300])
def test_pictures_of_any_height_go_there_and_back(height: int) -> None:
    """Converted strip by strip: none is forgotten, and each value is the nearest."""
    pixels = np.random.default_rng(height).integers(0, 256, (height, 5, 3)).astype(np.uint8)
    image = from_pixels(pixels)
    np.testing.assert_allclose(image[0].transpose(1, 2, 0), pixels / 127.5 - 1, atol=1e-6)
    np.testing.assert_array_equal(to_pixels(image), pixels)


def test_the_decoders_scale_is_the_encoders_inverse() -> None:
    latents = start_noise(1, (1, 4, 3, 5))
    np.testing.assert_allclose(rescale(unscale(latents, 0.18215, 0.1), 0.18215, 0.1), latents, atol=1e-6)
