"""Jobs that start from a picture: fetched, waited for, broken off, let go of."""

import asyncio
import contextlib
import gc
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from prometheus_client import REGISTRY

from orchestrator.diffusion.stages import Stage
from orchestrator.errors import (
    CancelledByClientError,
    EngineUnavailableError,
    InvalidRequestError,
    QueueFullError,
    ShuttingDownError,
    UnsupportedTaskError,
)
from orchestrator.generation.events import Artifact, Progress, Queued, Started
from orchestrator.generation.job import Job, JobState
from orchestrator.params import BackgroundParams, Edit, ImageSource, Removal, TaskName, Upscale
from tests.unit.orchestrator.world import World, build, error_of, events, hold, release_all, until

URL = "https://pictures.example/a.png"
SLOW = "https://pictures.example/slow.png"


def png(width: int = 40, height: int = 30, seed: int = 0) -> bytes:
    """A file of noise."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    return bytes(cv2.imencode(".png", pixels)[1])


def edit(data: bytes | None = None, url: str | None = None) -> Edit:
    return Edit(image=ImageSource(data=data, url=url))


async def slow_job(world: World, **fields: Any) -> Job:
    """A job whose picture is being fetched, and does not come."""
    job = await world.submit(task=edit(url=SLOW), **fields)
    async with asyncio.timeout(5):
        await world.shelf.waits.wait()
    return job


@pytest.mark.parametrize("by", ["url", "data"])
async def test_a_picture_is_read_and_written(world: World, by: str) -> None:
    world.shelf.files[URL] = png()
    task = edit(url=URL) if by == "url" else edit(png())
    seen = await events(await world.submit(task=task, width=80))
    assert seen[:2] == [Queued(0, 0.0), Started(seed=7, network_width=0, network_height=0, prompt_tokens_cut=0)]
    assert seen[2:-1] == [Progress(Stage.PREPARE, 1, 1), Progress(Stage.FINISH, 1, 1)]
    artifact = seen[-1]
    assert isinstance(artifact, Artifact)
    assert (artifact.width, artifact.height, artifact.sampler, artifact.steps, artifact.models) == (80, 60, None, 0, ())
    assert [timing.stage for timing in artifact.timings] == [Stage.PREPARE, Stage.FINISH]
    assert world.networks.calls == 0
    world.assert_idle()


async def test_the_networks_that_took_part_are_named(world: World) -> None:
    """And no other that the family, or the server, has."""
    pixels = np.full((64, 64, 3), 250, np.uint8)
    pixels[16:48, 16:48] = 0
    task = edit(bytes(cv2.imencode(".png", pixels)[1]))
    artifact = await world.make(task=task, background=BackgroundParams(remove=Removal.AUTO))
    assert [model.model for model in artifact.models] == ["small_matting"]
    painted = await world.make(steps=1)
    assert [model.model for model in painted.models] == [
        "small_text_encoder",
        "small_unet",
        "small_vae_decoder",
        "small_upscaler",
    ]


async def test_nothing_but_a_familys_painting_waits_for_its_networks(world: World) -> None:
    world.networks.ready = False
    await world.make(task=edit(png()))
    with pytest.raises(EngineUnavailableError):
        await world.submit()


async def test_a_task_for_which_the_family_has_no_networks_is_refused_at_once(world: World) -> None:
    with pytest.raises(UnsupportedTaskError, match="upscale"):
        await world.submit(task=Upscale(image=ImageSource(data=png())))
    world.assert_idle()


@pytest.mark.parametrize(
    ("task", "background", "field"),
    [
        (edit(b"no picture"), None, "edit.image"),
        (edit(url=SLOW), None, "edit.image"),
        (edit(png()), b"no picture", "background.replace"),
    ],
)
async def test_a_picture_that_cannot_be_had_names_its_field(
    world: World, task: Edit, background: bytes | None, field: str
) -> None:
    world.shelf.opened.set()
    replace = None if background is None else ImageSource(data=background)
    job = await world.submit(task=task, background=BackgroundParams(replace=replace))
    error = await error_of(job)
    assert isinstance(error, InvalidRequestError)
    assert [violation.field for violation in error.violations] == [field]
    assert job.state is JobState.FAILED
    world.assert_idle()
    await world.make()


async def test_cancelling_breaks_off_a_fetch_at_once(world: World) -> None:
    job = await slow_job(world)
    assert (job.state, job.started is not None) == (JobState.RUNNING, True)
    world.queue.cancel(job)
    async with asyncio.timeout(5):
        assert isinstance(await error_of(job), CancelledByClientError)
    assert (job.state, world.shelf.broken_off) == (JobState.CANCELLED, [SLOW])
    world.assert_idle()
    await world.make()


async def test_stopping_the_server_breaks_off_a_fetch_after_the_grace_time(world: World) -> None:
    job = await slow_job(world)
    async with asyncio.timeout(5):
        assert not await world.queue.drain(0.01)
        assert isinstance(await error_of(job), ShuttingDownError)
    assert world.shelf.broken_off == [SLOW]


async def test_one_bad_picture_breaks_off_the_fetch_of_another(world: World) -> None:
    background = BackgroundParams(replace=ImageSource(url=SLOW))
    async with asyncio.timeout(5):
        error = await error_of(await world.submit(task=edit(b"no picture"), background=background))
    assert isinstance(error, InvalidRequestError)
    assert world.shelf.broken_off == [SLOW]
    world.assert_idle()


async def test_pictures_that_wait_are_bounded(tmp_path: Path) -> None:
    data = png()
    world = build(tmp_path, max_held_bytes=2 * len(data))
    hold(world.networks)
    first = await world.submit()
    await until(first, Started)
    waiting = [await world.submit(task=edit(data)) for _ in range(2)]
    with pytest.raises(QueueFullError, match="inline images"):
        await world.submit(task=edit(data))
    assert len(world.queue._jobs) == 3
    by_url = await world.submit(task=edit(url=URL))  # holds none
    world.queue.cancel(by_url)
    world.queue.cancel(waiting[0])
    waiting[0] = await world.submit(task=edit(data))
    release_all(world.networks)
    for job in (first, *waiting):
        await events(job)
    assert REGISTRY.get_sample_value("imagegen_held_bytes") == 0
    world.assert_idle()


@pytest.mark.parametrize("end", ["picture", "error", "cancelled while it waits", "cancelled while it runs"])
async def test_an_ended_job_holds_no_picture(world: World, end: str) -> None:
    """Nor does anybody else."""
    data = b"no picture " * 2 if end == "error" else png()
    before = sys.getrefcount(data)
    if end == "cancelled while it waits":
        hold(world.networks)
        await world.submit()
    replace = ImageSource(url=SLOW) if end == "cancelled while it runs" else None
    background = BackgroundParams(replace=replace)
    job = await world.submit(task=edit(data), background=background)
    assert sys.getrefcount(data) > before
    if end == "cancelled while it runs":
        await world.shelf.waits.wait()
    if end.startswith("cancelled"):
        world.queue.cancel(job)
    with contextlib.suppress(InvalidRequestError, CancelledByClientError):
        await events(job)
    del job
    gc.collect()
    async with asyncio.timeout(2):
        # A thread that has given its answer lets go of its question a little later, and reports nothing.
        while sys.getrefcount(data) > before:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    if world.networks.permits is not None:
        release_all(world.networks)


async def test_ends_are_counted_by_task(world: World) -> None:
    labels = {"task": TaskName.EDIT.value, "family": "small", "outcome": "succeeded"}
    before = REGISTRY.get_sample_value("imagegen_requests_total", labels) or 0
    await world.make(task=edit(png()))
    assert REGISTRY.get_sample_value("imagegen_requests_total", labels) == before + 1
