"""Face swap over fakes: a bright picture holds a face, and its mesh is an ellipse in the middle of it."""

from dataclasses import replace

import numpy as np
import pytest

from orchestrator.arrays import Floats, Pixels
from orchestrator.errors import PreconditionError
from orchestrator.params import BackgroundParams, Color, FaceSwap, SizeParams
from tests.unit.imaging.meshes import mesh
from tests.unit.tasks.task_harness import TaskHarness, noise, source

DARK = np.zeros((64, 96, 3), np.uint8)


def bright(width: int = 96, height: int = 64) -> Pixels:
    return (noise(width, height) // 4 + 192).astype(np.uint8)


@pytest.fixture(autouse=True)
def _elliptic(harness: TaskHarness) -> None:
    async def landmarks(image: Floats) -> tuple[Floats, Floats]:
        points = np.zeros((len(image), 468, 3), np.float32)
        points[..., :2] = mesh((96, 96), (45, 60))
        return points, np.where(image.mean(axis=(1, 2, 3)) > 0, 1, -1)[:, None].astype(np.float32)

    async def detector(image: Floats) -> tuple[Floats, Floats]:
        boxes, scores = np.zeros((len(image), 896, 16), np.float32), np.full((len(image), 896, 1), -9, np.float32)
        middle = 2 * 16 * 8 + 2 * 8
        boxes[:, middle, 2:4] = 100  # of 256 pixels
        scores[image.mean(axis=(1, 2, 3)) > -0.5, middle] = 9
        return boxes, scores

    tools = replace(harness.fakes.tools(), face_detector=detector, face_landmarks=landmarks)
    harness.fakes.tools = lambda turn=None: tools  # type: ignore[method-assign]  # noqa: ARG005


async def test_only_the_face_changes(harness: TaskHarness) -> None:
    before = bright()
    after = await harness.picture(FaceSwap(image=source(before), face=source(bright(80, 80))), prompt="", steps=10)
    assert after.shape == before.shape
    changed = (after != before).any(axis=2)
    assert changed.any()
    assert not changed[:2].any()
    assert not changed[:, :10].any()
    (given,) = harness.scenes
    assert given.start is not None
    assert (given.start.strength, given.guidance_scale) == (0.1, 1.0)
    assert given.image_prompt is not None
    assert (given.image_prompt.scale, given.image_prompt.face) == (0.8, True)


async def test_without_strength_nothing_is_generated(harness: TaskHarness) -> None:
    task = FaceSwap(image=source(bright()), face=source(bright(80, 80)), strength=0.0)
    result = await harness.run(task, prompt="")
    assert (result.steps, harness.scenes, harness.prepared[0].network_size) == (0, [], (0, 0))
    assert (await harness.picture(task, prompt="") != bright()).any()


async def test_what_is_clear_stays_clear(harness: TaskHarness) -> None:
    before = np.dstack([bright(), np.full((64, 96), 255, np.uint8)])
    before[:5, :5, 3] = 0
    after = await harness.picture(FaceSwap(image=source(before), face=source(bright())), prompt="", steps=10)
    assert (after[..., 3] == before[..., 3]).all()


async def test_size_and_background_are_those_of_any_task(harness: TaskHarness) -> None:
    task = FaceSwap(image=source(bright()), face=source(bright()))
    background = BackgroundParams(color=Color(1, 2, 3))
    result = await harness.picture(
        task, prompt="", steps=10, size=SizeParams(width=200, height=200), background=background
    )
    assert result.shape == (200, 200, 3)
    assert result[0, 0].tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("image", "face", "field"), [(DARK, bright(), "face_swap.image"), (bright(), DARK, "face_swap.face")]
)
async def test_a_picture_without_a_face_is_named(harness: TaskHarness, image: Pixels, face: Pixels, field: str) -> None:
    with pytest.raises(PreconditionError, match="no face was found") as caught:
        await harness.run(FaceSwap(image=source(image), face=source(face)), prompt="")
    assert [violation.field for violation in caught.value.violations] == [field]
    assert harness.scenes == []
