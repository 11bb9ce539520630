"""Jobs that wait, fail, or are stopped with the server: each leaves its slot free."""

import asyncio
import gc
import weakref
from pathlib import Path
from typing import Any

import pytest

from orchestrator import metrics
from orchestrator.errors import (
    CancelledByClientError,
    DeadlineUnreachableError,
    EngineFaultError,
    EngineUnavailableError,
    ImagegenError,
    InvalidRequestError,
    PreconditionError,
    QueueFullError,
    ShuttingDownError,
)
from orchestrator.generation.events import Artifact, Event, Queued, Started
from orchestrator.generation.job import Job, JobState
from orchestrator.params import Delivery, ImageFormat, OutputParams, Priority, SamplerName
from orchestrator.results.store import Written
from tests.unit.orchestrator.world import (
    World,
    build,
    error_of,
    events,
    hold,
    release_all,
    until,
)

TO_STORE = OutputParams(delivery=Delivery.URI)


async def test_waiting_jobs_get_their_position_whenever_it_changes(world: World) -> None:
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


async def test_a_deadline_that_cannot_be_met_is_refused_with_the_expected_wait(world: World) -> None:
    hold(world.networks)
    running = await world.submit(steps=50)
    await until(running, Started)
    with pytest.raises(DeadlineUnreachableError, match=r"is expected in .* deadline_seconds is 5$") as refused:
        await world.submit(steps=5, deadline=5.0)
    assert refused.value.retry_after >= 1
    taken = await world.submit(steps=5, deadline=86_400.0)
    assert len(world.admission.waiting) == 1, "the refused one does not wait"
    release_all(world.networks)
    await events(running)
    await events(taken)
    world.assert_idle()


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
    async def full(_account: int, _data: bytes, _format: ImageFormat) -> Written:
        raise OSError("disk full")

    monkeypatch.setattr(world.results, "write", full)
    job = await world.submit(output=TO_STORE)
    assert type(await error_of(job)) is ImagegenError
    world.assert_idle()


async def test_a_store_that_cannot_remove_frees_the_slot(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The picture of a job that was cancelled while it was stored."""
    job = await world.submit(output=TO_STORE)

    write = world.results.write

    async def cancelled(account: int, data: bytes, image_format: ImageFormat, job_id: str | None) -> Written:
        written = await write(account, data, image_format, job_id)
        world.queue.cancel(job)
        return written

    async def delete(_name: str) -> None:
        raise PermissionError("read-only")

    monkeypatch.setattr(world.results, "write", cancelled)
    monkeypatch.setattr(world.results, "delete", delete)
    assert type(await error_of(job)) is CancelledByClientError  # the sweep removes the picture in its time
    assert job.state is JobState.CANCELLED
    world.assert_idle()


async def test_a_failed_job_keeps_no_arrays(world: World) -> None:
    """A kept error must not hold the frames of the pipeline, and the latents in them."""
    alive: list[weakref.ref[Any]] = []
    world.networks.on_sample = lambda sample: alive.append(weakref.ref(sample))
    world.networks.error = EngineFaultError("broken")
    job = await world.submit()
    error = await error_of(job)
    gc.collect()
    assert job.error is error
    assert [ref() for ref in alive] == [None]


async def test_an_idle_queue_drains_at_once(world: World) -> None:
    assert await world.queue.drain(0)
    with pytest.raises(ShuttingDownError):
        await world.submit()


async def test_draining_lets_running_jobs_end_and_sends_waiting_streams_away(world: World) -> None:
    hold(world.networks)
    running, waiting = [await world.submit(output=TO_STORE) for _ in range(2)]
    await until(running, Started)
    draining = asyncio.create_task(world.queue.drain(60))
    assert isinstance(await error_of(waiting), ShuttingDownError)
    with pytest.raises(ShuttingDownError):
        await world.submit()
    assert not draining.done()
    release_all(world.networks)
    assert await draining
    assert running.state is JobState.SUCCEEDED
    world.assert_idle()


async def test_a_request_that_is_being_planned_when_stopping_begins_is_refused(world: World) -> None:
    submitting = asyncio.create_task(world.submit())
    await asyncio.sleep(0)  # its tokens are counted in a thread
    draining = asyncio.create_task(world.queue.drain(60))
    with pytest.raises(ShuttingDownError):
        await submitting
    assert await draining


async def test_draining_gives_up_when_the_time_is_over(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What runs then stops at its next step, and what waits never starts; both are asked to retry."""
    monkeypatch.setattr("orchestrator.streams.queue.STOP_SECONDS", 0.01)
    hold(world.networks)
    job = await world.submit()
    await until(job, Started)
    calls = world.networks.calls
    assert not await world.queue.drain(0.01)
    release_all(world.networks)
    with pytest.raises(ShuttingDownError):
        await events(job)
    assert world.networks.calls == calls + 1  # the step that was held


async def test_streams_wait_for_a_triton_that_starts_and_are_its_backlog(tmp_path: Path) -> None:
    world = build(tmp_path, slots=2, wake_seconds=60)
    world.networks.ready = False
    jobs = [await world.submit() for _ in range(3)]
    assert len(world.admission.waiting) == 3, "though both slots are free"
    assert backlog() == 12.0, "a second a step, as long as nothing was measured"
    world.networks.ready = True
    for job in jobs:
        assert isinstance((await events(job))[-1], Artifact)
    world.assert_idle()
    assert backlog() == 0.0


async def test_streams_that_run_and_wait_are_counted_by_family(tmp_path: Path) -> None:
    world = build(tmp_path)
    before = metrics.RUNNING.labels("small")._value.get()
    hold(world.networks)
    jobs = [await world.submit() for _ in range(2)]
    await until(jobs[0], Started)
    await asyncio.sleep(0)
    assert backlog() == 4.0, "as long as nothing was measured"
    assert metrics.RUNNING.labels("small")._value.get() == before + 1
    release_all(world.networks)
    for job in jobs:
        await events(job)
    assert metrics.RUNNING.labels("small")._value.get() == before


async def test_a_stream_whose_triton_never_starts_ends(tmp_path: Path) -> None:
    world = build(tmp_path, wake_seconds=0.01)
    world.networks.ready = False
    error = await error_of(await world.submit())
    assert isinstance(error, EngineUnavailableError)
    assert error.retry_after is not None
    assert "have not become ready" in str(error)
    world.assert_idle()


async def test_a_stream_that_waits_for_a_triton_can_be_cancelled(tmp_path: Path) -> None:
    world = build(tmp_path, wake_seconds=60)
    world.networks.ready = False
    job = await world.submit()
    world.queue.cancel(job)
    assert isinstance(await error_of(job), CancelledByClientError)
    world.assert_idle()
    assert await world.queue.drain(0)


def backlog() -> float:
    """The gauge of the small family."""
    return float(metrics.STREAM_BACKLOG.labels("small")._value.get())
