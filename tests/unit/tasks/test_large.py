"""Results that are larger than what tasks compose: enlarged as the file is written."""

from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image

from orchestrator.arrays import Pixels
from orchestrator.errors import InvalidRequestError
from orchestrator.imaging.layers import resized
from orchestrator.params import (
    BackgroundParams,
    Caption,
    Color,
    CropGravity,
    Edit,
    Fit,
    GenerateBackground,
    HorizontalPlace,
    ImageFormat,
    ImageToImage,
    Inpaint,
    LayoutParams,
    Outpaint,
    OutputParams,
    Removal,
    SizeParams,
    Task,
    TextToImage,
    Upscale,
    VerticalPlace,
)
from orchestrator.tasks import finish, frame
from tests.unit.tasks.task_harness import TaskHarness, noise, scene, source

SIDE = 256
"""Of what is composed in these tests; larger results are large."""


@pytest.fixture(autouse=True)
def small_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is large begins at 256 pixels a side here, so that the tests are fast."""
    for name, value in (("COMPOSED_SIDE", SIDE), ("COMPOSED_PIXELS", SIDE * SIDE)):
        monkeypatch.setattr(frame, name, value)
    monkeypatch.setattr(finish, "COMPOSED_SIDE", SIDE)


def smooth(width: int, height: int, channels: int = 3) -> Pixels:
    return resized(noise(8, 6, channels), (width, height))


def item() -> Pixels:
    return scene(60, 40, item=(20, 10, 20, 20))


TASKS: list[tuple[Task, dict[str, Any]]] = [
    (TextToImage(), {"size": SizeParams(width=600, height=400)}),
    (Edit(image=source(smooth(60, 40))), {}),
    (Edit(image=source(smooth(60, 40, 4))), {}),
    (Edit(image=source(item())), {"background": BackgroundParams(remove=Removal.AUTO)}),
    (ImageToImage(image=source(smooth(60, 40))), {}),
    (Upscale(image=source(smooth(60, 40))), {}),
    (Outpaint(image=source(smooth(60, 40))), {"layout": LayoutParams(padding_pixels=100)}),
    (GenerateBackground(image=source(item())), {}),
    (Inpaint(image=source(smooth(60, 40)), mask=source(np.full((40, 60, 3), 255, np.uint8))), {}),
]


@pytest.mark.parametrize(("task", "fields"), TASKS, ids=lambda each: getattr(each, "name", ""))
@pytest.mark.parametrize("image_format", ImageFormat)
async def test_every_task_has_large_results(
    harness: TaskHarness, task: Task, fields: dict[str, Any], image_format: ImageFormat
) -> None:
    asked = {"size": SizeParams(width=600, height=400), "steps": 2, **fields}
    result = await harness.run(task, output=OutputParams(format=image_format), **asked)
    assert (result.width, result.height) == (600, 400)
    with Image.open(BytesIO(result.encoded.data)) as image:
        image.load()
        assert (image.format, image.size) == (image_format.name.upper(), (600, 400))


@pytest.mark.parametrize("fit", Fit)
@pytest.mark.parametrize("channels", [3, 4])
async def test_a_large_result_shows_what_a_small_one_shows(
    harness: TaskHarness, monkeypatch: pytest.MonkeyPatch, fit: Fit, channels: int
) -> None:
    """The same request, composed whole and by rows."""
    fields: dict[str, Any] = {
        "size": SizeParams(width=640, height=300),
        "layout": LayoutParams(fit=fit, padding_pixels=20 if fit is Fit.CANVAS else None, gravity=CropGravity.CENTER),
        "background": BackgroundParams(color=Color(200, 30, 30), replace=source(smooth(50, 50, 4))),
        "caption": Caption(
            image=source(smooth(40, 10, 4)),
            opacity=0.7,
            horizontal=HorizontalPlace.RIGHT,
            vertical=VerticalPlace.BOTTOM,
            padding_pixels=10,
        ),
    }
    task = Edit(image=source(smooth(90, 70, channels)))
    by_rows = await harness.picture(task, **fields)
    for owner in (frame, finish):
        monkeypatch.setattr(owner, "COMPOSED_SIDE", 4096)
    monkeypatch.setattr(frame, "COMPOSED_PIXELS", 4096 * 4096)
    whole = await harness.picture(task, **fields)
    assert by_rows.shape == whole.shape
    assert np.abs(by_rows.astype(int) - whole).mean() < 2


async def test_a_large_inpainted_picture_keeps_its_own_pixels(harness: TaskHarness) -> None:
    """They do not go through the size at which the hole is painted."""
    picture = noise(700, 500)
    mask = np.zeros((500, 700, 3), np.uint8)
    mask[200:300, 300:400] = 255
    result = await harness.picture(Inpaint(image=source(picture), mask=source(mask)), steps=2)
    changed = (result != picture).any(axis=2)
    assert changed[210:290, 310:390].mean() > 0.9
    changed[190:310, 290:410] = False
    assert not changed.any()


async def test_webp_has_its_own_limit_and_says_so_before_any_work(harness: TaskHarness) -> None:
    harness.max_pixels = 200_000_000
    fields: dict[str, Any] = {"size": SizeParams(width=16_384), "output": OutputParams(format=ImageFormat.WEBP)}
    with pytest.raises(InvalidRequestError, match=r"output.format: must not be webp: .* 16383 on a side; ask for png"):
        await harness.run(Edit(image=source(smooth(600, 4))), **fields)
    assert harness.prepared == []


async def test_the_documented_sentence_follows_the_limit(harness: TaskHarness) -> None:
    harness.max_pixels = 200_000_000
    with pytest.raises(InvalidRequestError, match="the limit is 16704 pixels on a side and 200000000 in all") as caught:
        await harness.run(Edit(image=source(smooth(600, 600))), size=SizeParams(width_percent=2500))
    (violation,) = caught.value.violations
    assert violation.limits == {"maximum": 16_704, "max_pixels": 200_000_000}
