"""Large results: layers by bands, and files that are written from them."""

import tracemalloc
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from orchestrator.arrays import Pixels
from orchestrator.imaging import codec
from orchestrator.imaging.boxes import Box
from orchestrator.imaging.composite import BAND, Composite, Layer
from orchestrator.imaging.jpeg import decode as strictly
from orchestrator.imaging.layers import filled, over, placed, resized
from orchestrator.params import ImageFormat, OutputParams


@pytest.fixture(scope="module")
def photograph() -> Pixels:
    read = cv2.imread(str(Path(__file__).parents[3] / "local" / "pictures" / "astronaut.jpg"))
    assert read is not None
    return np.asarray(cv2.cvtColor(read, cv2.COLOR_BGR2RGB), np.uint8)


@pytest.fixture(scope="module")
def cut_out(photograph: Pixels) -> Pixels:
    """RGBA with a soft border; what is transparent is bright green."""
    y, x = np.mgrid[:512, :512]
    alpha = np.clip((220 - np.hypot(x - 256, y - 256)) * 12, 0, 255).astype(np.uint8)
    return np.dstack([np.where(alpha[..., None] > 0, photograph, (0, 255, 0)), alpha]).astype(np.uint8)


def one(picture: Pixels, size: tuple[int, int]) -> Composite:
    return Composite(size, (Layer.lazy(picture, Box(0, 0, *size)),))


def by_bands(picture: Composite, rows: int = BAND) -> Pixels:
    height = picture.size[1]
    return np.concatenate([picture.band(top, min(height, top + rows)) for top in range(0, height, rows)])


SIZES = [(1000, 777), (513, 2000), (300, 299), (512, 512), (90, 1301)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("rows", [1, 7, BAND])
def test_bands_have_no_seams(photograph: Pixels, cut_out: Pixels, size: tuple[int, int], rows: int) -> None:
    for picture in (photograph, cut_out):
        composite = one(picture, size)
        assert np.abs(by_bands(composite, rows).astype(int) - composite.whole()).max() <= 1


@pytest.mark.parametrize("size", [(1000, 777), (300, 299)])
def test_a_layer_is_about_what_resizing_gives(photograph: Pixels, cut_out: Pixels, size: tuple[int, int]) -> None:
    for picture in (photograph, cut_out):
        expected, found = resized(picture, size).astype(int), one(picture, size).whole()
        assert found.shape == expected.shape
        solid = expected[..., 3] == 255 if picture.shape[2] == 4 else np.ones(size[::-1], bool)
        assert np.abs(found - expected)[solid].mean() < 2
        if picture.shape[2] == 4:
            assert np.abs(found[..., 3] - expected[..., 3]).max() <= 12


def test_hidden_colours_do_not_come_out_at_borders(cut_out: Pixels) -> None:
    """The green under what is transparent is nowhere to be seen, laid over grey."""
    size = 1500, 1500
    grey = Layer.lazy(filled((1, 1), (128, 128, 128)), Box(0, 0, *size))
    result = Composite(size, (grey, Layer.lazy(cut_out, Box(0, 0, *size)))).whole().astype(int)
    assert (result[..., 1] - np.maximum(result[..., 0], result[..., 2])).max() < 60


def test_layers_are_laid_over_each_other_in_their_places(photograph: Pixels, cut_out: Pixels) -> None:
    size = 700, 600
    back = Layer(filled(size, (10, 20, 30)), Box(0, 0, *size))
    composite = Composite(
        size, (back, Layer(cut_out, Box(-100, 50, 512, 512)), Layer(photograph, Box(650, 580, 512, 512)))
    )
    expected = over(placed(cut_out, size, -100, 50), back.picture)
    expected = over(placed(photograph, size, 650, 580), expected)
    assert composite.channels == 3
    assert np.array_equal(by_bands(composite), expected)


@pytest.mark.parametrize(
    ("box", "channels"),
    [(Box(0, 0, 50, 40), 3), (Box(-5, -5, 60, 50), 3), (Box(1, 0, 50, 40), 4), (Box(0, 0, 49, 40), 4)],
)
def test_an_opaque_layer_over_everything_makes_it_rgb(box: Box, channels: int) -> None:
    composite = Composite((50, 40), (Layer(filled((box.width, box.height), (1, 2, 3)), box),))
    assert composite.channels == channels
    assert by_bands(composite).shape == (40, 50, channels)


def test_a_reduced_composite_shows_the_same(photograph: Pixels) -> None:
    large = Composite(
        (8000, 4000), (Layer.lazy(photograph, Box(0, 0, 4000, 4000)), Layer.lazy(photograph, Box(4000, 0, 4000, 4000)))
    )
    small = large.reduced(512)
    assert small.size == (512, 256)
    found = small.whole()[..., :3].astype(int)
    expected = np.hstack([resized(photograph, (256, 256))] * 2)
    assert np.abs(found - expected).mean() < 3
    assert large.reduced(9000) is large


@pytest.mark.parametrize("size", SIZES)
def test_a_png_of_bands_is_lossless(photograph: Pixels, cut_out: Pixels, size: tuple[int, int]) -> None:
    for picture in (photograph, cut_out):
        composite = one(picture, size)
        data = codec.encode_composite(composite, OutputParams(format=ImageFormat.PNG)).data
        with Image.open(BytesIO(data)) as image:
            image.verify()
        with Image.open(BytesIO(data)) as image:
            assert np.array_equal(np.asarray(image), by_bands(composite))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("quality", [0, 5, 50, 89, 90, 100])
def test_a_jpeg_of_bands_is_as_good_as_one_in_one_piece(
    photograph: Pixels, size: tuple[int, int], quality: int
) -> None:
    composite = one(photograph, size)
    output = OutputParams(format=ImageFormat.JPEG, quality=quality)
    joined, whole = codec.encode_composite(composite, output).data, codec.encode(by_bands(composite), output).data
    found, expected = strictly(joined, "RGB").astype(int), strictly(whole, "RGB")
    assert found.shape == (size[1], size[0], 3)
    # Colour is interpolated over the borders of bands in the one and in the other not: a row on each side.
    inner = [row for row in range(size[1]) if row % BAND not in {0, BAND - 1}]
    assert np.abs(found - expected)[inner].max() <= 3
    assert len(joined) < 1.05 * len(whole) + 100


def test_a_jpeg_of_bands_is_laid_over_white_and_fits_a_size(cut_out: Pixels) -> None:
    composite = one(cut_out, (1000, 1000))
    output = OutputParams(format=ImageFormat.JPEG, quality=95, max_file_size=60_000)
    encoded = codec.encode_composite(composite, output)
    assert len(encoded.data) <= 60_000
    assert encoded.quality is not None
    assert encoded.quality < 95
    assert strictly(encoded.data, "RGB")[0, 0].min() > 250


def test_memory_is_the_band_and_the_file(photograph: Pixels) -> None:
    """50 megapixels of which 150 MB would be the pixels."""
    composite = one(photograph, (10_000, 5000))
    tracemalloc.start()
    try:
        data = codec.encode_composite(composite, OutputParams(format=ImageFormat.JPEG, quality=80)).data
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 40 << 20
    assert len(data) < 20 << 20
