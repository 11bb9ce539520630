"""generate_background keeps the object: outside the blend band its pixels are the input's, resized once."""

import numpy as np
import pytest

from orchestrator.arrays import Pixels
from orchestrator.imaging.layers import resized
from orchestrator.params import Fit, GenerateBackground, LayoutParams, SizeParams
from tests.unit.tasks.task_harness import TaskHarness, noise, scene, source

ITEM = (30, 20, 36, 28)
BAND = 8
"""Pixels of the input inside the object's border that may be blended: the network looks at 256 x 256, softly."""


WHOLE = LayoutParams(fit=Fit.BOUNDS)
"""The whole picture is resized, the object in it; without that a given size is the object's canvas."""


def times(scale: int) -> SizeParams:
    """A multiple of the size of the pictures here."""
    return SizeParams(width=96 * scale, height=64 * scale)


def inner(scale: int) -> tuple[slice, slice]:
    """The item without its band, in a result that is `scale` times as large."""
    left, top, width, height = ITEM
    rows = slice((top + BAND) * scale, (top + height - BAND) * scale)
    return rows, slice((left + BAND) * scale, (left + width - BAND) * scale)


def cut_out() -> Pixels:
    """RGBA: the item alone."""
    picture = np.zeros((64, 96, 4), np.uint8)
    left, top, width, height = ITEM
    picture[top : top + height, left : left + width, :3] = noise(width, height)
    picture[top : top + height, left : left + width, 3] = 255
    return picture


@pytest.mark.parametrize("scale", [1, 2, 3])
async def test_an_object_that_comes_with_its_opacity(harness: TaskHarness, scale: int) -> None:
    picture = cut_out()
    result = await harness.picture(GenerateBackground(image=source(picture)), steps=2, layout=WHOLE, size=times(scale))
    assert result.shape[2] == 3
    once = resized(picture, (96 * scale, 64 * scale))
    np.testing.assert_array_equal(result[inner(scale)], once[inner(scale)][..., :3])


@pytest.mark.parametrize("scale", [1, 2])
async def test_an_object_that_is_found(harness: TaskHarness, scale: int) -> None:
    picture = scene(96, 64, item=ITEM)
    result = await harness.picture(GenerateBackground(image=source(picture)), steps=2, layout=WHOLE, size=times(scale))
    once = resized(picture, (96 * scale, 64 * scale)).astype(int)
    np.testing.assert_allclose(result[inner(scale)], once[inner(scale)], atol=0 if scale == 1 else 1)


async def test_an_object_that_is_moved(harness: TaskHarness) -> None:
    """A canvas of its own: the object alone is enlarged, in one go, and laid into the middle."""
    picture, size = cut_out(), SizeParams(width=200, height=140)
    result = await harness.picture(GenerateBackground(image=source(picture)), steps=2, size=size)
    left, top, width, height = ITEM
    once = resized(picture[top : top + height, left : left + width], (180, 140))[..., :3]
    np.testing.assert_array_equal(result[:, 10:190], once)
