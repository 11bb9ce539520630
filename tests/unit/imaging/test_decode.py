"""Pictures of every format that is read, as arrays."""

from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from orchestrator.arrays import Pixels
from orchestrator.imaging.decode import DecodeLimits, decode
from tests.unit.imaging import files
from tests.unit.imaging.files import saved

LIMITS = DecodeLimits()
SWAPPED = files.rgb_profile(*files.PRIMARIES[::-1], exponent=2.2)
"""An ICC profile whose red and blue are exchanged."""


def scene(width: int = 64, height: int = 48) -> Pixels:
    """Ramps and an edge, each channel another."""
    y, x = np.mgrid[:height, :width]
    blue = np.where(x < width / 2, 20, 230)
    return np.stack([x * 255 // (width - 1), y * 255 // (height - 1), blue], axis=-1).astype(np.uint8)


def read(data: bytes) -> Pixels:
    picture = decode(data, LIMITS, "image")
    assert picture.dtype == np.uint8
    assert picture.flags.c_contiguous
    return picture


def difference(a: Pixels, b: Pixels) -> float:
    assert a.shape == b.shape
    return float(np.abs(a.astype(float) - b).mean())


LOSSLESS: list[tuple[str, dict[str, Any]]] = [
    ("PNG", {}),
    ("WEBP", {"lossless": True}),
    ("BMP", {}),
    ("TIFF", {}),
    ("TIFF", {"compression": "tiff_lzw"}),
    ("TIFF", {"compression": "tiff_deflate"}),
    ("TIFF", {"big_tiff": False}),
]
LOSSY: list[tuple[str, dict[str, Any]]] = [
    ("JPEG", {"quality": 95}),
    ("JPEG", {"quality": 95, "progressive": True}),
    ("JPEG", {"quality": 95, "subsampling": 0}),
    ("WEBP", {"quality": 95}),
    ("AVIF", {"quality": 95}),
    ("HEIF", {"quality": 95}),
    ("TIFF", {"compression": "jpeg", "quality": 95}),
]


@pytest.mark.parametrize(("image_format", "options"), LOSSLESS)
def test_lossless_formats_give_every_pixel(image_format: str, options: dict[str, Any]) -> None:
    assert (read(saved(scene(), image_format, **options)) == scene()).all()


@pytest.mark.parametrize(("image_format", "options"), LOSSY)
def test_lossy_formats_give_about_the_picture(image_format: str, options: dict[str, Any]) -> None:
    assert difference(read(saved(scene(), image_format, **options)), scene()) < 3


@pytest.mark.parametrize("image_format", ["PNG", "WEBP", "TIFF", "BMP", "JPEG", "AVIF", "HEIF", "GIF"])
def test_grey_becomes_three_equal_channels(image_format: str) -> None:
    grey = scene()[..., 1]
    picture = read(saved(grey, image_format, **({"quality": 95} if image_format in {"JPEG", "AVIF"} else {})))
    assert difference(picture, np.repeat(grey[..., None], 3, axis=2)) < 2
    assert np.ptp(picture.astype(int), axis=2).max() <= (3 if image_format in {"HEIF", "WEBP"} else 0)


def test_a_picture_larger_than_a_strip_is_whole() -> None:
    """Pixels are converted in strips; the seams are in their places, and so they are in a turned picture."""
    picture = scene(2000, 1700)
    assert (read(saved(picture, "PNG")) == picture).all()
    assert (read(saved(picture, "PNG", exif=oriented(6))) == np.rot90(picture, -1)).all()


@pytest.mark.parametrize("size", [(1, 1), (1, 20_000), (20_000, 1), (30_000, 3)])
def test_extreme_sizes(size: tuple[int, int]) -> None:
    picture = np.full((size[1], size[0], 3), (9, 90, 200), np.uint8)
    assert (read(saved(picture, "PNG")) == picture).all()


def oriented(value: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = value
    return exif.tobytes()


# Where EXIF puts the stored picture's top left and top right corners, as (row, column) of the upright one.
CORNERS = {
    1: ((0, 0), (0, -1)),
    2: ((0, -1), (0, 0)),
    3: ((-1, -1), (-1, 0)),
    4: ((-1, 0), (-1, -1)),
    5: ((0, 0), (-1, 0)),
    6: ((0, -1), (-1, -1)),
    7: ((-1, -1), (0, -1)),
    8: ((-1, 0), (0, 0)),
}


@pytest.mark.parametrize("value", CORNERS)
@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF"])
def test_exif_orientation_is_applied(image_format: str, value: int) -> None:
    stored = np.full((32, 64, 3), 128, np.uint8)
    stored[:16, :16] = (255, 0, 0)
    stored[:16, -16:] = (0, 0, 255)
    picture = read(saved(stored, image_format, exif=oriented(value)))
    assert picture.shape[:2] == ((64, 32) if value >= 5 else (32, 64))
    first, second = CORNERS[value]
    assert picture[first].tolist() == pytest.approx([255, 0, 0], abs=30)
    assert picture[second].tolist() == pytest.approx([0, 0, 255], abs=30)


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_an_orientation_that_is_none_is_ignored(value: int) -> None:
    assert (read(saved(scene(), "PNG", exif=oriented(value))) == scene()).all()


@pytest.mark.parametrize(
    "exif", [b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff", b"x" * 99]
)
def test_broken_exif_is_ignored(exif: bytes) -> None:
    assert difference(read(saved(scene(), "JPEG", quality=95, exif=exif)), scene()) < 3


def see_through() -> Pixels:
    """RGBA, its alpha a ramp from 0 to 255."""
    alpha = np.broadcast_to(np.arange(0, 256, 4)[:64, None].T, (48, 64)) * 255 // 252
    return np.dstack([scene(), alpha]).astype(np.uint8)


@pytest.mark.parametrize(
    ("image_format", "options"), [("PNG", {}), ("WEBP", {"lossless": True, "exact": True}), ("TIFF", {})]
)
def test_alpha_is_kept_straight(image_format: str, options: dict[str, Any]) -> None:
    assert (read(saved(see_through(), image_format, **options)) == see_through()).all()


@pytest.mark.parametrize("image_format", ["AVIF", "HEIF"])
def test_alpha_of_lossy_formats(image_format: str) -> None:
    picture = read(saved(see_through(), image_format, quality=95))
    assert difference(picture, see_through()) < 3


@pytest.mark.parametrize("image_format", ["PNG", "WEBP", "TIFF", "AVIF", "HEIF"])
def test_an_alpha_that_is_opaque_everywhere_is_left_out(image_format: str) -> None:
    opaque = np.dstack([scene(), np.full((48, 64), 255, np.uint8)])
    assert read(saved(opaque, image_format)).shape == (48, 64, 3)


def test_grey_with_alpha() -> None:
    picture = read(saved(Image.fromarray(see_through()).convert("LA"), "PNG"))
    assert (picture[..., 3] == see_through()[..., 3]).all()
    assert (picture[..., 0] == picture[..., 2]).all()


def paletted() -> Image.Image:
    image = Image.fromarray(np.array([[0, 1, 2, 3]] * 4, np.uint8), "P")
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255, 10, 20, 30])
    return image


def test_a_palette_of_opaque_colours() -> None:
    for image_format in ("PNG", "GIF", "BMP", "TIFF"):
        picture = read(saved(paletted(), image_format))
        assert picture[0].tolist() == [[255, 0, 0], [0, 255, 0], [0, 0, 255], [10, 20, 30]]


@pytest.mark.parametrize(
    ("transparency", "alphas"), [(2, [255, 255, 0, 255]), (bytes([0, 128, 255, 7]), [0, 128, 255, 7])]
)
def test_a_palette_with_transparent_entries(transparency: int | bytes, alphas: list[int]) -> None:
    picture = read(saved(paletted(), "PNG", transparency=transparency))
    assert picture[0, :, 3].tolist() == alphas
    assert picture[0, :, :3].tolist() == [[255, 0, 0], [0, 255, 0], [0, 0, 255], [10, 20, 30]]


def test_a_gif_with_a_transparent_colour() -> None:
    assert read(saved(paletted(), "GIF", transparency=1))[0, :, 3].tolist() == [255, 0, 255, 255]


@pytest.mark.parametrize(
    ("depth", "line", "greys"),
    [(1, b"\0\x40", [0, 255]), (2, b"\0\x60", [85, 170]), (4, b"\0\x3c", [51, 204]), (8, b"\0\x10\x80", [16, 128])],
)
def test_grey_of_every_depth_with_a_transparent_grey(depth: int, line: bytes, greys: list[int]) -> None:
    """PNG gives the transparent grey in the file's depth: here that of the second pixel."""
    second = {1: 1, 2: 2, 4: 12, 8: 128}[depth]
    key = files.chunk(b"tRNS", bytes([0, second]))
    opaque = read(files.png((2, 1), depth, files.GREY, line))
    assert opaque[0].tolist() == [[grey] * 3 for grey in greys]
    picture = read(files.png((2, 1), depth, files.GREY, line, key))
    assert picture[0].tolist() == [[greys[0]] * 3 + [255], [greys[1]] * 3 + [0]]


def test_sixteen_bit_png_keeps_the_high_bytes() -> None:
    eight = np.array([[[0, 1, 2, 3], [250, 128, 64, 255]]], np.uint16)
    deep = (eight << 8 | 77).astype(np.uint16)
    assert (read(files.sixteen_bit(deep, files.COLOUR_ALPHA)) == eight).all()
    assert (read(files.sixteen_bit(deep[..., :3], files.COLOUR)) == eight[..., :3]).all()
    assert (read(files.sixteen_bit(deep[..., 0], files.GREY))[..., 2] == eight[..., 0]).all()
    assert (read(files.sixteen_bit(deep[..., 2:], files.GREY_ALPHA))[..., 2:] == eight[..., 2:]).all()


def test_sixteen_bit_transparent_colours() -> None:
    deep = np.array([[300, 40_000, 65_535]], np.uint16)
    grey = read(files.sixteen_bit(deep, files.GREY, files.chunk(b"tRNS", (40_000).to_bytes(2, "big"))))
    assert grey[0].tolist() == [[1, 1, 1, 255], [156, 156, 156, 0], [255, 255, 255, 255]]
    colours = np.stack([deep, deep, deep], axis=-1)
    key = files.chunk(b"tRNS", (65_535).to_bytes(2, "big") * 3)
    assert read(files.sixteen_bit(colours, files.COLOUR, key))[0, :, 3].tolist() == [255, 255, 0]


def test_a_transparent_colour_of_sixteen_bits_is_compared_in_all_of_them() -> None:
    """PNG, third edition, 11.3.1.1: also where only the low bytes differ, in any channel."""
    key = np.array([0x1234, 0x5678, 0x9ABC], np.uint16)
    pixels = np.stack([key, *(key + step for step in np.eye(3, dtype=np.uint16)), key])[None]
    picture = read(files.sixteen_bit(pixels, files.COLOUR, files.chunk(b"tRNS", key.astype(">u2").tobytes())))
    assert picture[0, :, 3].tolist() == [0, 255, 255, 255, 0]
    assert picture[0, 1, :3].tolist() == [0x12, 0x56, 0x9A]


def test_sixteen_bit_tiff() -> None:
    deep = (np.arange(256, dtype=np.uint16).reshape(16, 16) << 8) | 200
    assert (read(saved(Image.fromarray(deep), "TIFF"))[..., 1] == deep >> 8).all()


def test_cmyk_without_a_profile() -> None:
    """The JPEG's inks are inverted, as Adobe writes them; the TIFF's are not."""
    cmyk = Image.fromarray(scene()).convert("CMYK")
    assert difference(read(saved(cmyk, "TIFF")), scene()) == 0
    assert difference(read(saved(cmyk, "JPEG", quality=95)), scene()) < 3
    inks = np.array([[[255, 0, 0, 0], [0, 0, 0, 255], [100, 0, 0, 55], [0, 0, 0, 0]]], np.uint8)
    assert read(saved(Image.fromarray(inks, "CMYK"), "TIFF"))[0].tolist() == [
        [0, 255, 255],
        [0, 0, 0],
        pytest.approx([121, 200, 200], abs=25),
        [255, 255, 255],
    ]


def test_cmyk_with_a_profile() -> None:
    """By this profile cyan prints as a light grey."""
    inks = np.zeros((8, 8, 4), np.uint8)
    inks[..., 0] = 255
    for image_format in ("TIFF", "JPEG"):
        picture = read(saved(Image.fromarray(inks, "CMYK"), image_format, icc_profile=files.cmyk_profile()))
        assert np.ptp(picture[4, 4].astype(int)) <= 3
        assert 150 < picture[4, 4, 0] < 220


def test_the_profile_decides_what_red_is() -> None:
    for image_format in ("PNG", "JPEG", "WEBP", "TIFF", "AVIF", "HEIF"):
        picture = read(saved(np.full((16, 16, 3), (250, 120, 5), np.uint8), image_format, icc_profile=SWAPPED))
        assert picture[8, 8].tolist() == pytest.approx([5, 120, 250], abs=12)


def test_a_profile_leaves_alpha_alone() -> None:
    picture = read(saved(see_through(), "PNG", icc_profile=SWAPPED))
    assert (picture[..., 3] == see_through()[..., 3]).all()
    assert difference(picture[..., :3], np.ascontiguousarray(scene()[..., ::-1])) < 6


def test_a_palette_has_the_profile_of_its_colours() -> None:
    assert read(saved(paletted(), "PNG", icc_profile=SWAPPED))[0, 0].tolist() == pytest.approx([0, 0, 255], abs=3)


def test_linear_grey_becomes_srgb() -> None:
    """The transfer curve of sRGB (IEC 61966-2-1): linear 128 / 255 is 188."""
    grey = np.full((4, 4), 128, np.uint8)
    assert read(saved(grey, "PNG", icc_profile=files.grey_profile(1.0)))[0, 0].tolist() == pytest.approx(
        [188] * 3, abs=1
    )


def test_pixels_with_an_srgb_profile_are_kept_bit_for_bit() -> None:
    everything = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert (read(saved(everything, "PNG", icc_profile=profile)) == everything).all()


@pytest.mark.parametrize(
    "profile",
    [b"\0", b"not a profile" * 50, SWAPPED[:200], files.grey_profile(1.0)],
)
def test_a_profile_that_is_broken_or_of_other_pixels_is_ignored(profile: bytes) -> None:
    assert (read(saved(scene(), "PNG", icc_profile=profile)) == scene()).all()


@pytest.mark.parametrize("image_format", ["GIF", "PNG", "WEBP", "AVIF", "TIFF", "HEIF"])
def test_of_several_frames_the_first_is_read(image_format: str) -> None:
    colours = [(230, 20, 20), (20, 230, 20), (20, 20, 230)]
    first, *others = [Image.new("RGB", (32, 32), colour) for colour in colours]
    data = saved(first, image_format, save_all=True, append_images=others)
    assert read(data)[16, 16].tolist() == pytest.approx(colours[0], abs=12)


FRAME = (30, 20, 70, 60)
"""Left, top, right and bottom of a first frame that is smaller than its picture."""


def gif_with_offset(transparent: int | None) -> bytes:
    """A GIF of 101 x 77 pixels whose palette begins with red, its first frame at FRAME, green."""
    left, top, right, bottom = FRAME
    inner = Image.new("P", (right - left, bottom - top), 1)
    inner.putpalette([255, 0, 0, 0, 200, 0, 0, 0, 0, 0, 0, 0])
    data = bytearray(saved(inner, "GIF", **({} if transparent is None else {"transparency": transparent})))
    data[6:10] = (101).to_bytes(2, "little") + (77).to_bytes(2, "little")
    at = data.index(b"\x2c", 13 + 12)
    data[at + 1 : at + 5] = left.to_bytes(2, "little") + top.to_bytes(2, "little")
    return bytes(data)


def webp_with_offset() -> bytes:
    """An animated WebP of 101 x 77 pixels, opaque, whose first frame is at FRAME."""
    frames = [Image.new("RGBA", (101, 77)) for _ in range(2)]
    for frame, colour in zip(frames, [(0, 200, 0, 255), (0, 0, 200, 255)], strict=True):
        frame.paste(colour, FRAME)
    return saved(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True)


@pytest.mark.parametrize("data", [gif_with_offset(None), gif_with_offset(3), webp_with_offset()])
def test_a_first_frame_that_is_smaller_than_the_picture(data: bytes) -> None:
    """It is transparent around the frame, as in browsers."""
    picture = read(data)
    left, top, right, bottom = FRAME
    opacity = np.zeros((77, 101), np.uint8)
    opacity[top:bottom, left:right] = 255
    assert np.array_equal(picture[..., 3], opacity)
    assert (picture[top:bottom, left:right, :3] == (0, 200, 0)).all()
