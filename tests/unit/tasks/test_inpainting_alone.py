"""A family whose one UNet was trained to inpaint: it serves the tasks that mask, and no others."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orchestrator.errors import UnsupportedTaskError
from orchestrator.models.fakes import FakeNetworks
from orchestrator.params import (
    Control,
    EdgesParams,
    Edit,
    Enhancement,
    EnhancementKind,
    Face,
    GenerateBackground,
    ImageToImage,
    Inpaint,
    Outpaint,
    Task,
    TextToImage,
    Upscale,
)
from tests.unit.tasks.task_harness import EVERYTHING, TaskHarness, noise, scene, source

PICTURE = source(scene(64, 32, item=(20, 8, 16, 16)))
WITHOUT = frozenset({"unet", "controlled_unet", "image_encoder", "face_encoder", "text_encoder_2"})
ALONE = (
    EVERYTHING.replace('\nunet = "small_unet"', '\ninpaint_unet = "small_inpaint_unet"')
    .replace('controlled_unet = "small_unet"\n', "")
    .replace('image_encoder = "small_image_encoder"\n', "")
)


@pytest.fixture
def alone(tmp_path: Path) -> TaskHarness:
    return TaskHarness(ALONE, tmp_path, FakeNetworks(without=WITHOUT))


def inpaint(**fields: Any) -> Inpaint:
    mask = np.zeros((32, 64), np.uint8)
    mask[8:24, 8:48] = 255
    return Inpaint(image=PICTURE, mask=source(mask), **fields)


@pytest.mark.parametrize(
    "task", [inpaint(), inpaint(strength=0.5), Outpaint(image=PICTURE), GenerateBackground(image=PICTURE)]
)
async def test_what_masks_is_served(alone: TaskHarness, task: Task) -> None:
    picture = await alone.picture(task, steps=4, width=128, height=128)
    assert picture.shape[:2] == (128, 128)
    assert alone.scenes[0].mask is not None
    assert alone.fakes.calls > 0


async def test_a_picture_may_be_edited(alone: TaskHarness) -> None:
    assert (await alone.picture(Edit(image=PICTURE))).shape == (32, 64, 3)


@pytest.mark.parametrize(
    "task",
    [TextToImage(), ImageToImage(image=PICTURE), Control(image=PICTURE), Upscale(image=PICTURE), Face(image=PICTURE)],
    ids=lambda task: task.name,
)
async def test_what_does_not_mask_is_refused(alone: TaskHarness, task: Task) -> None:
    with pytest.raises(UnsupportedTaskError, match=f"^family small has no networks for the task {task.name}$"):
        await alone.plan(task)


@pytest.mark.parametrize(
    ("task", "fields", "message"),
    [
        (inpaint(edges=EdgesParams()), {}, "no network that edges can steer"),
        (Edit(image=source(noise(32, 32))), {"enhance": True}, "no networks for face_enhance"),
    ],
)
async def test_what_steers_or_paints_outside_the_mask_is_refused(
    alone: TaskHarness, task: Task, fields: dict[str, bool], message: str
) -> None:
    wanted = (Enhancement(kind=EnhancementKind.FACE_ENHANCE),) if fields else ()
    with pytest.raises(UnsupportedTaskError, match=message):
        await alone.plan(task, enhancements=wanted)
