"""A request becomes a picture, over the fakes: events, sizes, bytes, previews, where the picture goes."""

import asyncio
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from orchestrator.diffusion.stages import Stage
from orchestrator.errors import InvalidRequestError
from orchestrator.generation.events import Artifact, Preview, Progress, Queued, Started
from orchestrator.generation.job import Job, new_job_id
from orchestrator.params import Delivery, ImageFormat, OutputParams, SamplerName
from tests.unit.orchestrator.world import (
    ALICE,
    FAMILIES,
    PUBLIC_URL,
    World,
    build,
    events,
    hold,
    until,
)


async def test_a_request_becomes_a_picture(world: World) -> None:
    seen = await events(
        await world.submit(width=140, height=70, seed=5, steps=3, prompt="red house and a tree by the sea")
    )
    assert seen[0] == Queued(0, 0.0)
    assert seen[1] == Started(seed=5, network_width=64, network_height=32, prompt_tokens_cut=3)
    assert seen[2:-1] == [
        Progress(Stage.ENCODE, 1, 1),
        *[Progress(Stage.DENOISE, step, 3) for step in (1, 2, 3)],
        Progress(Stage.DECODE, 1, 1),
        Progress(Stage.FINISH, 1, 1),
    ]
    artifact = seen[-1]
    assert isinstance(artifact, Artifact)
    assert artifact.data is not None
    picture = cv2.imdecode(np.frombuffer(artifact.data, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    assert picture.shape == (70, 140, 3)
    assert artifact.uri is None
    assert (artifact.width, artifact.height, artifact.file_size) == (140, 70, len(artifact.data))
    assert (artifact.format, artifact.quality) == (ImageFormat.PNG, None)
    assert (artifact.seed, artifact.family, artifact.sampler, artifact.steps) == (5, "small", SamplerName.DDIM, 3)
    assert [m.model for m in artifact.models] == [
        "small_text_encoder",
        "small_unet",
        "small_vae_decoder",
        "small_upscaler",
    ]
    assert [(t.stage, t.calls) for t in artifact.timings] == [
        (Stage.ENCODE, 1),
        (Stage.DENOISE, 3),
        (Stage.DECODE, 1),
        (Stage.FINISH, 1),
    ]
    assert world.stored() == []
    world.assert_idle()


async def test_what_a_request_leaves_open_is_the_familys(world: World) -> None:
    job = await world.submit(seed=None)
    artifact = (await events(job))[-1]
    assert isinstance(artifact, Artifact)
    assert (artifact.width, artifact.height, artifact.steps) == (64, 96, 4)
    assert world.networks.rows == [2, 2, 2, 2]
    assert 0 <= artifact.seed < 2**32
    again = await world.make(seed=artifact.seed)
    assert again.data == artifact.data


async def test_drawn_seeds_differ(world: World) -> None:
    assert len({(await world.make(seed=None, steps=1)).seed for _ in range(5)}) == 5


@pytest.mark.parametrize(("size", "expected"), [({"width": 80}, (80, 80)), ({"height": 80}, (80, 80))])
async def test_one_side_alone_makes_a_square(world: World, size: dict[str, int], expected: tuple[int, int]) -> None:
    artifact = await world.make(**size)
    assert (artifact.width, artifact.height) == expected


async def test_each_field_of_a_request_matters(world: World) -> None:
    """None is lost between the request and the networks."""
    base: dict[str, Any] = {"width": 64, "height": 64, "steps": 3}
    changes: list[dict[str, Any]] = [
        {},
        {"prompt": "house"},
        {"negative_prompt": "red"},
        {"seed": 8},
        {"steps": 4},
        {"guidance_scale": 9.0},
        {"sampler": SamplerName.EULER_ANCESTRAL},
        {"width": 128},
        {"output": OutputParams(format=ImageFormat.JPEG)},
        {"output": OutputParams(format=ImageFormat.JPEG, quality=20)},
    ]
    files = [(await world.make(**{**base, **change})).data for change in changes]
    assert len(set(files)) == len(changes)


async def test_the_same_request_gives_the_same_bytes_alone_and_among_seven_others(tmp_path: Path) -> None:
    world = build(tmp_path, slots=8)
    alone = [(await world.make(seed=seed, steps=3 + seed)).data for seed in range(8)]
    permits = hold(world.networks)
    jobs = [await world.submit(seed=seed, steps=3 + seed) for seed in range(8)]
    together = [asyncio.create_task(events(job)) for job in jobs]
    for job in jobs:
        await until(job, Progress)
    assert len(world.admission._running) == 8
    for _ in range(200):
        permits.release()
        await asyncio.sleep(0)
    artifacts = [(await task)[-1] for task in together]
    assert [a.data for a in artifacts if isinstance(a, Artifact)] == alone


async def test_previews_come_after_every_nth_step(world: World) -> None:
    seen = await events(await world.submit(steps=7, preview_interval=3, width=128, height=64))
    previews = [event for event in seen if isinstance(event, Preview)]
    assert [preview.step for preview in previews] == [3, 6]
    for preview in previews:
        before = seen[seen.index(preview) - 1]
        assert before == Progress(Stage.DENOISE, preview.step, 7)
        assert preview.jpeg.startswith(b"\xff\xd8\xff")
        picture = cv2.imdecode(np.frombuffer(preview.jpeg, np.uint8), cv2.IMREAD_COLOR)
        assert picture is not None
        assert picture.shape == (128, 256, 3)  # of 8 x 4 latents


async def test_no_previews_unless_asked_for(world: World) -> None:
    assert not any(isinstance(event, Preview) for event in await events(await world.submit()))


async def test_a_picture_of_sdxl_names_both_encoders_and_what_the_longer_tokens_lost(tmp_path: Path) -> None:
    lines = 'pad_id = 0\ntext_encoder_2 = "small_text_encoder_2"\n'
    world = build(tmp_path, families=FAMILIES.replace("pad_id = 0\n", lines))
    world.networks.without -= {"text_encoder_2"}
    seen = await events(await world.submit(prompt="red house and a tree by the sea"))
    started, artifact = seen[1], seen[-1]
    assert isinstance(started, Started)
    assert started.prompt_tokens_cut == 3
    assert isinstance(artifact, Artifact)
    assert [model.model for model in artifact.models] == [
        f"small_{role}" for role in ("text_encoder", "text_encoder_2", "unet", "vae_decoder", "upscaler")
    ]
    assert (artifact.timings[0].stage, artifact.timings[0].calls) == (Stage.ENCODE, 2)


def test_previews_follow_the_family_table(world: World, tmp_path: Path) -> None:
    """Red, green and blue are the first three channels; without a table there is no preview."""
    x0 = np.zeros((1, 4, 2, 3), np.float32)
    x0[0, 0] = 1
    x0[0, 2] = -1
    small = world.pipeline.preview(x0)
    assert small is not None
    assert small.shape == (2, 3, 3)
    assert small[0, 0].tolist() == [255, 128, 0]
    start, end = FAMILIES.index("[networks.small.preview]"), FAMILIES.index("[families.small]")
    assert build(tmp_path, families=FAMILIES[:start] + FAMILIES[end:]).pipeline.preview(x0) is None


@pytest.mark.parametrize("image_format", [*ImageFormat])
async def test_a_picture_goes_to_the_store_if_asked_for(world: World, image_format: ImageFormat) -> None:
    output = OutputParams(format=image_format, delivery=Delivery.URI)
    artifact = await world.make(output=output)
    assert artifact.data is None
    (name,) = world.stored()
    assert artifact.uri == f"{PUBLIC_URL}/results/{name}"
    inline = await world.make(output=OutputParams(format=image_format))
    assert (world.folder / name).read_bytes() == inline.data


async def test_a_copy_goes_to_the_accounts_storage(world: World) -> None:
    artifact = await world.make(output=OutputParams(target="storage://shop/a/b.png"))
    assert artifact.uri is None
    assert artifact.data == (world.folder / "copy-2-b.png").read_bytes()


async def test_a_storage_that_the_account_lacks_is_reported_before_anything_waits(world: World) -> None:
    with pytest.raises(InvalidRequestError, match=r"^output.target: no storage named none is configured$"):
        await world.submit(output=OutputParams(target="storage://none/b.png"))
    world.assert_idle()


async def test_a_copy_that_cannot_be_written_fails_the_request_and_leaves_no_picture(world: World) -> None:
    output = OutputParams(target="storage://lost/b.png", delivery=Delivery.URI)
    with pytest.raises(InvalidRequestError, match=r"^output.target: cannot be written$"):
        await world.make(output=output)
    assert world.stored() == []
    world.assert_idle()


async def test_a_durable_jobs_picture_is_stored_whatever_was_asked_for(world: World) -> None:
    ended = await world.submit()
    await events(ended)
    job = Job(new_job_id(), ALICE, ended.plan, ended.options, turn=ended.turn, durable=True)
    artifact = await world.runner.generate(job)
    assert job.plan.output.delivery is Delivery.INLINE
    assert artifact.data is None
    assert artifact.uri is not None
    assert world.stored() == [artifact.uri.rpartition("/")[2]] == [job.picture]


async def test_quality_is_what_was_taken(world: World) -> None:
    output = OutputParams(format=ImageFormat.JPEG, quality=95, max_file_size=1500)
    artifact = await world.make(output=output, width=128, height=128)
    assert artifact.file_size <= 1500
    assert artifact.quality is not None
    assert artifact.quality < 95
