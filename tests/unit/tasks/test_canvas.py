"""Into a bucket and out again: everything comes back to its place."""

import hypothesis.strategies as st
import numpy as np
from hypothesis import given

from orchestrator.tasks.canvas import Canvas
from tests.unit.tasks.task_harness import noise

ASPECT_SIZES = ((128, 128), (192, 96), (96, 192))
SIDES = st.integers(1, 700)


@given(SIDES, SIDES)
def test_a_picture_fills_the_bucket_on_one_side_and_comes_back(width: int, height: int) -> None:
    canvas = Canvas.choose(ASPECT_SIZES, width, height)
    box = canvas.box
    assert box.width == canvas.size[0] or box.height == canvas.size[1]
    assert box == box.within(*canvas.size)
    picture = noise(width, height)
    whole = canvas.put(picture)
    assert whole.shape == (canvas.size[1], canvas.size[0], 3)
    assert canvas.cut(whole, (width, height)).shape == picture.shape


def test_a_picture_of_the_buckets_size_is_untouched() -> None:
    picture = noise(192, 96)
    canvas = Canvas.choose(ASPECT_SIZES, 192, 96)
    np.testing.assert_array_equal(canvas.put(picture), picture)
    np.testing.assert_array_equal(canvas.cut(picture, (192, 96)), picture)


def test_around_the_picture_is_its_reflection() -> None:
    canvas = Canvas.choose([(128, 128)], 128, 100)
    picture = noise(128, 100)
    whole = canvas.put(picture)
    np.testing.assert_array_equal(whole[14:114], picture)
    np.testing.assert_array_equal(whole[:14], picture[:14][::-1])
    np.testing.assert_array_equal(canvas.cut(whole, (128, 100)), picture)


def test_a_line_comes_back_to_its_place() -> None:
    """A ramp through a smaller bucket and back: its middle moves by less than a pixel of the result."""
    ramp = np.repeat(np.linspace(0, 255, 1000)[None, :, None], 333, axis=0).repeat(3, axis=2).astype(np.uint8)
    canvas = Canvas.choose(ASPECT_SIZES, 1000, 333)
    back = canvas.cut(canvas.put(ramp), (1000, 333))
    assert np.abs(back.astype(int) - ramp)[:, 20:-20].max() <= 2


def test_a_mask_marks_every_pixel_that_it_touches_and_no_margin() -> None:
    canvas = Canvas.choose([(128, 128)], 1280, 640)
    mask = np.zeros((640, 1280), np.float32)
    mask[333, 777] = 1
    small = canvas.put_mask(mask)
    assert small.shape == (128, 128)
    assert np.argwhere(small).tolist() == [[32 + 33, 77]]
    assert canvas.put_mask(np.ones((640, 1280), np.float32))[:32].max() == 0


def test_edges_and_objects_have_an_empty_background() -> None:
    canvas = Canvas.choose([(128, 128)], 128, 64)
    edges = canvas.put_edges(np.full((64, 128), 255, np.uint8))
    assert (edges[:32].max(), edges[32:96].min(), edges[96:].max()) == (0, 255, 0)
    item = canvas.put_object(noise(128, 64))
    assert (item[:32, :, 3].max(), item[32:96, :, 3].min(), item[96:, :, 3].max()) == (0, 255, 0)
