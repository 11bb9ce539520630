"""TIFF of every kind that tifffile writes: the right picture, or a refusal in words; never wrong pixels."""

from collections.abc import Iterator
from io import BytesIO
from itertools import product
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt
import pytest
import tifffile

from orchestrator.errors import InvalidRequestError
from orchestrator.imaging.decode import DecodeLimits, decode

Floats = npt.NDArray[np.float64]
HEIGHT, WIDTH = 48, 80
CHANNELS = {"minisblack": 1, "miniswhite": 1, "rgb": 3, "separated": 4}
Order = Literal["<", ">"]
ORDERS: tuple[Order, ...] = get_args(Order)
COMPRESSIONS = (None, "lzw", "deflate", "packbits", "zstd", "lzma")


class Kind(NamedTuple):
    """A cell of the matrix."""

    depth: int
    photometric: str
    planar: str
    order: Order
    extra: str | None
    tiled: bool
    predictor: bool
    big: bool = False


def kinds() -> Iterator[Kind]:
    for cell in product(
        (8, 16),
        CHANNELS,
        ("contig", "separate"),
        ORDERS,
        (None, "unassalpha", "assocalpha", "unspecified"),
        (False, True),
        (False, True),
    ):
        kind = Kind(*cell)
        channels = CHANNELS[kind.photometric] + (kind.extra is not None)
        if channels > 1 or kind.planar == "contig":
            yield kind
    yield Kind(16, "rgb", "separate", "<", None, tiled=False, predictor=False, big=True)
    yield Kind(8, "rgb", "contig", ">", "unassalpha", tiled=True, predictor=True, big=True)


def colours_and_alpha(kind: Kind) -> tuple[Floats, Floats]:
    """What the file holds, 0 to 255: ramps, an edge and noise; with associated alpha no colour is above it."""
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(float)
    noise = np.random.default_rng(5).integers(0, 256, (HEIGHT, WIDTH))
    edge = np.where(x < WIDTH / 2, 20, 230)
    every = np.rint(np.stack([x * 255 / (WIDTH - 1), y * 255 / (HEIGHT - 1), edge, noise], axis=-1))
    alpha = np.rint(np.clip(40 + 4 * y, 0, 255))[..., None]
    colours = every[..., : CHANNELS[kind.photometric]]
    return (np.minimum(colours, alpha) if kind.extra == "assocalpha" else colours), alpha


def written(kind: Kind, compression: str | None) -> bytes:
    colours, alpha = colours_and_alpha(kind)
    samples = 255 - colours if kind.photometric == "miniswhite" else colours
    samples = samples if kind.extra is None else np.concatenate([samples, alpha], axis=-1)
    # The low bytes are not the high ones: a reader that takes one for the other is found out.
    deep = samples.astype(np.uint8) if kind.depth == 8 else (samples.astype(np.uint16) << 8) | 0x35
    several = deep.shape[-1] > 1
    data: npt.NDArray[Any] = deep if several else deep[..., 0]
    file = BytesIO()
    tifffile.imwrite(
        file,
        np.ascontiguousarray(deep.transpose(2, 0, 1)) if several and kind.planar == "separate" else data,
        bigtiff=kind.big,
        byteorder=kind.order,
        compression=compression,
        extrasamples=None if kind.extra is None else [kind.extra],
        metadata=None,
        photometric=kind.photometric,
        planarconfig=kind.planar if several else None,
        predictor=kind.predictor and compression in {"lzw", "deflate", "zstd"},
        tile=(32, 32) if kind.tiled else None,
    )
    return file.getvalue()


def expected(kind: Kind) -> tuple[Floats, Floats]:
    """RGB and opacity as they must be read."""
    colours, alpha = colours_and_alpha(kind)
    if kind.extra == "assocalpha":
        colours = np.clip(colours * 255 / alpha, 0, 255)
    if kind.photometric == "separated":
        return (255 - colours[..., :3]) * (255 - colours[..., 3:]) / 255, alpha
    return np.repeat(colours, 4 - colours.shape[-1], axis=-1)[..., :3] if colours.shape[-1] == 1 else colours, alpha


@pytest.mark.parametrize("kind", [*kinds()], ids=lambda kind: "-".join(map(str, kind)))
def test_a_tiff_is_read_rightly_or_refused_in_words(kind: Kind) -> None:
    for compression in COMPRESSIONS:
        try:
            picture = decode(written(kind, compression), DecodeLimits(), "image").astype(float)
        except InvalidRequestError as error:
            assert_refused_in_words(kind, error)
        else:
            assert_right(kind, picture)


def assert_refused_in_words(kind: Kind, error: InvalidRequestError) -> None:
    (violation,) = error.violations
    if kind.big and kind.order == ">":
        assert violation.description.startswith("is a BigTIFF file in big-endian order; send")
        return
    assert violation.description.startswith("has ")
    assert "send" in violation.description
    assert kind.extra is not None, "all kinds without more samples are read"
    assert kind.photometric != "rgb", "and all of RGB"


def assert_right(kind: Kind, picture: Floats) -> None:
    colours, alpha = expected(kind)
    # Associated alpha: one level of rounding, divided by an opacity of at least 40.
    assert np.abs(picture[..., :3] - colours).max() <= (7 if kind.extra == "assocalpha" else 1)
    if kind.extra in {"unassalpha", "assocalpha"}:
        assert np.array_equal(picture[..., 3], alpha[..., 0])
    else:
        assert picture.shape[2] == 3


@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("depth", [1, 2, 4])
def test_grey_below_eight_bits(depth: int, order: Order, photometric: str) -> None:
    levels = np.arange(WIDTH * HEIGHT, dtype=np.uint8).reshape(HEIGHT, WIDTH) % 2**depth
    stored = 2**depth - 1 - levels if photometric == "miniswhite" else levels
    file = BytesIO()
    options: dict[str, Any] = {"photometric": photometric, "byteorder": order, "metadata": None}
    tifffile.imwrite(file, stored.astype(bool) if depth == 1 else stored, bitspersample=depth, **options)
    picture = decode(file.getvalue(), DecodeLimits(), "image")
    assert np.array_equal(picture[..., 1], levels * (255 // (2**depth - 1)))


def test_a_palette_of_sixteen_bit_colours() -> None:
    palette = np.random.default_rng(1).integers(0, 65_536, (3, 256)).astype(np.uint16)
    indices = np.arange(256, dtype=np.uint8).reshape(16, 16)
    file = BytesIO()
    tifffile.imwrite(file, indices, photometric="palette", colormap=palette)
    assert np.array_equal(decode(file.getvalue(), DecodeLimits(), "image"), (palette >> 8).T[indices])


UNREAD: dict[str, tuple[npt.NDArray[Any], dict[str, Any], str]] = {
    "float64": (np.zeros((8, 8)), {"photometric": "minisblack"}, "64 bit floating-point grey"),
    "RGB float32": (np.zeros((8, 8, 3), np.float32), {"photometric": "rgb"}, "32 bit floating-point RGB"),
    "five bands": (
        np.zeros((8, 8, 5), np.uint8),
        {"photometric": "minisblack", "planarconfig": "contig"},
        "8 bit unsigned grey with",
    ),
    "Lab": (np.zeros((8, 8, 3), np.uint16), {"photometric": "cielab"}, "16 bit unsigned Lab"),
    "signed": (np.zeros((8, 8, 3), np.int16), {"photometric": "rgb"}, "16 bit signed RGB"),
    "WebP inside": (
        np.zeros((16, 16, 3), np.uint8),
        {"photometric": "rgb", "compression": "webp"},
        "is compressed by TIFF's method 50001",
    ),
}


@pytest.mark.parametrize("name", UNREAD)
def test_kinds_that_are_not_read_are_named(name: str) -> None:
    samples, options, words = UNREAD[name]
    file = BytesIO()
    tifffile.imwrite(file, samples, metadata=None, **options)
    with pytest.raises(InvalidRequestError, match=words):
        decode(file.getvalue(), DecodeLimits(), "image")
