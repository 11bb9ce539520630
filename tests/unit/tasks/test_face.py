"""Avatars of faces, and backgrounds removed around persons and things, over fakes: a bright picture holds a face."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from orchestrator.arrays import Floats, Pixels
from orchestrator.diffusion.stages import Stage
from orchestrator.errors import EngineFaultError, EngineUnavailableError, PreconditionError
from orchestrator.imaging import faces
from orchestrator.params import BackgroundParams, EdgesParams, Edit, Face, LayoutParams, Removal, SizeParams
from tests.unit.tasks.task_harness import TaskHarness, noise, source


def bright(width: int = 96, height: int = 64) -> Pixels:
    """Every part of it is a face to the fakes."""
    return (noise(width, height) // 4 + 192).astype(np.uint8)


async def test_the_head_is_the_image_prompt(harness: TaskHarness) -> None:
    result = await harness.picture(Face(image=source(bright()), likeness=0.7), steps=2)
    assert result.shape == (64, 96, 3)
    (given,) = harness.scenes
    assert given.start is None
    assert given.mask is None
    assert given.control is None
    prompt = given.image_prompt
    assert prompt is not None
    assert (prompt.scale, prompt.face) == (0.7, False)
    assert prompt.pixels.shape == (512, 512, 3)
    assert prompt.pixels.min() > 150  # of the picture alone, also beyond its border
    assert harness.prepared[0].edges is None
    assert harness.timer.stages[0].calls == 2


async def test_the_face_only_is_on_grey(harness: TaskHarness) -> None:
    await harness.run(Face(image=source(bright()), face_only=True), steps=2)
    prompt = harness.scenes[0].image_prompt
    assert prompt is not None
    assert prompt.face
    assert (prompt.pixels[0, 0] == faces.NEUTRAL).all()
    assert prompt.pixels[256, 256].min() > 150


async def test_likeness_matters(harness: TaskHarness) -> None:
    results = [await harness.picture(Face(image=source(bright()), likeness=each), steps=2) for each in (0, 0.5, 1)]
    assert (results[0] != results[1]).any()
    assert (results[1] != results[2]).any()


async def test_the_largest_face_is_taken(harness: TaskHarness) -> None:
    """Two faces are found; the other one is dark, so that the picture of the prompt shows which it is."""
    picture = np.full((256, 256, 3), 60, np.uint8)
    picture[:, 128:] = 250

    async def detector(image: Floats) -> tuple[Floats, Floats]:
        boxes, scores = np.zeros((len(image), 896, 16), np.float32), np.full((len(image), 896, 1), -9, np.float32)
        for anchor, side in ((2 * 16 * 8 + 2 * 4, 20), (2 * 16 * 8 + 2 * 12, 24)):  # the middles of the halves
            boxes[0, anchor, 2:4] = side
            scores[0, anchor] = 9
        return boxes, scores

    async def landmarks(image: Floats) -> tuple[Floats, Floats]:
        return np.zeros((len(image), 468, 3), np.float32), np.ones((len(image), 1), np.float32)

    use(harness, face_detector=detector, face_landmarks=landmarks)
    await harness.run(Face(image=source(picture)), steps=2)
    prompt = harness.scenes[0].image_prompt
    assert prompt is not None
    assert prompt.pixels.min() == 250


def use(harness: TaskHarness, **networks: Any) -> None:
    """Other tools than the fakes."""
    tools = replace(harness.fakes.tools(), **networks)
    harness.fakes.tools = lambda turn=None: tools  # type: ignore[method-assign]  # noqa: ARG005


@pytest.mark.parametrize(
    ("size", "layout", "shape"),
    [
        (SizeParams(width=128, height=128), LayoutParams(), (128, 128, 3)),
        (SizeParams(width=192), LayoutParams(), (128, 192, 3)),
        (SizeParams(width=128, height=128), LayoutParams(padding_pixels=14), (128, 128, 4)),
    ],
)
async def test_sizes(harness: TaskHarness, size: SizeParams, layout: LayoutParams, shape: tuple[int, int, int]) -> None:
    result = await harness.picture(Face(image=source(bright())), steps=2, size=size, layout=layout)
    assert result.shape == shape
    if shape[2] == 4:
        assert result[14:-14, 14:-14, 3].min() == 255
        assert result[:14, :, 3].max() == 0


async def test_edges_of_the_cut_out_may_steer(harness: TaskHarness) -> None:
    await harness.run(Face(image=source(bright()), edges=EdgesParams(scale=0.4)), steps=2)
    control = harness.scenes[0].control
    assert control is not None
    assert control.scale == 0.4
    assert harness.prepared[0].edges is not None


async def test_a_picture_without_a_face_is_refused(harness: TaskHarness) -> None:
    with pytest.raises(PreconditionError, match=r"^face\.image: needs .*: no face was found in the picture$"):
        await harness.run(Face(image=source(np.zeros((64, 96, 3), np.uint8))))
    assert harness.fakes.calls == 0
    assert harness.prepared == []


async def test_what_only_the_detector_takes_for_a_face_is_none(harness: TaskHarness) -> None:
    async def unsure(image: Floats) -> tuple[Floats, Floats]:
        return np.zeros((len(image), 468, 3), np.float32), np.full((len(image), 1), -1, np.float32)

    use(harness, face_landmarks=unsure)
    with pytest.raises(PreconditionError, match="no face was found"):
        await harness.run(Face(image=source(bright())))


async def test_a_wrong_answer_is_a_fault(harness: TaskHarness) -> None:
    async def broken(image: Floats) -> tuple[Floats, Floats]:
        return np.full((len(image), 896, 16), np.nan, np.float32), np.zeros((len(image), 896, 1), np.float32)

    use(harness, face_detector=broken)
    with pytest.raises(EngineFaultError, match="face detector"):
        await harness.run(Face(image=source(bright())))


async def test_networks_that_are_not_ready(harness: TaskHarness) -> None:
    harness.fakes.waiting = frozenset({"face_detector"})
    with pytest.raises(EngineUnavailableError, match="the face detector network is not ready"):
        await harness.run(Face(image=source(bright())))


def two_things() -> Pixels:
    """RGBA: one thing at the left, one at the right."""
    picture = np.zeros((64, 128, 4), np.uint8)
    picture[10:50, 10:50] = 255
    picture[10:50, 80:120] = 255
    return picture


@pytest.mark.parametrize(
    ("removal", "middle", "left_stays", "right_stays"),
    [
        (Removal.AUTO, (30, 30), True, True),
        (Removal.HUMAN, (30, 30), True, False),
        (Removal.HUMAN, (100, 30), False, True),
        (Removal.ITEM, (30, 30), False, True),
        (Removal.ITEM, None, True, True),
    ],
)
async def test_persons_and_things(
    harness: TaskHarness, removal: Removal, middle: tuple[int, int] | None, left_stays: bool, right_stays: bool
) -> None:
    async def detector(image: Floats) -> tuple[Floats, Floats]:
        boxes, scores = np.zeros((len(image), 896, 16), np.float32), np.full((len(image), 896, 1), -9, np.float32)
        if middle is not None:
            boxes[:, 0, :2] = middle[0] * 2 - 8, middle[1] * 2 + 64 - 8  # the picture is in the middle of the square
            boxes[:, 0, 2:4] = 40
            scores[:, 0] = 9
        return boxes, scores

    use(harness, face_detector=detector)
    result = await harness.picture(Edit(image=source(two_things())), background=BackgroundParams(remove=removal))
    assert (result[30, 30, 3] == 255, result[30, 100, 3] == 255) == (left_stays, right_stays)
    assert harness.timer.stages[-1].stage is Stage.FINISH


async def test_a_person_is_asked_for_and_there_is_none(harness: TaskHarness) -> None:
    dark = two_things()
    dark[..., :3] = 0
    with pytest.raises(PreconditionError, match=r"^background\.remove: needs .*: no person was found"):
        await harness.run(Edit(image=source(dark)), background=BackgroundParams(remove=Removal.HUMAN))
