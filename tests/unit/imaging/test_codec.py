"""Files that are written."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image, JpegImagePlugin

from orchestrator.imaging import codec
from orchestrator.imaging.codec import encode
from orchestrator.params import ImageFormat, OutputParams


def thin_red_lines() -> np.ndarray:
    picture = np.full((64, 64, 3), 255, np.uint8)
    picture[:, ::4] = (230, 0, 0)
    return picture


@pytest.mark.parametrize(("quality", "sampling"), [(100, 0), (95, 0), (90, 0), (89, 2), (75, 2)])
def test_jpeg_keeps_colour_at_full_resolution_from_quality_90(quality: int, sampling: int) -> None:
    data = encode(thin_red_lines(), OutputParams(format=ImageFormat.JPEG, quality=quality)).data
    with Image.open(BytesIO(data)) as image:
        assert JpegImagePlugin.get_sampling(image) == sampling
        if quality == 100:
            assert np.abs(np.asarray(image, int) - thin_red_lines()).max() <= 4


@pytest.mark.parametrize("channels", [3, 4])
def test_png_is_lossless_and_not_much_larger_than_at_level_6(channels: int) -> None:
    y, x = np.mgrid[:512, :512]
    ramps = np.stack([x / 2, y / 2, (x + y) / 4, 255 - x / 2], axis=-1)[..., :channels]
    picture = np.clip(ramps + np.random.default_rng(0).normal(0, 2, ramps.shape), 0, 255).astype(np.uint8)
    data = encode(picture, OutputParams(format=ImageFormat.PNG)).data
    with Image.open(BytesIO(data)) as image:
        assert np.array_equal(np.asarray(image), picture)
    small = BytesIO()
    Image.fromarray(picture).save(small, "PNG", compress_level=6)
    assert len(data) < 1.3 * len(small.getvalue())


def test_the_same_picture_gives_the_same_png() -> None:
    png = OutputParams(format=ImageFormat.PNG)
    assert encode(thin_red_lines(), png) == encode(thin_red_lines(), png)
    assert codec.encode(thin_red_lines(), png).quality is None
