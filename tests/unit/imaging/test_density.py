"""Dots per inch in files, as Pillow reads them."""

import io

import numpy as np
import PIL.Image
import pytest

from orchestrator.imaging import codec
from orchestrator.imaging.density import with_density
from orchestrator.params import ImageFormat, OutputParams

PICTURE = np.random.default_rng(1).integers(0, 256, (20, 30, 3), np.uint8)


@pytest.mark.parametrize("image_format", [ImageFormat.PNG, ImageFormat.JPEG])
@pytest.mark.parametrize("dpi", [1, 72, 300, 2400])
def test_a_file_states_its_density_and_shows_the_same(image_format: ImageFormat, dpi: int) -> None:
    plain = codec.encode(PICTURE, OutputParams(format=image_format)).data
    dense = with_density(plain, image_format, dpi)
    with PIL.Image.open(io.BytesIO(dense)) as image, PIL.Image.open(io.BytesIO(plain)) as before:
        assert image.info["dpi"] == pytest.approx((dpi, dpi), abs=0.02)
        assert "dpi" not in before.info
        np.testing.assert_array_equal(np.asarray(image), np.asarray(before))
    assert len(dense) == len(plain) + (21 if image_format is ImageFormat.PNG else 0)


def test_webp_stays_as_it_is() -> None:
    plain = codec.encode(PICTURE, OutputParams(format=ImageFormat.WEBP)).data
    assert with_density(plain, ImageFormat.WEBP, 300) == plain


def test_a_jpeg_without_its_header_is_not_written_into() -> None:
    with pytest.raises(ValueError, match="no JFIF header"):
        with_density(b"\xff\xd8\xff\xe1" + bytes(20), ImageFormat.JPEG, 300)
