"""Several control networks in one family: which of them a task asks, what it is shown, and what is refused."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orchestrator.arrays import Floats
from orchestrator.errors import InvalidRequestError, UnsupportedTaskError
from orchestrator.imaging.edges import canny
from orchestrator.models import fakes
from orchestrator.params import (
    Control,
    EdgesParams,
    Enhancement,
    EnhancementKind,
    Face,
    GenerateBackground,
    ImageToImage,
    Inpaint,
    Outpaint,
    Task,
)
from tests.unit.tasks.task_harness import EVERYTHING, TaskHarness, noise, scene, source

PICTURE = noise(64, 32)
EDGES = EdgesParams(scale=0.5)


def of_kinds(folder: Path, *kinds: str) -> TaskHarness:
    return TaskHarness(EVERYTHING.replace("pad_id = 0", f"pad_id = 0\ncontrol_kinds = {list(kinds)}"), folder)


async def seen_as_white(network: Any, image: Floats) -> Any:
    """What a network of faces answers of a white picture: a face."""
    return await network(np.ones_like(image))


def control(**fields: Any) -> Control:
    return Control(image=source(PICTURE), **fields)


def others() -> list[Task]:
    """Tasks that edges may steer in addition to control."""
    image = source(scene(64, 32, item=(20, 8, 16, 16)))
    mask = np.zeros((32, 64), np.uint8)
    mask[8:20, 8:40] = 255
    return [
        ImageToImage(image=image, edges=EDGES),
        Inpaint(image=image, mask=source(mask), edges=EDGES),
        Outpaint(image=image, edges=EDGES),
        GenerateBackground(image=image, edges=EDGES),
    ]


@pytest.mark.parametrize(
    ("kinds", "task", "kind"),
    [
        (["canny"], control(), 0),
        (["canny"], control(edges_only=True), 0),
        (["depth", "canny", "scribble"], control(), 1),
        (["depth", "canny", "scribble"], control(edges_only=True), 2),
        (["depth", "canny"], control(edges_only=True), 0),
        (["depth", "scribble"], control(), 0),
        (["canny", "depth", "pose"], control(control_kind="pose"), 2),
        (["canny", "scribble"], control(control_kind="scribble"), 1),
        (["canny", "scribble"], control(control_kind="canny", edges_only=True), 0),
    ],
)
async def test_which_kind_steers(kinds: list[str], task: Control, kind: int, tmp_path: Path) -> None:
    harness = of_kinds(tmp_path, *kinds)
    assert (await harness.plan(task)).control_kind == kind
    await harness.run(task, steps=2)
    (given,) = harness.scenes
    assert given.control is not None
    assert given.control.kind == kind


async def test_edges_of_every_other_task_go_to_canny_or_scribble(tmp_path: Path) -> None:
    for kinds, kind in ((["depth", "canny", "scribble"], 1), (["depth", "scribble"], 1), (["scribble", "canny"], 1)):
        harness = of_kinds(tmp_path, *kinds)
        for task in others():
            await harness.run(task, steps=2, width=128, height=128)
        assert [given.control.kind for given in harness.scenes if given.control is not None] == [kind] * 4


@pytest.mark.parametrize("edges_only", [False, True])
async def test_a_control_picture_is_shown_as_it_is(tmp_path: Path, edges_only: bool) -> None:
    harness = of_kinds(tmp_path, "canny", "depth")
    await harness.run(control(control_kind="depth", edges=EdgesParams(scale=0.75), edges_only=edges_only), steps=2)
    (given,) = harness.scenes
    assert given.control is not None
    assert (given.control.kind, given.control.scale, given.start) == (1, 0.75, None)
    np.testing.assert_allclose(given.control.image * 255, PICTURE.transpose(2, 0, 1), atol=1e-4)
    assert harness.prepared[0].edges is None


async def test_what_is_transparent_in_a_control_picture_is_white(tmp_path: Path) -> None:
    harness = of_kinds(tmp_path, "depth")
    picture = noise(64, 32, channels=4)
    picture[..., 3] = 255
    picture[:, 32:, 3] = 0
    await harness.run(Control(image=source(picture)), steps=1)
    shown = harness.scenes[0].control
    assert shown is not None
    assert (shown.image[:, :, 32:] == 1).all()
    np.testing.assert_allclose(shown.image[:, :, :32] * 255, picture[:, :32, :3].transpose(2, 0, 1), atol=1e-4)


async def test_scribble_is_shown_the_same_edges_as_canny(tmp_path: Path) -> None:
    """Both are white lines on black; what a drawing's lines are is edges_only's business."""
    harness = of_kinds(tmp_path, "canny", "scribble")
    await harness.run(control(control_kind="scribble"), steps=2)
    (given,) = harness.scenes
    assert given.control is not None
    assert given.start is not None
    np.testing.assert_array_equal(given.control.image[0] * 255, canny(PICTURE).image)


@pytest.mark.parametrize(
    ("task", "fields"),
    [
        (control(control_kind="pose"), ["control.control_kind"]),
        (control(control_kind="depth", strength=0.5), ["control.strength"]),
        (
            control(control_kind="depth", strength=0.5, edges=EdgesParams(low_threshold=1, high_threshold=2)),
            ["control.strength", "control.edges.low_threshold"],
        ),
    ],
)
async def test_what_a_family_cannot_do_is_named(tmp_path: Path, task: Control, fields: list[str]) -> None:
    harness = of_kinds(tmp_path, "canny", "depth")
    with pytest.raises(InvalidRequestError) as caught:
        await harness.plan(task)
    assert [violation.field for violation in caught.value.violations] == fields


async def test_an_unknown_kind_lists_those_that_there_are(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequestError, match=r"'pose' is not a control kind of family small \(canny, depth\)$"):
        await of_kinds(tmp_path, "canny", "depth").plan(control(control_kind="pose"))


@pytest.mark.parametrize("kinds", [[], ["depth"]])
async def test_edges_steer_nothing_where_no_kind_takes_them(tmp_path: Path, kinds: list[str]) -> None:
    harness = of_kinds(tmp_path, *kinds)
    for task in (*others(), Face(image=source(PICTURE), edges=EDGES)):
        with pytest.raises(UnsupportedTaskError, match="no network that edges can steer"):
            await harness.plan(task)
    await harness.plan(Face(image=source(PICTURE)))


async def test_without_control_networks_there_is_no_control(tmp_path: Path) -> None:
    harness = of_kinds(tmp_path)
    with pytest.raises(UnsupportedTaskError, match="no networks for the task control"):
        await harness.plan(control())
    await harness.run(ImageToImage(image=source(PICTURE)), steps=2)


async def test_a_control_picture_costs_all_its_steps(tmp_path: Path) -> None:
    harness = of_kinds(tmp_path, "canny", "depth")
    drawing, brought, started = [
        (await harness.plan(task, steps=10)).cost
        for task in (control(edges_only=True), control(control_kind="depth"), control(edges=EdgesParams(scale=1)))
    ]
    assert drawing == brought
    assert started == pytest.approx(0.4 * drawing)


@pytest.mark.parametrize(("kinds", "steered"), [(["depth", "scribble"], True), (["depth"], False)])
async def test_faces_are_improved_with_edges_where_a_kind_takes_them(
    tmp_path: Path, kinds: list[str], steered: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also in a picture that another kind steered."""
    for name in ("face_detector", "face_landmarks"):
        monkeypatch.setattr(fakes, name, partial(seen_as_white, getattr(fakes, name)))
    harness = of_kinds(tmp_path, *kinds)
    task = Control(image=source(PICTURE), control_kind="depth")
    await harness.run(task, steps=2, enhancements=(Enhancement(kind=EnhancementKind.FACE_ENHANCE),))
    first, *faces = harness.scenes
    assert first.control is not None
    assert first.control.kind == 0
    assert faces
    for given in faces:
        assert (given.control is not None) == steered
        assert given.control is None or given.control.kind == 1
