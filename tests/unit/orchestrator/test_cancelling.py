"""Streams that are cancelled, at every moment of their life."""

import pytest

from orchestrator.errors import (
    CancelledByClientError,
)
from orchestrator.generation.events import Progress, Started
from orchestrator.generation.job import JobState
from orchestrator.params import Delivery, ImageFormat, OutputParams
from orchestrator.results.store import Written
from tests.unit.orchestrator.world import World, error_of, events, hold, release_all, until

TO_STORE = OutputParams(delivery=Delivery.URI)


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
    job = await world.submit()  # has its slot, and has not yet started
    world.queue.cancel(job)
    assert isinstance(await error_of(job), CancelledByClientError)
    assert (world.networks.calls, job.started) == (0, None)
    world.assert_idle()


async def test_cancelling_what_has_ended_changes_nothing(world: World) -> None:
    job = await world.submit()
    await events(job)
    world.queue.cancel(job)
    assert job.state is JobState.SUCCEEDED
    assert job.artifact is not None
    await world.make()


async def test_a_picture_of_a_job_cancelled_while_it_was_stored_is_removed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await world.submit(output=TO_STORE)
    write = world.results.write

    async def cancelled(account: int, data: bytes, image_format: ImageFormat, job_id: str | None) -> Written:
        written = await write(account, data, image_format, job_id)
        world.queue.cancel(job)
        return written

    monkeypatch.setattr(world.results, "write", cancelled)
    assert isinstance(await error_of(job), CancelledByClientError)
    assert world.stored() == []
    world.assert_idle()


async def test_jobs_that_have_ended_are_forgotten(world: World) -> None:
    hold(world.networks)
    jobs = [await world.submit(steps=1) for _ in range(3)]
    await until(jobs[0], Started)
    world.queue.cancel(jobs[2])
    assert world.queue._jobs == set(jobs[:2])
    release_all(world.networks)
    for job in jobs[:2]:
        await events(job)
    assert world.queue._jobs == set()
