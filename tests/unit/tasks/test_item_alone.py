"""The product recipe: a box around the object, with padding, on a background: sizes, and where the object is placed."""

import numpy as np
import pytest

from orchestrator.arrays import Pixels
from orchestrator.params import (
    BackgroundParams,
    Color,
    CropGravity,
    Edit,
    Fit,
    LayoutParams,
    Removal,
    SizeParams,
)
from tests.unit.tasks.task_harness import TaskHarness, source

OBJECT = (200, 40, 30)
WHITE = BackgroundParams(remove=Removal.AUTO, color=Color(255, 255, 255))


def product() -> Pixels:
    """A red box of 40 x 20 pixels, cut out already, in a corner of 160 x 120."""
    picture = np.zeros((120, 160, 4), np.uint8)
    picture[5:25, 10:50] = (*OBJECT, 255)
    return picture


def layout(**padding: float) -> LayoutParams:
    return LayoutParams(fit=Fit.CROP, gravity=CropGravity.ITEM, **padding)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("size", "asked", "shape", "box"),
    [
        (SizeParams(), layout(), (20, 40), (0, 0, 40, 20)),
        (SizeParams(), layout(padding_pixels=6), (32, 52), (6, 6, 46, 26)),
        (SizeParams(), layout(padding_share=0.25), (40, 60), (10, 10, 50, 30)),
        (SizeParams(width=100, height=100), layout(padding_pixels=10), (100, 100), (10, 30, 90, 70)),
        (SizeParams(width=100, height=100), layout(padding_share=0.1), (100, 100), (10, 30, 90, 70)),
        (SizeParams(width=100), layout(padding_pixels=10), (60, 100), (10, 10, 90, 50)),
        (SizeParams(height=100), layout(padding_pixels=10), (100, 180), (10, 10, 170, 90)),
    ],
)
async def test_the_object_fills_what_the_padding_leaves(
    harness: TaskHarness, size: SizeParams, asked: LayoutParams, shape: tuple[int, int], box: tuple[int, int, int, int]
) -> None:
    result = await harness.picture(Edit(image=source(product())), prompt="", size=size, layout=asked, background=WHITE)
    assert result.shape == (*shape, 3)
    red = np.abs(result.astype(int) - OBJECT).max(axis=2) < 40
    rows, columns = np.flatnonzero(red.any(axis=1)), np.flatnonzero(red.any(axis=0))
    found = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
    assert np.abs(np.subtract(found, box)).max() <= 6  # of its soft edge
    assert (result[~red].astype(int).min(axis=-1) > 30).all()


async def test_an_object_smaller_than_min_length_is_enlarged_with_its_picture(harness: TaskHarness) -> None:
    background = BackgroundParams(remove=Removal.AUTO)
    plain = await harness.picture(
        Edit(image=source(product())), prompt="", background=background, size=SizeParams(min_length=64)
    )
    assert plain.shape[:2] == (384, 512)  # 64 / 20 of 120 x 160
    fixed = SizeParams(width=160, min_length=64)
    assert (await harness.picture(Edit(image=source(product())), prompt="", background=background, size=fixed)).shape[
        :2
    ] == (120, 160)
