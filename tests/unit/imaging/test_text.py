"""Text enlarged: nearer to what was drawn than a plain enlargement, sharper, and no harm to anything else."""

import cv2
import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from orchestrator.arrays import Pixels
from orchestrator.imaging import text
from orchestrator.imaging.layers import resized

INKS = {"black on white": ((0, 0, 0), (255, 255, 255)), "blue on cream": ((20, 40, 110), (240, 236, 220))}
SIZE = (960, 480)


def rendered(ink: str) -> Pixels:
    """Lines of text of several sizes, as a scanner of that resolution would see them."""
    colour, paper = INKS[ink]
    page = Image.new("RGB", (SIZE[0] * 4, SIZE[1] * 4), paper)
    pen, top = ImageDraw.Draw(page), 30
    for size in (80, 110, 150, 190, 230):
        pen.text((40, top), "Invoice No. 4711: EUR 1,234.56", font=ImageFont.load_default(size), fill=colour)
        top += int(size * 1.5)
    return np.asarray(page.resize(SIZE, Image.Resampling.BOX))


def shrunk(picture: Pixels, times: int) -> Pixels:
    size = picture.shape[1] // times, picture.shape[0] // times
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def psnr(one: Pixels, other: Pixels) -> float:
    return float(10 * np.log10(255**2 / np.mean((one.astype(float) - other) ** 2)))


def edges(picture: Pixels) -> float:
    """How steep the steepest edges are: the 98th percentile of the gradient."""
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32)
    return float(np.percentile(np.hypot(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1)), 98))


@pytest.mark.parametrize("ink", INKS)
@pytest.mark.parametrize(("times", "gain"), [(2, 4.0), (3, 2.0), (4, 1.0)])
def test_text_comes_nearer_to_what_was_drawn(ink: str, times: int, gain: float) -> None:
    true = rendered(ink)
    small = shrunk(true, times)
    plain, sharp = resized(small, SIZE), text.enlarge(small, SIZE)
    assert psnr(true, sharp) > psnr(true, plain) + gain  # dB
    assert edges(plain) * 1.2 < edges(sharp) < edges(true) * 1.05


def test_also_after_jpeg() -> None:
    true = rendered("black on white")
    ok, file = cv2.imencode(".jpg", shrunk(true, 3), [cv2.IMWRITE_JPEG_QUALITY, 75])
    assert ok
    small = np.asarray(cv2.imdecode(file, cv2.IMREAD_COLOR), np.uint8)
    assert psnr(true, text.enlarge(small, SIZE)) > psnr(true, resized(small, SIZE)) + 1


def test_shrunk_again_it_is_the_original() -> None:
    small = shrunk(rendered("black on white"), 3)
    again = shrunk(text.enlarge(small, SIZE), 3)
    assert np.abs(again.astype(int) - small).mean() < 2


def test_photographs_take_no_harm() -> None:
    rows, columns = np.mgrid[:240, :320]
    soft = np.clip(128 + 60 * np.sin(rows / 20) + 40 * np.cos(columns / 30), 0, 255)
    true = np.repeat(soft[..., None], 3, axis=2).astype(np.uint8)
    small = shrunk(true, 2)
    plain, sharp = resized(small, (320, 240)), text.enlarge(small, (320, 240))
    assert psnr(true, sharp) > psnr(true, plain) - 0.5


def test_a_networks_enlargement_is_taken_as_the_beginning() -> None:
    true = rendered("black on white")
    small = shrunk(true, 3)
    blurred = np.asarray(cv2.GaussianBlur(true, (0, 0), 0.7), np.uint8)
    refined = text.enlarge(small, SIZE, blurred)
    assert psnr(true, refined) > psnr(true, text.enlarge(small, SIZE)) + 3  # dB
    assert psnr(true, refined) > psnr(true, blurred)


def test_a_networks_enlargement_is_cut_into_tiles_without_seams(monkeypatch: pytest.MonkeyPatch) -> None:
    true = rendered("blue on cream")
    small = shrunk(true, 2)
    whole = text.enlarge(small, SIZE, true)
    monkeypatch.setattr(text, "TILE", 37)
    assert np.abs(text.enlarge(small, SIZE, true).astype(int) - whole).max() <= 1  # rounding


@pytest.mark.parametrize("size", [(960, 480), (1000, 517), (1300, 700), (3000, 100)])
def test_tiles_have_no_seams(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    small = shrunk(rendered("blue on cream"), 2)
    whole = text.enlarge(small, size)
    monkeypatch.setattr(text, "TILE", 37)
    assert whole.shape == (size[1], size[0], 3)
    assert np.abs(text.enlarge(small, size).astype(int) - whole).max() <= 1  # rounding


def test_what_is_clear_stays_clear_and_does_not_show() -> None:
    small = shrunk(rendered("black on white"), 4)
    alpha = np.zeros(small.shape[:2], np.uint8)
    alpha[10:-10, 10:-10] = 255
    shown = {}
    for hidden in (0, 255):
        picture = np.dstack([np.where(alpha[..., None] > 0, small, hidden), alpha]).astype(np.uint8)
        shown[hidden] = text.enlarge(picture, SIZE)
    assert (shown[0] == shown[255]).all()
    assert shown[0][:20, :, 3].max() == 0
    assert shown[0][80:-80, 80:-80, 3].min() == 255


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (50, 1), (3, 2)])
def test_any_picture_is_enlarged(shape: tuple[int, int]) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    for times in (1, 2, 5):
        assert text.enlarge(picture, (shape[1] * times, shape[0] * times)).shape == (
            shape[0] * times,
            shape[1] * times,
            3,
        )
