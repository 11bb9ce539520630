"""Jobs that are cancelled, deleted or forgotten, at every moment of their life."""

import pytest

from orchestrator.errors import (
    CancelledByClientError,
    NotFoundError,
)
from orchestrator.jobs import queue as queue_module
from orchestrator.jobs.events import Progress, Started
from orchestrator.jobs.job import JobState
from orchestrator.params import Delivery, ImageFormat, OutputParams
from orchestrator.results.store import Written
from tests.unit.orchestrator.world import ALICE, BOB, World, error_of, events, hold, release_all, until

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
    write = world.results.write

    async def cancelled(account: int, data: bytes, image_format: ImageFormat) -> Written:
        written = await write(account, data, image_format)
        world.queue.cancel(job)
        return written

    monkeypatch.setattr(world.results, "write", cancelled)
    assert isinstance(await error_of(job), CancelledByClientError)
    assert world.stored() == []
    world.assert_idle()


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
    write = world.results.write

    async def deleted(account: int, data: bytes, image_format: ImageFormat) -> Written:
        written = await write(account, data, image_format)
        await world.queue.delete(job)
        return written

    monkeypatch.setattr(world.results, "write", deleted)
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
    job = await world.submit(account=ALICE)
    assert world.queue.get(job.id, ALICE) is job
    for job_id, account in [(job.id, BOB), ("x", ALICE), ("", ALICE)]:
        with pytest.raises(NotFoundError, match=r"^no such job$"):
            world.queue.get(job_id, account)
    await events(job)
    world.queue.forget(job)
    world.queue.forget(job)
    with pytest.raises(NotFoundError):
        world.queue.get(job.id, ALICE)


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
