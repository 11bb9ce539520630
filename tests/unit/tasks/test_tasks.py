"""Tasks that start from a picture, over fakes: what is kept, sizes, opacity, what is reported, what is refused."""

from typing import Any

import numpy as np
import pytest

from orchestrator.arrays import Pixels
from orchestrator.diffusion.stages import Stage, StepDone
from orchestrator.errors import EngineUnavailableError, InvalidRequestError, PreconditionError, UnsupportedTaskError
from orchestrator.imaging.edges import canny
from orchestrator.params import (
    BackgroundParams,
    Control,
    CropGravity,
    EdgesParams,
    Edit,
    Fit,
    ImageSource,
    ImageToImage,
    Inpaint,
    LayoutParams,
    Outpaint,
    SizeParams,
    Task,
    TextToImage,
)
from tests.unit.tasks.task_harness import TaskHarness, noise, png, scene, source


def task_from(name: str, picture: Pixels, **fields: Any) -> Task:
    """A task by its name, of one picture."""
    mask = np.zeros((8, 8), np.uint8)
    mask[1:7, 1:7] = 255
    kinds: dict[str, Any] = {
        "image_to_image": ImageToImage,
        "control": Control,
        "inpaint": lambda **more: Inpaint(mask=source(mask), **more),
        "outpaint": Outpaint,
        "edit": Edit,
    }
    task: Task = kinds[name](image=source(picture), **fields)
    return task


PAINTING = ["image_to_image", "control", "inpaint"]


@pytest.mark.parametrize("name", [*PAINTING, "edit"])
@pytest.mark.parametrize("own", [(90, 70), (33, 150), (1, 1), (1, 300), (64, 64)])
async def test_a_picture_keeps_its_size_where_none_is_asked(
    harness: TaskHarness, name: str, own: tuple[int, int]
) -> None:
    result = await harness.picture(task_from(name, noise(*own)), steps=2)
    assert result.shape == (own[1], own[0], 3)


@pytest.mark.parametrize("name", [*PAINTING, "edit"])
async def test_a_canvas_of_another_ratio_gets_transparent_bars(harness: TaskHarness, name: str) -> None:
    result = await harness.picture(task_from(name, noise(64, 32)), steps=2, size=SizeParams(width=128, height=128))
    assert result.shape == (128, 128, 4)
    assert (result[32:96, :, 3] == 255).all()
    assert result[:32, :, 3].max() == result[96:, :, 3].max() == 0


@pytest.mark.parametrize("name", PAINTING)
async def test_what_is_reported_on_the_way(harness: TaskHarness, name: str) -> None:
    await harness.run(task_from(name, noise(64, 32)), steps=4)
    (prepared,) = harness.prepared
    assert prepared.network_size == (64, 32)
    assert (prepared.edges is not None) == (name == "control")
    reported = [step.stage for step in harness.steps if not step.tick]
    assert list(dict.fromkeys(reported)) == [*Stage]
    assert reported.count(Stage.PREPARE) == reported.count(Stage.FINISH) == 1
    assert [time.stage for time in harness.timer.stages] == [*Stage]


async def test_strength_is_the_share_of_the_steps(harness: TaskHarness) -> None:
    result = await harness.run(ImageToImage(image=source(noise(32, 32)), strength=0.5), steps=4)
    assert (result.steps, harness.fakes.calls) == (2, 2)
    weak = await harness.picture(ImageToImage(image=source(scene(32, 32)), strength=0.25), steps=4)
    strong = await harness.picture(ImageToImage(image=source(scene(32, 32)), strength=1.0), steps=4)
    assert np.abs(weak.astype(int) - 240).mean() < np.abs(strong.astype(int) - 240).mean()


async def test_control_steers_by_cannys_edges_at_the_networks_size_and_says_by_which(harness: TaskHarness) -> None:
    picture = scene(64, 32, item=(20, 8, 16, 16))
    await harness.run(Control(image=source(picture), edges=EdgesParams(scale=0.75)), steps=2)
    edges, control = canny(picture), harness.scenes[0].control
    assert control is not None
    assert control.scale == 0.75
    np.testing.assert_array_equal(control.image[0] * 255, edges.image)
    assert harness.prepared[0].edges == (edges.low, edges.high)
    assert harness.scenes[0].start is not None
    assert harness.scenes[0].start.strength == pytest.approx(1 - 0.6 * 0.75)
    await harness.run(Control(image=source(picture), edges=EdgesParams(low_threshold=10, high_threshold=20)), steps=2)
    assert harness.prepared[1].edges == (10, 20)


async def test_a_drawing_gives_its_edges_and_not_its_colours(harness: TaskHarness) -> None:
    drawing = np.full((128, 256, 3), 255, np.uint8)
    drawing[60:64, 20:230] = (200, 0, 0)
    for colours in (drawing, 255 - drawing):
        await harness.run(Control(image=source(colours), edges_only=True, edges=EdgesParams(scale=1)), steps=2)
    for given in harness.scenes:
        assert given.start is None
        assert given.control is not None
        rows = np.argwhere(given.control.image[0].any(axis=1)).ravel()
        assert set(rows) <= {14, 15, 16}  # one stroke, not its two sides
        assert given.control.image[0].any(axis=0).sum() > 45
    assert harness.prepared[0].edges is not None


async def test_the_whole_drawing_is_used_whatever_its_ratio(harness: TaskHarness) -> None:
    drawing = np.full((64, 64, 3), 255, np.uint8)
    drawing[2:4, 2:62] = 0
    drawing[60:62, 2:62] = 0
    await harness.run(Control(image=source(np.pad(drawing, ((0, 0), (0, 30), (0, 0)), mode="edge")), edges_only=True))
    control = harness.scenes[0].control
    assert control is not None
    assert control.image[0, :4].any()
    assert control.image[0, -4:].any()


def masked(own: tuple[int, int], box: tuple[slice, slice]) -> Pixels:
    mask = np.zeros((own[1], own[0]), np.uint8)
    mask[box] = 255
    return mask


@pytest.mark.parametrize("own", [(64, 32), (200, 130), (500, 300)])
@pytest.mark.parametrize("channels", [3, 4])
async def test_inpainting_leaves_every_other_pixel(harness: TaskHarness, own: tuple[int, int], channels: int) -> None:
    picture = noise(*own, channels)
    mask = masked(own, np.s_[own[1] // 4 : own[1] // 2, own[0] // 3 : own[0] // 2])
    result = await harness.picture(Inpaint(image=source(picture), mask=source(mask)), steps=2)
    kept = mask == 0
    np.testing.assert_array_equal(result[kept], picture[kept])
    assert (result[~kept] != picture[~kept]).mean() > 0.9
    if channels == 4:  # what is painted is opaque
        assert result[own[1] * 3 // 8, own[0] * 5 // 12, 3] == 255


async def test_a_mask_of_another_size_is_stretched(harness: TaskHarness) -> None:
    picture, mask = noise(120, 60), masked((12, 6), np.s_[2:4, 3:6])
    result = await harness.picture(Inpaint(image=source(picture), mask=source(mask)), steps=2)
    changed = np.argwhere((result != picture).any(axis=2))
    assert (changed.min(axis=0) >= (17, 26)).all()
    assert (changed.max(axis=0) <= (42, 63)).all()
    assert (result != picture)[24:36, 34:56].any(axis=2).all()


async def test_a_small_mask_is_painted_close_up(harness: TaskHarness) -> None:
    """The network sees the masked part and its surroundings, at no less than its own scale."""
    own = (400, 400)
    await harness.run(Inpaint(image=source(noise(*own)), mask=source(masked(own, np.s_[200:220, 100:120]))), steps=2)
    mask = harness.scenes[0].mask
    assert mask is not None
    assert mask.shape == (32, 32)
    assert 0.2 < mask.mean() < 0.5


async def test_all_may_change(harness: TaskHarness) -> None:
    picture = noise(64, 32)
    white = source(np.full((8, 8), 255, np.uint8))
    result = await harness.picture(Inpaint(image=source(picture), mask=white), steps=2)
    assert (result != picture).mean() > 0.9


async def test_a_mask_that_selects_nothing_is_refused(harness: TaskHarness) -> None:
    black = source(np.zeros((8, 8), np.uint8))
    with pytest.raises(PreconditionError, match=r"^inpaint\.mask: selects nothing"):
        await harness.run(Inpaint(image=source(noise(64, 32)), mask=black))
    assert harness.fakes.calls == 0
    assert harness.prepared == []


@pytest.mark.parametrize("name", ["image_to_image", "control"])
async def test_what_is_transparent_stays_so(harness: TaskHarness, name: str) -> None:
    picture = noise(64, 32, 4)
    picture[..., 3] = 255
    picture[:, :20, 3] = 0
    result = await harness.picture(task_from(name, picture), steps=2)
    np.testing.assert_array_equal(result[..., 3], picture[..., 3])


@pytest.mark.parametrize("channels", [3, 4])
async def test_outpainting_keeps_the_picture_in_the_middle(harness: TaskHarness, channels: int) -> None:
    picture = noise(96, 64, channels)
    result = await harness.picture(
        Outpaint(image=source(picture)), prompt="", steps=2, size=SizeParams(width=200, height=100)
    )
    assert result.shape == (100, 200, channels)
    border = 2  # 1/32 of the shorter side
    inner = np.s_[border:-border, border:-border]
    np.testing.assert_array_equal(result[18:82, 52:148][inner], picture[inner])
    if channels == 4:
        assert (result[:16, :, 3] == 255).all()


async def test_outpainting_on_two_sides_only_touches_those(harness: TaskHarness) -> None:
    picture = noise(64, 64)
    result = await harness.picture(Outpaint(image=source(picture)), steps=2, size=SizeParams(width=128, height=64))
    np.testing.assert_array_equal(result[:, 34:94], picture[:, 2:-2])


async def test_a_picture_larger_than_its_canvas_is_fitted_less_the_padding(harness: TaskHarness) -> None:
    result = await harness.picture(
        Outpaint(image=source(scene(400, 400))),
        steps=2,
        size=SizeParams(width=200, height=100),
        layout=LayoutParams(padding_pixels=10),
    )
    assert (result[12:88, 62:138] == 240).all()


async def test_outpainting_needs_a_larger_canvas(harness: TaskHarness) -> None:
    for fields in ({}, {"size": SizeParams(width=64, height=64)}):
        with pytest.raises(InvalidRequestError, match=r"^size: 64 x 64 leaves nothing to paint"):
            await harness.run(Outpaint(image=source(noise(64, 64))), **fields)


async def test_outpainting_without_words_is_not_guided(harness: TaskHarness) -> None:
    size = SizeParams(width=128, height=64)
    await harness.run(Outpaint(image=source(noise(64, 64))), prompt=" ", steps=2, size=size)
    (given,) = harness.scenes
    assert given.guidance_scale == 1
    np.testing.assert_array_equal(given.prompt_ids, given.negative_ids)


async def test_an_edit_needs_no_network(harness: TaskHarness) -> None:
    harness.ready = False
    picture = noise(64, 32)
    result = await harness.run(Edit(image=source(picture)), prompt="")
    assert (result.steps, result.sampler) == (0, None)
    assert harness.prepared[0].network_size == (0, 0)
    np.testing.assert_array_equal(await harness.picture(Edit(image=source(picture))), picture)
    assert [time.stage for time in harness.timer.stages] == [Stage.PREPARE, Stage.FINISH]


@pytest.mark.parametrize("name", PAINTING)
async def test_painting_waits_for_the_familys_networks(harness: TaskHarness, name: str) -> None:
    harness.ready = False
    with pytest.raises(EngineUnavailableError, match="not ready"):
        await harness.run(task_from(name, noise(64, 32)))


async def test_a_family_without_the_networks_says_so(harness: TaskHarness) -> None:
    harness.family_text = harness.family_text.replace('vae_encoder = "small_vae_encoder"', "")
    with pytest.raises(UnsupportedTaskError, match=r"^family small has no networks for the task image_to_image$"):
        await harness.run(task_from("image_to_image", noise(64, 32)))


async def test_a_family_that_edges_cannot_steer_says_so(harness: TaskHarness) -> None:
    harness.family_text = harness.family_text.replace('controlled_unet = "small_unet"', "")
    with pytest.raises(UnsupportedTaskError, match=r"^family small has no network that edges can steer$"):
        await harness.run(ImageToImage(image=source(noise(64, 32)), edges=EdgesParams()))
    await harness.run(ImageToImage(image=source(noise(64, 32))), steps=2)


async def test_pictures_come_by_url_too(harness: TaskHarness) -> None:
    picture = noise(64, 32)
    harness.files["http://pictures/a.png"] = png(picture)
    result = await harness.picture(Edit(image=ImageSource(url="http://pictures/a.png")))
    np.testing.assert_array_equal(result, picture)


@pytest.mark.parametrize("field", ["edit.image", "background.replace"])
async def test_a_picture_that_cannot_be_read_is_named(harness: TaskHarness, field: str) -> None:
    good, bad = source(noise(8, 8)), ImageSource(data=b"no picture")
    image, replace = (bad, None) if field == "edit.image" else (good, bad)
    with pytest.raises(InvalidRequestError) as refused:
        await harness.run(Edit(image=image), background=BackgroundParams(replace=replace))
    assert [violation.field for violation in refused.value.violations] == [field]


async def test_a_size_too_large_is_refused_before_anything_is_painted(harness: TaskHarness) -> None:
    with pytest.raises(InvalidRequestError, match=r"^size\.width_percent: "):
        await harness.run(task_from("control", noise(200, 100)), size=SizeParams(width_percent=3200))
    assert harness.fakes.calls == 0


async def test_work_stops_where_the_listener_says(harness: TaskHarness) -> None:
    class StopError(Exception):
        pass

    def stop(done: StepDone) -> None:
        if done.stage is Stage.PREPARE:
            raise StopError

    harness.stop_at = stop
    with pytest.raises(StopError):
        await harness.run(task_from("control", noise(64, 32)))
    assert harness.fakes.calls == 0


@pytest.mark.parametrize("fit", [Fit.CROP, Fit.COVER, Fit.BOUNDS])
async def test_an_inpainted_picture_is_resized_once(harness: TaskHarness, fit: Fit) -> None:
    """Outside the mask it is what edit makes of the picture."""
    picture, mask = noise(100, 60), masked((100, 60), np.s_[25:35, 40:60])
    fields: dict[str, Any] = {
        "size": SizeParams(width=80, height=80),
        "layout": LayoutParams(fit=fit, gravity=CropGravity.CENTER),
    }
    painted = await harness.picture(Inpaint(image=source(picture), mask=source(mask)), steps=2, **fields)
    plain = await harness.picture(Edit(image=source(picture)), **fields)
    different = (painted != plain).any(axis=2)
    assert 0.02 < different.mean() < 0.3
    assert not different[:, : different.shape[1] // 5].any()


async def test_text_to_image_starts_from_no_picture(harness: TaskHarness) -> None:
    result = await harness.picture(TextToImage(), steps=2)
    assert result.shape == (96, 64, 3)
    assert harness.scenes[0].start is None
    assert Stage.PREPARE not in {time.stage for time in harness.timer.stages}
