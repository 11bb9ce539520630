"""Masks from pictures, their latents, and the blend of old and new."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from orchestrator.arrays import Pixels
from orchestrator.errors import PreconditionError
from orchestrator.imaging.boxes import Box
from orchestrator.imaging.masks import blend, blend_weights, outpainting_mask, read_mask, to_latents

Mask = npt.NDArray[np.float32]
sides = st.integers(1, 40)
MASKS = hnp.arrays(np.float32, st.tuples(sides, sides), elements=st.sampled_from([0.0, 0.25, 0.5, 1.0]).map(np.float32))


def white_square(height: int = 64, width: int = 96) -> Pixels:
    picture = np.zeros((height, width), np.uint8)
    picture[height // 4 : height // 2, width // 4 : width // 2] = 255
    return picture


def test_white_is_change() -> None:
    mask = read_mask(white_square(), (96, 64))
    assert mask.dtype == np.float32
    assert np.array_equal(mask, (white_square() == 255).astype(np.float32))


@pytest.mark.parametrize("channels", [3, 4])
def test_colour_and_alpha_masks(channels: int) -> None:
    picture = np.full((64, 96, channels), 255, np.uint8)
    picture[..., :3] = white_square()[..., None]
    assert np.array_equal(read_mask(picture, (96, 64)), read_mask(white_square(), (96, 64)))


def test_what_is_transparent_does_not_change() -> None:
    picture = np.full((64, 96, 4), 255, np.uint8)
    picture[..., 3] = white_square()
    assert np.array_equal(read_mask(picture, (96, 64)), read_mask(white_square(), (96, 64)))


def test_by_opacity_what_is_transparent_changes() -> None:
    """Whatever its colours are; without transparency there is nothing to change."""
    picture = np.random.default_rng(1).integers(0, 256, (64, 96, 4), np.uint8)
    picture[..., 3] = 255 - white_square()
    assert np.array_equal(read_mask(picture, (96, 64), by_opacity=True), read_mask(white_square(), (96, 64)))
    for opaque in (picture[..., :3], picture[..., 0]):
        with pytest.raises(PreconditionError, match="transparent"):
            read_mask(opaque, (96, 64), by_opacity=True)


def test_values_between_stay() -> None:
    grey = np.full((4, 4), 128, np.uint8)
    assert read_mask(grey, (4, 4)) == pytest.approx(np.full((4, 4), 128 / 255))


@given(hnp.arrays(np.uint8, st.tuples(sides, sides)), sides, sides)
def test_masks_of_other_sizes_are_stretched(picture: Pixels, width: int, height: int) -> None:
    picture[...] |= 128
    mask = read_mask(picture, (width, height))
    assert mask.shape == (height, width)
    assert mask.min() >= 0.5
    assert mask.max() <= 1


@pytest.mark.parametrize("size", [(96, 64), (48, 32), (192, 128), (30, 200)])
def test_the_stretched_mask_selects_the_same_place(size: tuple[int, int]) -> None:
    rows, columns = np.nonzero(read_mask(white_square(), size) >= 0.5)
    assert (columns.mean() + 0.5) / size[0] == pytest.approx(0.375, abs=0.01)
    assert (rows.mean() + 0.5) / size[1] == pytest.approx(0.375, abs=0.02)
    assert columns.size == pytest.approx(size[0] * size[1] / 16, rel=0.1)


@pytest.mark.parametrize("level", [0, 127])
@pytest.mark.parametrize("shape", [(1, 1), (64, 96), (1, 20000)])
def test_a_mask_that_selects_nothing_is_refused(level: int, shape: tuple[int, int]) -> None:
    with pytest.raises(PreconditionError, match="selects nothing"):
        read_mask(np.full(shape, level, np.uint8), (96, 64))


@pytest.mark.parametrize("shape", [(1, 1), (1, 20000), (20000, 1), (64, 96)])
def test_all_white_lets_everything_change(shape: tuple[int, int]) -> None:
    mask = read_mask(np.full(shape, 255, np.uint8), (96, 64))
    assert (mask == 1).all()
    assert (to_latents(mask, (12, 8)) == 1).all()
    assert (blend_weights(mask, 16) == 1).all()


@given(MASKS, st.integers(1, 12), st.integers(1, 12))
def test_a_latent_changes_where_any_pixel_does(mask: Mask, w: int, h: int) -> None:
    latents = to_latents(mask, (w, h))
    assert latents.shape == (1, 1, h, w)
    assert latents.dtype == np.float32
    assert set(np.unique(latents)) <= {0, 1}
    assert latents.any() == (mask >= 0.5).any()


def test_one_pixel_takes_its_latent_and_no_other() -> None:
    mask = np.zeros((64, 96), np.float32)
    mask[23, 40] = 0.5
    mask[24, 47] = 0.49
    latents = to_latents(mask, (12, 8))
    assert np.argwhere(latents[0, 0]).tolist() == [[2, 5]]


def test_aligned_masks_give_diffusers_latents() -> None:
    """Torch's "nearest" takes the cell's first pixel."""
    mask = read_mask(white_square(), (96, 64))
    assert np.array_equal(to_latents(mask, (12, 8))[0, 0], mask[::8, ::8])


def pictures(height: int, width: int) -> tuple[Pixels, Pixels]:
    noise = np.random.default_rng(5).integers(0, 256, (2, height, width, 3), np.uint8)
    return noise[0], noise[1]


@given(MASKS, st.integers(0, 9))
def test_unmasked_pixels_are_the_originals(mask: Mask, band: int) -> None:
    old, new = pictures(*mask.shape)
    blended = blend(old, new, mask, band)
    assert blended.dtype == np.uint8
    assert np.array_equal(blended[mask < 0.5], old[mask < 0.5])
    if band == 0 or (mask >= 0.5).all():
        assert np.array_equal(blended[mask >= 0.5], new[mask >= 0.5])


def test_the_band_is_as_wide_as_asked() -> None:
    mask = np.zeros((1, 20), np.float32)
    mask[:, 8:] = 1
    weights = blend_weights(mask, 3)[0]
    assert weights[:8].tolist() == [0] * 8
    assert weights[8:11] == pytest.approx([0.25, 0.5, 0.75])
    assert weights[11:].tolist() == [1] * 9
    old, new = pictures(1, 20)
    blended = blend(old, new, mask, 3)
    assert np.array_equal(blended[:, 11:], new[:, 11:])
    assert blended[0, 9] == pytest.approx((old[0, 9].astype(float) + new[0, 9]) / 2, abs=0.5)


def test_the_blend_has_no_seam() -> None:
    """A step of 200 grey levels is spread over the band: no neighbours differ by more than its share."""
    mask = read_mask(white_square(128, 128), (128, 128))
    old, new = np.full((128, 128, 3), 20, np.uint8), np.full((128, 128, 3), 220, np.uint8)
    blended = blend(old, new, mask, 9).astype(int)
    assert np.abs(np.diff(blended, axis=0)).max() <= 21
    assert np.abs(np.diff(blended, axis=1)).max() <= 21
    assert blended.max() == 220


def test_outpainting_paints_around_the_picture_and_over_its_border() -> None:
    mask = outpainting_mask((100, 60), Box(20, 10, 50, 40), 4)
    expected = np.ones((60, 100), np.float32)
    expected[14:46, 24:66] = 0
    assert np.array_equal(mask, expected)


def test_sides_on_the_edge_of_the_canvas_are_kept() -> None:
    mask = outpainting_mask((100, 60), Box(0, 0, 50, 60), 4)
    assert np.array_equal(np.flatnonzero(mask.min(axis=0) == 0), np.arange(46))
    assert (mask[:, :46] == 0).all()


@given(st.integers(-20, 60), st.integers(-20, 60), st.integers(1, 60), st.integers(1, 60), st.integers(0, 40))
def test_any_box_keeps_something_of_the_picture(left: int, top: int, width: int, height: int, feather: int) -> None:
    box = Box(left, top, width, height)
    mask = outpainting_mask((40, 30), box, feather)
    inside = box.within(40, 30)
    outside = np.ones((30, 40), bool)
    outside[inside.rows, inside.columns] = False
    assert (mask[outside] == 1).all()
    assert (mask == 0).any() == (inside.width > 0 and inside.height > 0)


@given(st.integers(-50, 50), st.integers(-50, 50), st.integers(0, 90), st.integers(0, 90))
def test_boxes_are_cut_to_the_picture(left: int, top: int, width: int, height: int) -> None:
    box = Box(left, top, width, height)
    inside = box.within(40, 30)
    cells = {(x, y) for x in range(box.left, box.right) for y in range(box.top, box.bottom)}
    kept = {(x, y) for x in range(inside.left, inside.right) for y in range(inside.top, inside.bottom)}
    assert kept == {(x, y) for x, y in cells if 0 <= x < 40 and 0 <= y < 30}


@pytest.mark.parametrize("hidden", [0, 255])
def test_hidden_colours_do_not_come_out_of_a_blend(hidden: int) -> None:
    """The old picture is transparent: where the new one fades in, its colour alone is seen."""
    mask = np.zeros((1, 20), np.float32)
    mask[:, 8:] = 1
    old = np.full((1, 20, 4), hidden, np.uint8)
    old[..., 3] = 0
    blended = blend(old, np.full((1, 20, 4), (200, 90, 40, 255), np.uint8), mask, 3)
    assert blended[0, 8:11, 3].tolist() == [64, 128, 191]
    assert (blended[0, 8:, :3] == (200, 90, 40)).all()
    assert np.array_equal(blended[:, :8], old[:, :8])
