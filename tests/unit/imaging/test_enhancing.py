"""Photographs made better: each way does what it is for, more with its level, and nothing at level 0."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest

from orchestrator.arrays import Pixels
from orchestrator.imaging.enhancing import colors, light, noise, painted_faces, sharpness

Way = Callable[[Pixels, float], Pixels]

WAYS: dict[str, Way] = {
    "clean": noise.clean,
    "denoise": noise.denoise,
    "denoise, strong": partial(noise.denoise, strong=True),
    "contrast": light.contrast,
    "fuse": light.fuse,
    "fuse, advanced": partial(light.fuse, advanced=True),
    "expose": light.expose,
    "balance": colors.balance,
    "strengthen": colors.strengthen,
    "vibrance": partial(colors.strengthen, vibrance=True),
    "vibrance, skin kept": partial(colors.strengthen, vibrance=True, keep_skin=True),
    "unsharp": sharpness.unsharp,
    "deconvolve": sharpness.deconvolve,
}


@pytest.fixture(scope="module")
def photograph() -> Pixels:
    """A person in orange before a light background, 512 x 512."""
    read = cv2.imread(str(Path(__file__).parents[3] / "local" / "pictures" / "astronaut.jpg"))
    assert read is not None
    return np.asarray(cv2.cvtColor(read, cv2.COLOR_BGR2RGB), np.uint8)


def psnr(one: Pixels, other: Pixels) -> float:
    return float(10 * np.log10(255**2 / np.mean((one.astype(np.float64) - other) ** 2)))


def noisy(picture: Pixels, deviation: float) -> Pixels:
    grain = np.random.default_rng(7).normal(0, deviation, picture.shape)
    return np.rint(np.clip(picture + grain, 0, 255)).astype(np.uint8)


def as_jpeg(picture: Pixels, quality: int) -> Pixels:
    file = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    read = cv2.imdecode(file, cv2.IMREAD_COLOR)
    assert read is not None
    return np.asarray(cv2.cvtColor(read, cv2.COLOR_BGR2RGB), np.uint8)


def darkened(picture: Pixels, gamma: float) -> Pixels:
    return np.rint(255 * (picture / 255) ** gamma).astype(np.uint8)


def blurred(picture: Pixels) -> Pixels:
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), 1.5), np.uint8)


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_level_0_changes_nothing_and_others_do_not_touch_what_came(way: Way, photograph: Pixels) -> None:
    worse = noisy(blurred(photograph), 8)
    before = worse.copy()
    np.testing.assert_array_equal(way(worse, 0.0), before)
    half, whole = way(worse, 0.5), way(worse, 1.0)
    np.testing.assert_array_equal(worse, before)
    changes = [np.abs(each.astype(int) - before).mean() for each in (half, whole)]
    assert 0.05 < changes[0] < changes[1]


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("size", [(1, 1), (2, 5), (33, 1), (17, 300)])
@pytest.mark.parametrize("value", [0, 128, 255])
def test_any_picture_keeps_its_shape(way: Way, size: tuple[int, int], value: int) -> None:
    picture = np.full((*size, 3), value, np.uint8)
    result = way(picture, 1.0)
    assert result.shape == picture.shape
    assert result.dtype == np.uint8


@pytest.mark.parametrize("deviation", [5, 10, 20, 40])
def test_noise_is_measured(deviation: int) -> None:
    plain = np.full((200, 300, 3), 128, np.uint8)
    grey = deviation * np.sqrt(0.299**2 + 0.587**2 + 0.114**2)  # of what the three channels' noise makes in grey
    assert noise.measure_noise(noisy(plain, deviation)) == pytest.approx(grey, rel=0.05)
    assert noise.measure_noise(plain) == 0


def test_denoising_brings_a_noisy_picture_nearer_to_the_clean_one(photograph: Pixels) -> None:
    worse = noisy(photograph, 20)
    half, whole = (psnr(noise.denoise(worse, level), photograph) for level in (0.5, 1.0))
    assert psnr(worse, photograph) + 2 < half
    assert half + 1 < whole
    assert psnr(noise.denoise(photograph, 1.0), photograph) > 32  # what has no noise is left alone, as good as


def test_cleaning_brings_a_bad_jpeg_nearer_to_the_original(photograph: Pixels) -> None:
    worse = as_jpeg(photograph, 12)
    assert psnr(noise.clean(worse, 1.0), photograph) > psnr(worse, photograph) + 0.4
    blocks = np.abs(np.diff(worse.astype(int), axis=1))[:, 7::8].mean()
    assert np.abs(np.diff(noise.clean(worse, 1.0).astype(int), axis=1))[:, 7::8].mean() < 0.8 * blocks


@pytest.mark.parametrize(("way", "least"), [(sharpness.unsharp, 0.8), (sharpness.deconvolve, 1.5)])
def test_deblurring_brings_a_blurred_picture_nearer_to_the_sharp_one(
    way: Way, least: float, photograph: Pixels
) -> None:
    worse = blurred(photograph)
    assert psnr(way(worse, 1.0), photograph) > psnr(worse, photograph) + least


def test_exposure_goes_to_the_middle_from_both_sides(photograph: Pixels) -> None:
    for worse in (darkened(photograph, 1.8), 255 - darkened(255 - photograph, 1.8)):
        grey = cv2.cvtColor(light.expose(worse, 1.0), cv2.COLOR_RGB2GRAY)
        assert np.median(grey) / 255 == pytest.approx(light.MIDDLE, abs=0.04)


def test_fusing_lights_the_dark_and_keeps_detail(photograph: Pixels) -> None:
    """A picture whose left half is in shadow: that half gains."""
    worse = photograph.copy()
    worse[:, :256] = darkened(worse, 2.6)[:, :256]
    for advanced in (False, True):
        better = light.fuse(worse, 1.0, advanced=advanced)
        left, right = (float(better[:, half].mean() / worse[:, half].mean()) for half in (slice(256), slice(256, None)))
        assert left > 1.1
        assert left > right + 0.08
        assert cv2.Laplacian(better, cv2.CV_64F).std() > 0.9 * cv2.Laplacian(worse, cv2.CV_64F).std()


def test_local_contrast_is_raised(photograph: Pixels) -> None:
    flat = (photograph // 4 + 96).astype(np.uint8)
    assert cv2.cvtColor(light.contrast(flat, 1.0), cv2.COLOR_RGB2GRAY).std() > 1.3 * flat.std()


def test_a_cast_is_taken_away() -> None:
    """The grey of a card under warm light becomes grey again."""
    picture = np.full((100, 100, 3), 120, np.uint8)
    picture[30:60, 30:60] = 200
    cast = np.rint(picture * np.array([1.0, 0.8, 0.5])).astype(np.uint8)
    better = colors.balance(cast, 1.0).astype(int)
    assert np.ptp(better, axis=2).max() <= 3
    half = colors.balance(cast, 0.5).astype(int)
    assert 20 < np.ptp(half, axis=2).max() < np.ptp(cast.astype(int), axis=2).max()


def test_colours_are_stronger_and_grey_stays_grey() -> None:
    grey, red, skin = (np.full((4, 4, 3), color, np.uint8) for color in ((90, 90, 90), (160, 90, 80), (224, 172, 142)))
    assert np.ptp(colors.strengthen(grey, 1.0)) <= 1
    for vibrance in (False, True):
        assert np.ptp(colors.strengthen(red, 1.0, vibrance=vibrance)) > 1.2 * np.ptp(red)
    loud = np.full((4, 4, 3), (230, 20, 10), np.uint8)
    kept, more = (colors.strengthen(loud, 1.0, vibrance=each).astype(int) - loud for each in (True, False))
    assert np.abs(kept).max() < np.abs(more).max()
    spared, changed = (
        np.abs(colors.strengthen(skin, 1.0, vibrance=True, keep_skin=each).astype(int) - skin).max()
        for each in (True, False)
    )
    assert spared < 0.5 * changed


def test_a_painted_face_keeps_light_and_what_is_outside(photograph: Pixels) -> None:
    crop = np.ascontiguousarray(photograph[40:240, 130:330])
    shown = np.asarray(cv2.resize(crop, (64, 64), interpolation=cv2.INTER_AREA), np.uint8)
    unchanged = painted_faces.blend(crop, shown, shown, 0.0)
    np.testing.assert_array_equal(unchanged, crop)
    painted = noisy(shown, 20) // 2
    mixed = painted_faces.blend(crop, shown, painted, 0.0)
    np.testing.assert_array_equal(mixed[:8, :8], crop[:8, :8])
    assert np.abs(mixed[80:120, 80:120].astype(int) - crop[80:120, 80:120]).mean() > 3
    assert float(mixed.mean()) == pytest.approx(float(crop.mean()), abs=3)
    smooth = painted_faces.blend(crop, shown, painted, 1.0)[80:120, 80:120]
    assert cv2.Laplacian(smooth, cv2.CV_64F).std() < 0.9 * cv2.Laplacian(mixed[80:120, 80:120], cv2.CV_64F).std()
