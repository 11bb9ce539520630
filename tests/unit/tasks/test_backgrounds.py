"""The object of a picture and what is behind it: generate_background, and every task's background options."""

from typing import Any

import numpy as np
import pytest

from orchestrator.arrays import Pixels
from orchestrator.errors import EngineUnavailableError, InvalidRequestError, PreconditionError, UnsupportedTaskError
from orchestrator.params import (
    BackgroundParams,
    Color,
    CropGravity,
    Edit,
    Fit,
    GenerateBackground,
    ImageFormat,
    LayoutParams,
    OutputParams,
    Removal,
    SizeParams,
    TextToImage,
)
from tests.unit.tasks.task_harness import TaskHarness, noise, opened, scene, source

ITEM = (30, 20, 24, 16)
INNER = np.s_[24:32, 34:50]
"""Well inside ITEM: matting works at another size, and its border is soft."""


def cut(width: int = 96, height: int = 64, item: tuple[int, int, int, int] = ITEM) -> Pixels:
    """RGBA of an item of noise on nothing."""
    picture = np.zeros((height, width, 4), np.uint8)
    left, top, item_width, item_height = item
    picture[top : top + item_height, left : left + item_width, :3] = noise(item_width, item_height)
    picture[top : top + item_height, left : left + item_width, 3] = 255
    return picture


async def test_the_object_stays_where_it_is_and_as_it_is(harness: TaskHarness) -> None:
    picture = cut()
    result = await harness.picture(GenerateBackground(image=source(picture)), steps=2)
    assert result.shape == (64, 96, 3)
    item = picture[..., 3] == 255
    np.testing.assert_array_equal(result[item], picture[item][:, :3])


async def test_the_object_is_found_where_the_picture_is_opaque(harness: TaskHarness) -> None:
    picture = scene(96, 64, item=ITEM)
    result = await harness.picture(GenerateBackground(image=source(picture)), steps=2)
    np.testing.assert_allclose(result[INNER].astype(int), picture[INNER], atol=30)
    assert (result[:10] != picture[:10]).any(axis=2).mean() > 0.9


async def test_the_network_paints_all_but_the_inside_of_the_object(harness: TaskHarness) -> None:
    picture = cut(64, 32, (20, 8, 24, 16))
    await harness.run(GenerateBackground(image=source(picture)), steps=2)
    (given,) = harness.scenes
    assert given.start is not None
    assert given.start.strength == 1
    assert given.mask is not None
    np.testing.assert_array_equal(given.mask == 0, picture[..., 3] == 255)
    assert (given.start.pixels[given.mask == 1] == 128).all()


async def test_a_colour_to_start_from(harness: TaskHarness) -> None:
    picture = cut(64, 32, (20, 8, 24, 16))
    for color in (Color(red=200, green=10, blue=20), Color(auto=True)):
        await harness.run(GenerateBackground(image=source(picture), color=color), steps=2)
    for given, expected in zip(harness.scenes, ((200, 10, 20), (255, 255, 255)), strict=True):
        assert given.start is not None
        assert given.mask is not None
        assert given.start.strength < 1
        assert (given.start.pixels[given.mask == 1] == expected).all()


@pytest.mark.parametrize(
    ("fields", "area", "size", "box"),
    [
        ({"size": SizeParams(width=240, height=160)}, None, (240, 160), (0, 0, 240, 160)),
        ({"size": SizeParams(width=160, height=160)}, None, (160, 160), (0, 27, 160, 107)),
        ({}, 0.25, (96, 64), (24, 16, 48, 32)),
        ({"layout": LayoutParams(padding_pixels=8)}, None, (96, 64), (12, 8, 72, 48)),
        ({"size": SizeParams(width=400, height=400)}, 0.5, (400, 400), (27, 85, 346, 231)),
        (
            {"size": SizeParams(width=200, height=200), "layout": LayoutParams(fit=Fit.BOUNDS)},
            None,
            (200, 133),
            (62, 42, 50, 33),
        ),
    ],
)
async def test_where_the_object_is_placed(
    harness: TaskHarness,
    fields: dict[str, Any],
    area: float | None,
    size: tuple[int, int],
    box: tuple[int, int, int, int],
) -> None:
    """An item of 24 x 16 within 96 x 64: the painted result is dark noise, the item white."""
    picture = cut()
    picture[..., :3] = 255
    result = await harness.picture(GenerateBackground(image=source(picture), item_area=area), steps=2, **fields)
    assert result.shape == (size[1], size[0], 3)
    left, top, width, height = box
    white = (result == 255).all(axis=2)
    assert white[top + 2 : top + height - 2, left + 2 : left + width - 2].all()
    white[max(0, top - 1) : top + height + 1, max(0, left - 1) : left + width + 1] = False
    assert white.mean() < 0.1


async def test_padding_that_leaves_no_room_is_refused(harness: TaskHarness) -> None:
    with pytest.raises(InvalidRequestError, match=r"^layout\.padding_pixels: leaves no room: 40 pixels"):
        await harness.run(GenerateBackground(image=source(cut())), layout=LayoutParams(padding_pixels=40))


@pytest.mark.parametrize("transparent", [False, True])
async def test_a_picture_without_an_object_is_refused(harness: TaskHarness, transparent: bool) -> None:
    picture = np.zeros((32, 64, 4), np.uint8) if transparent else scene(64, 32)
    with pytest.raises(PreconditionError, match=r"^generate_background\.image: needs .*: no object was found"):
        await harness.run(GenerateBackground(image=source(picture)))
    with pytest.raises(PreconditionError, match=r"^background\.remove: needs .*: no object was found"):
        await harness.run(Edit(image=source(picture)), background=BackgroundParams(remove=Removal.AUTO))
    assert harness.prepared == [harness.prepared[0]]  # only edit began


async def test_what_needs_a_missing_network_says_so(harness: TaskHarness) -> None:
    harness.fakes.without = frozenset({"matting"})
    remove = BackgroundParams(remove=Removal.AUTO)
    with pytest.raises(UnsupportedTaskError, match="no matting network"):
        await harness.run(Edit(image=source(scene(96, 64, item=ITEM))), background=remove)
    harness.fakes.waiting = frozenset({"matting"})
    with pytest.raises(EngineUnavailableError, match="the matting network is not ready"):
        await harness.run(Edit(image=source(scene(96, 64, item=ITEM))), background=remove)


async def test_removing_the_background(harness: TaskHarness) -> None:
    picture = scene(96, 64, item=ITEM)
    result = await harness.picture(Edit(image=source(picture)), background=BackgroundParams(remove=Removal.AUTO))
    assert result.shape == (64, 96, 4)
    assert result[INNER][..., 3].min() > 200
    assert result[:10, :, 3].max() == 0


async def test_removing_the_background_of_what_was_painted(harness: TaskHarness) -> None:
    result = await harness.picture(TextToImage(), background=BackgroundParams(remove=Removal.AUTO), steps=2, seed=3)
    assert result.shape == (96, 64, 4)
    assert 0 < result[..., 3].mean() < 255


async def test_a_colour_behind_what_is_transparent_and_what_the_canvas_adds(harness: TaskHarness) -> None:
    background = BackgroundParams(color=Color(red=1, green=2, blue=3))
    result = await harness.picture(
        Edit(image=source(cut())), background=background, size=SizeParams(width=96, height=96)
    )
    assert result.shape == (96, 96, 3)
    assert result[0, 0].tolist() == result[20, 5].tolist() == [1, 2, 3]
    np.testing.assert_array_equal(result[16:80][cut()[..., 3] == 255], cut()[cut()[..., 3] == 255][:, :3])


async def test_a_colour_that_is_half_transparent_stays_so(harness: TaskHarness) -> None:
    background = BackgroundParams(color=Color(red=9, alpha=128))
    result = await harness.picture(Edit(image=source(cut())), background=background)
    assert result[0, 0].tolist() == [9, 0, 0, 128]


async def test_the_automatic_colour_is_the_borders(harness: TaskHarness) -> None:
    background = BackgroundParams(color=Color(auto=True), remove=Removal.AUTO)
    result = await harness.picture(
        Edit(image=source(scene(96, 64, item=ITEM))), background=background, size=SizeParams(width=96, height=96)
    )
    assert result.shape == (96, 96, 3)
    assert (result[:20] == 240).all()


async def test_another_picture_behind(harness: TaskHarness) -> None:
    behind = np.zeros((64, 64, 3), np.uint8)
    behind[:, :32] = (10, 200, 30)
    background = BackgroundParams(replace=source(behind), color=Color(red=255))
    result = await harness.picture(Edit(image=source(cut())), background=background)
    assert result.shape == (64, 96, 3)
    assert result[5, 5].tolist() == [10, 200, 30]
    assert result[5, 90].tolist() == [0, 0, 0]
    np.testing.assert_array_equal(result[INNER], cut()[INNER][..., :3])


async def test_another_picture_behind_what_was_painted(harness: TaskHarness) -> None:
    background = BackgroundParams(replace=source(noise(64, 96)), remove=Removal.AUTO)
    assert (await harness.picture(TextToImage(), background=background, steps=2, seed=3)).shape == (96, 64, 3)


async def test_jpeg_lays_white_behind(harness: TaskHarness) -> None:
    result = await harness.run(Edit(image=source(cut())), output=OutputParams(format=ImageFormat.JPEG, quality=100))
    assert opened(result.encoded.data)[:10].min() >= 250


async def test_a_crop_keeps_the_object(harness: TaskHarness) -> None:
    picture = scene(300, 64, item=(240, 10, 40, 40))
    picture[:, :100] = 240 - noise(100, 64) // 16  # more detail elsewhere, but light
    picture[:6] = picture[:6, :1]
    layout = LayoutParams(fit=Fit.CROP, gravity=CropGravity.ITEM)
    result = await harness.picture(Edit(image=source(picture)), layout=layout, size=SizeParams(width=64, height=64))
    assert any(np.array_equal(result, picture[:, left : left + 64]) for left in range(225, 232))


async def test_a_crop_keeps_what_has_detail_or_the_middle(harness: TaskHarness) -> None:
    picture = scene(300, 64)
    picture[:, 10:50] = noise(40, 64)
    for gravity, left in ((CropGravity.CONTENT, range(11)), (CropGravity.CENTER, [118])):
        layout = LayoutParams(fit=Fit.CROP, gravity=gravity)
        result = await harness.picture(Edit(image=source(picture)), layout=layout, size=SizeParams(width=64, height=64))
        assert any(np.array_equal(result, picture[:, start : start + 64]) for start in left)
