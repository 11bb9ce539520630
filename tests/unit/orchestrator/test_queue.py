"""Jobs from their arrival to their end, over the fakes: order, cancelling, errors, deleting, stopping."""

import asyncio
import gc
import weakref
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from orchestrator.diffusion.pipeline import Stage
from orchestrator.errors import (
    CancelledByClientError,
    EngineFaultError,
    EngineUnavailableError,
    ImagegenError,
    InvalidRequestError,
    NotFoundError,
    PreconditionError,
    QueueFullError,
    ShuttingDownError,
)
from orchestrator.jobs import queue as queue_module
from orchestrator.jobs.events import Artifact, Event, Preview, Progress, Queued, Started
from orchestrator.jobs.job import Job, JobState
from orchestrator.params import Delivery, ImageFormat, OutputParams, Priority, SamplerName
from tests.unit.orchestrator.world import PUBLIC_URL, SteppedNetworks, World, build, error_of, events, until

TO_STORE = OutputParams(delivery=Delivery.URI)


def hold(networks: SteppedNetworks) -> asyncio.Semaphore:
    """UNet calls wait from now on; each release lets one through."""
    networks.permits = asyncio.Semaphore(0)
    return networks.permits


def release_all(networks: SteppedNetworks) -> None:
    assert networks.permits is not None
    for _ in range(1000):
        networks.permits.release()


# ---------------------------------------------------------------- the way that everything goes well


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
    assert [m.model for m in artifact.models] == ["fake of small"]
    assert [(t.stage, t.calls) for t in artifact.timings] == [
        (Stage.ENCODE, 1),
        (Stage.DENOISE, 3),
        (Stage.DECODE, 1),
        (Stage.FINISH, 0),
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


@pytest.mark.parametrize("image_format", [*ImageFormat])
async def test_a_picture_goes_to_the_store_if_asked_for(world: World, image_format: ImageFormat) -> None:
    output = OutputParams(format=image_format, delivery=Delivery.URI)
    artifact = await world.make(output=output)
    assert artifact.data is None
    assert artifact.uri is not None
    assert artifact.uri.startswith(f"{PUBLIC_URL}/results/")
    stored = await world.results.open(artifact.uri.rpartition("/")[2])
    assert stored.size == artifact.file_size
    inline = await world.make(output=OutputParams(format=image_format))
    assert b"".join([chunk async for chunk in stored.chunks]) == inline.data


async def test_a_detached_picture_is_stored_too_and_not_held_in_memory(world: World) -> None:
    job = await world.submit(detach=True, ephemeral=False)
    artifact = (await events(job))[-1]
    assert isinstance(artifact, Artifact)
    assert artifact.data is not None  # for the one who watches
    assert artifact.uri is not None
    assert world.stored() == [artifact.uri.rpartition("/")[2]]
    assert job.artifact is not None
    assert (job.artifact.data, job.artifact.uri) == (None, artifact.uri)


async def test_quality_is_what_was_taken(world: World) -> None:
    output = OutputParams(format=ImageFormat.JPEG, quality=95, max_file_size=1500)
    artifact = await world.make(output=output, width=128, height=128)
    assert artifact.file_size <= 1500
    assert artifact.quality is not None
    assert artifact.quality < 95


# ---------------------------------------------------------------- waiting


async def test_waiting_jobs_are_told_their_position_whenever_it_changes(world: World) -> None:
    hold(world.networks)
    jobs = [await world.submit() for _ in range(4)]
    await until(jobs[0], Started)
    watchers = [asyncio.create_task(events(job)) for job in jobs]
    await asyncio.sleep(0)
    urgent = await world.submit(priority=Priority.HIGH)
    world.queue.cancel(jobs[2])
    release_all(world.networks)
    assert positions(await watchers[1]) == [0, 1, 0]
    assert positions(await watchers[3]) == [2, 3, 2, 1, 0]
    await watchers[0]
    await events(urgent)
    assert isinstance(await error_of(jobs[2]), CancelledByClientError)
    watchers[2].cancel()


def positions(seen: list[Event]) -> list[int]:
    return [event.position for event in seen if isinstance(event, Queued)]


async def test_the_best_class_runs_first(world: World) -> None:
    order: list[Priority | None] = []

    async def watch(job: Job, priority: Priority | None) -> None:
        await until(job, Started)
        order.append(priority)
        await events(job)

    hold(world.networks)
    first = await world.submit(priority=Priority.LOW)  # finds the slot free
    waiting = [(await world.submit(priority=p), p) for p in (Priority.LOW, Priority.NORMAL, Priority.HIGH)]
    watchers = [asyncio.create_task(watch(job, priority)) for job, priority in [(first, None), *waiting]]
    release_all(world.networks)
    await asyncio.gather(*watchers)
    assert order == [None, Priority.HIGH, Priority.NORMAL, Priority.LOW]


async def test_a_full_queue_refuses_and_forgets(tmp_path: Path) -> None:
    world = build(tmp_path, slots=1, max_queued=1)
    hold(world.networks)
    jobs = [await world.submit(), await world.submit()]
    with pytest.raises(QueueFullError) as caught:
        await world.submit()
    assert caught.value.retry_after >= 1
    assert len(world.queue._jobs) == 2
    release_all(world.networks)
    for job in jobs:
        await events(job)
    await world.make()


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"family": "large"}, "family"),
        ({"sampler": SamplerName.LCM, "steps": 51}, "steps"),
    ],
)
async def test_what_the_family_cannot_do_is_refused_at_once(world: World, fields: dict[str, Any], path: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        await world.submit(**fields)
    assert [violation.field for violation in caught.value.violations] == [path]
    assert len(world.queue._jobs) == 0
    world.assert_idle()


async def test_networks_that_are_not_ready_refuse_at_once(world: World) -> None:
    world.networks.ready = False
    with pytest.raises(EngineUnavailableError):
        await world.submit()
    world.networks.ready = True
    await world.make()


async def test_networks_that_vanish_while_a_job_waits_end_it(world: World) -> None:
    hold(world.networks)
    first, second = await world.submit(), await world.submit()
    await until(first, Started)
    world.networks.ready = False
    release_all(world.networks)
    await events(first)
    assert isinstance(await error_of(second), EngineUnavailableError)
    world.assert_idle()


# ---------------------------------------------------------------- cancelling


async def test_cancelling_at_step_3_costs_no_further_call(world: World) -> None:
    """Cancelled while the third call runs: it ends, and nothing is called after it."""
    job = await world.submit(steps=30)
    world.networks.at_call[3] = lambda: world.queue.cancel(job)
    assert isinstance(await error_of(job), CancelledByClientError)
    assert world.networks.calls == 3
    assert job.state is JobState.CANCELLED
    world.assert_idle()
    await world.make()


async def test_cancelling_between_steps_costs_no_call_at_all(world: World) -> None:
    permits = hold(world.networks)
    job = await world.submit(steps=30)
    for _ in range(3):
        permits.release()
    await until(job, Progress, 4)  # encoded, and three steps
    world.queue.cancel(job)
    release_all(world.networks)
    assert isinstance(await error_of(job), CancelledByClientError)
    assert world.networks.calls <= 4  # the fourth may have been on its way
    world.assert_idle()


async def test_a_waiting_job_is_cancelled_at_once(world: World) -> None:
    hold(world.networks)
    first, second = await world.submit(), await world.submit()
    await until(first, Started)
    world.queue.cancel(second)
    assert second.state is JobState.CANCELLED
    assert isinstance(await error_of(second), CancelledByClientError)
    assert world.admission.waiting == []
    release_all(world.networks)
    await events(first)
    assert second.started is None


async def test_a_job_that_is_cancelled_as_it_starts_asks_no_network(world: World) -> None:
    job = await world.submit()  # has its slot, and has not yet begun
    world.queue.cancel(job)
    assert isinstance(await error_of(job), CancelledByClientError)
    assert (world.networks.calls, job.started) == (0, None)
    world.assert_idle()


async def test_cancelling_what_has_ended_changes_nothing(world: World) -> None:
    job = await world.submit(ephemeral=False)
    await events(job)
    world.queue.cancel(job)
    assert job.state is JobState.SUCCEEDED
    assert job.artifact is not None
    await world.make()


async def test_a_picture_of_a_job_cancelled_while_it_was_stored_is_removed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await world.submit(output=TO_STORE)
    put = world.results.put

    async def cancelled(data: bytes, image_format: ImageFormat) -> str:
        uri = await put(data, image_format)
        world.queue.cancel(job)
        return uri

    monkeypatch.setattr(world.results, "put", cancelled)
    assert isinstance(await error_of(job), CancelledByClientError)
    assert world.stored() == []
    world.assert_idle()


# ---------------------------------------------------------------- errors


@pytest.mark.parametrize("error", [EngineFaultError("secret"), EngineUnavailableError("down", retry_after=2.0)])
async def test_an_engine_error_in_the_middle_ends_the_job_and_frees_the_slot(world: World, error: Exception) -> None:
    world.networks.at_call[3] = lambda: setattr(world.networks, "error", error)
    job = await world.submit(steps=10)
    assert await error_of(job) is error
    assert world.networks.calls == 3
    assert job.state is JobState.FAILED
    world.assert_idle()
    world.networks.error = None
    await world.make()


async def test_a_crash_in_the_middle_is_an_internal_error_and_frees_the_slot(world: World) -> None:
    world.networks.error = ZeroDivisionError("secret detail")
    job = await world.submit()
    error = await error_of(job)
    assert type(error) is ImagegenError
    assert str(error) == "internal error"
    assert job.state is JobState.FAILED
    world.assert_idle()
    world.networks.error = None
    await world.make()


async def test_a_picture_that_does_not_fit_fails(world: World) -> None:
    output = OutputParams(format=ImageFormat.JPEG, max_file_size=1024)
    assert isinstance(await error_of(await world.submit(output=output, width=2000, height=2000)), PreconditionError)
    world.assert_idle()


async def test_a_store_that_fails_is_an_internal_error_and_frees_the_slot(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(_data: bytes, _format: ImageFormat) -> str:
        raise OSError("disk full")

    monkeypatch.setattr(world.results, "put", full)
    job = await world.submit(output=TO_STORE)
    assert type(await error_of(job)) is ImagegenError
    world.assert_idle()


async def test_a_store_that_cannot_remove_frees_the_slot(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The picture of a job that was deleted while it was stored."""
    job = await world.submit(output=TO_STORE)

    async def put(_data: bytes, _format: ImageFormat) -> str:
        await world.queue.delete(job)
        return "http://x"

    async def delete(_uri: str) -> None:
        raise PermissionError("read-only")

    monkeypatch.setattr(world.results, "put", put)
    monkeypatch.setattr(world.results, "delete", delete)
    assert type(await error_of(job)) is ImagegenError
    assert job.state is JobState.DELETED
    world.assert_idle()


async def test_a_failed_job_keeps_no_arrays(world: World) -> None:
    """A kept error must not hold the frames of the pipeline, and the latents in them."""
    alive: list[weakref.ref[Any]] = []
    world.networks.on_sample = lambda sample: alive.append(weakref.ref(sample))
    world.networks.error = EngineFaultError("broken")
    job = await world.submit(ephemeral=False)
    await error_of(job)
    gc.collect()
    assert world.queue.get(job.id, "alice") is job
    assert [ref() for ref in alive] == [None]


# ---------------------------------------------------------------- deleting and forgetting


async def test_deleting_removes_the_picture(world: World) -> None:
    job = await world.submit(output=TO_STORE, ephemeral=False)
    await events(job)
    assert len(world.stored()) == 1
    await world.queue.delete(job)
    await world.queue.delete(job)
    assert world.stored() == []
    assert (job.state, job.artifact) == (JobState.DELETED, None)
    assert await events(job) == []


async def test_deleting_a_running_job_stops_it(world: World) -> None:
    permits = hold(world.networks)
    job = await world.submit(output=TO_STORE, ephemeral=False, steps=30)
    permits.release()
    await until(job, Progress, 2)
    await world.queue.delete(job)
    assert job.state is JobState.DELETED
    release_all(world.networks)
    assert isinstance(await error_of(job), CancelledByClientError)
    assert job.state is JobState.DELETED
    assert world.networks.calls <= 2
    assert world.stored() == []
    world.assert_idle()


async def test_a_job_that_is_deleted_as_it_starts_stays_deleted(world: World) -> None:
    job = await world.submit(ephemeral=False)
    await world.queue.delete(job)
    assert isinstance(await error_of(job), CancelledByClientError)
    assert (job.state, world.networks.calls) == (JobState.DELETED, 0)
    world.assert_idle()


async def test_deleting_while_the_picture_is_stored_leaves_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await world.submit(output=TO_STORE, ephemeral=False)
    put = world.results.put

    async def deleted(data: bytes, image_format: ImageFormat) -> str:
        uri = await put(data, image_format)
        await world.queue.delete(job)
        return uri

    monkeypatch.setattr(world.results, "put", deleted)
    assert isinstance(await error_of(job), CancelledByClientError)
    assert job.state is JobState.DELETED
    assert world.stored() == []
    world.assert_idle()


async def test_deleting_a_waiting_job(world: World) -> None:
    hold(world.networks)
    first, second = await world.submit(), await world.submit(ephemeral=False)
    await until(first, Started)
    await world.queue.delete(second)
    assert (second.state, second.is_ended) == (JobState.DELETED, True)
    release_all(world.networks)
    await events(first)
    world.assert_idle()


async def test_jobs_are_seen_by_their_own_account_only(world: World) -> None:
    job = await world.submit(account="alice")
    assert world.queue.get(job.id, "alice") is job
    for job_id, account in [(job.id, "bob"), (job.id, "anonymous"), ("x", "alice"), ("", "alice")]:
        with pytest.raises(NotFoundError, match=r"^no such job$"):
            world.queue.get(job_id, account)
    await events(job)
    world.queue.forget(job)
    world.queue.forget(job)
    with pytest.raises(NotFoundError):
        world.queue.get(job.id, "alice")


async def test_only_so_many_ended_jobs_are_remembered(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_module, "KEPT_JOBS", 3)
    ended = []
    for _ in range(5):
        ended.append(await world.submit(ephemeral=False, steps=1))
        await events(ended[-1])
    assert list(world.queue._jobs.values()) == ended[2:]


async def test_jobs_that_wait_or_run_are_never_forgotten(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_module, "KEPT_JOBS", 1)
    hold(world.networks)
    jobs = [await world.submit(ephemeral=False, steps=1) for _ in range(4)]
    await until(jobs[0], Started)
    world.queue.cancel(jobs[3])
    assert list(world.queue._jobs.values()) == jobs[:3]
    release_all(world.networks)
    for job in jobs[:3]:
        await events(job)
    assert list(world.queue._jobs.values()) == [jobs[2]]


# ---------------------------------------------------------------- stopping


async def test_an_idle_queue_drains_at_once(world: World) -> None:
    assert await world.queue.drain(0)
    with pytest.raises(ShuttingDownError):
        await world.submit()


async def test_draining_lets_running_jobs_end_and_sends_waiting_streams_away(world: World) -> None:
    hold(world.networks)
    running, stream, kept = [await world.submit(ephemeral=e, output=TO_STORE) for e in (True, True, False)]
    await until(running, Started)
    draining = asyncio.create_task(world.queue.drain(60))
    assert isinstance(await error_of(stream), ShuttingDownError)
    with pytest.raises(ShuttingDownError):
        await world.submit()
    assert not draining.done()
    release_all(world.networks)
    assert await draining
    assert (running.state, kept.state) == (JobState.SUCCEEDED, JobState.SUCCEEDED)
    world.assert_idle()


async def test_a_request_that_is_being_planned_when_stopping_begins_is_refused(world: World) -> None:
    submitting = asyncio.create_task(world.submit())
    await asyncio.sleep(0)  # its tokens are counted in a thread
    draining = asyncio.create_task(world.queue.drain(60))
    with pytest.raises(ShuttingDownError):
        await submitting
    assert await draining


async def test_draining_gives_up_when_the_time_is_over(world: World) -> None:
    hold(world.networks)
    job = await world.submit()
    await until(job, Started)
    assert not await world.queue.drain(0.01)
    release_all(world.networks)
    await events(job)
