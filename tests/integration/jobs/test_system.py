"""The durable jobs of a process, over a real database: made, watched, stopped, put back, whatever goes wrong."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path

import pytest

from orchestrator.errors import CancelledByClientError, EngineUnavailableError, ImagegenError, NotFoundError
from orchestrator.generation.events import Artifact, Progress, Queued, Started
from orchestrator.generation.job import JobState
from orchestrator.jobs import execution
from orchestrator.params import ImageFormat
from orchestrator.results.store import ResultStore, Written
from tests.database import new_url
from tests.integration.jobs.plant import ANONYMOUS, Plant, running
from tests.unit.orchestrator.world import hold, release_all


@pytest.fixture
async def plant(tmp_path: Path) -> AsyncIterator[Plant]:
    """One slot."""
    async with running(new_url(), tmp_path) as opened:
        yield opened


async def test_a_job_is_made_and_told(plant: Plant) -> None:
    job = await plant.submit(seed=5, preview_interval=1)
    events = await plant.watch(job)
    assert [number for number, _ in events] == sorted({number for number, _ in events})
    kinds = [type(event) for _, event in events]
    assert {Started, Progress} <= set(kinds)
    last = events[-1][1]
    assert isinstance(last, Artifact)
    done = await plant.get(job)
    assert (done.state, done.attempts, done.seed, done.picture) == (JobState.SUCCEEDED, 1, 5, plant.files()[0])
    assert last.uri == done.artifact.uri if done.artifact else False
    (usage,) = await plant.database.run("SELECT job_id FROM imagegen.usage")
    assert usage["job_id"] == job.id


async def test_a_cancelled_job_calls_no_network_more(plant: Plant) -> None:
    permits = hold(plant.world.networks)
    job = await plant.submit(steps=30)
    permits.release()
    await plant.until(job, JobState.RUNNING)
    await plant.system.jobs.cancel(ANONYMOUS, job.id)
    async with asyncio.timeout(10):
        while plant.system.in_flight:  # nobody but a test waits for this
            permits.release()
            await asyncio.sleep(0.1)
    assert plant.world.networks.calls < 30
    with pytest.raises(CancelledByClientError):
        await plant.watch(job)
    assert plant.files() == []


async def test_a_picture_that_came_too_late_is_removed(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    write = ResultStore.write

    async def cancelled(self: ResultStore, account: int, data: bytes, kind: ImageFormat, job_id: str) -> Written:
        written = await write(self, account, data, kind, job_id)
        await plant.system.jobs.cancel(ANONYMOUS, job_id)
        return written

    monkeypatch.setattr(ResultStore, "write", cancelled)
    job = await plant.submit()
    with pytest.raises(CancelledByClientError):
        await plant.watch(job)
    async with asyncio.timeout(10):
        while plant.system.in_flight:  # noqa: ASYNC110  # nobody but a test waits for this
            await asyncio.sleep(0.02)
    assert plant.files() == []
    assert await plant.database.run("SELECT job_id FROM imagegen.usage") == []


async def test_a_job_waits_for_networks_that_are_away(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution, "RETRY_SECONDS", 0.1)
    plant.world.networks.ready = False
    job = await plant.submit()
    async with asyncio.timeout(10):
        while (await plant.get(job)).fence < 2:  # noqa: ASYNC110  # it was started and put back
            await asyncio.sleep(0.02)
    plant.world.networks.ready = True
    assert (await plant.until(job, JobState.SUCCEEDED)).attempts == 1  # an outage is not an attempt


async def test_a_job_fails_when_its_networks_stay_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution, "RETRY_SECONDS", 0.1)
    async with running(new_url(), tmp_path, job_deadline_seconds=1.0) as plant:
        plant.world.networks.ready = False
        job = await plant.submit()
        with pytest.raises(EngineUnavailableError, match="small"):
            await plant.watch(job)
        assert (await plant.get(job)).state is JobState.FAILED


async def test_a_fault_of_ours_fails_the_job_and_no_other(plant: Plant) -> None:
    plant.world.networks.error = RuntimeError("a secret")
    job = await plant.submit()
    with pytest.raises(ImagegenError) as raised:
        await plant.watch(job)
    assert "secret" not in str(raised.value)
    plant.world.networks.error = None
    await plant.watch(await plant.submit())


async def test_a_request_that_cannot_be_read_any_more_fails(plant: Plant) -> None:
    plant.is_ready = False
    job = await plant.submit()
    await plant.database.run("UPDATE imagegen.jobs SET request = 'x'")
    plant.is_ready = True
    with pytest.raises(ImagegenError):
        await plant.watch(job)
    await plant.watch(await plant.submit())


async def test_jobs_wait_while_nothing_can_be_made(plant: Plant) -> None:
    plant.is_ready = False
    job = await plant.submit()
    await asyncio.sleep(1.5)  # longer than between two reads of the queue
    assert (await plant.get(job)).attempts == 0
    plant.is_ready = True
    await plant.watch(job)


async def test_places_are_told_while_they_change(plant: Plant) -> None:
    hold(plant.world.networks)
    jobs = [await plant.submit() for _ in range(3)]
    await plant.until(jobs[0], JobState.RUNNING)
    watching = asyncio.create_task(plant.watch(jobs[2]))
    async with asyncio.timeout(10):
        while not plant.system.watchers:  # noqa: ASYNC110  # nobody but a test waits for this
            await asyncio.sleep(0.02)
    await plant.system.jobs.cancel(ANONYMOUS, jobs[1].id)
    await asyncio.sleep(2.5)  # longer than between two reads of places
    release_all(plant.world.networks)
    places = [event.position for _, event in await watching if isinstance(event, Queued)]
    assert places[:2] == [1, 0]


async def test_all_who_watch_are_told_of_the_end(plant: Plant) -> None:
    hold(plant.world.networks)
    jobs = [await plant.submit() for _ in range(4)]
    watches = [asyncio.create_task(plant.watch(job)) for job in jobs for _ in range(75)]
    async with asyncio.timeout(10):
        while plant.system.watchers < len(watches):  # noqa: ASYNC110  # nobody but a test waits for this
            await asyncio.sleep(0.02)
    release_all(plant.world.networks)
    for events in await asyncio.gather(*watches):
        assert isinstance(events[-1][1], Artifact)
    assert plant.system.watchers == 0


async def test_a_job_that_is_not_there_cannot_be_watched(plant: Plant) -> None:
    job = await plant.submit()
    await plant.watch(job)
    await plant.system.jobs.delete(ANONYMOUS, job.id)
    with pytest.raises(NotFoundError, match="removed"):
        await plant.watch(job)
    await plant.database.run("DELETE FROM imagegen.jobs")
    with pytest.raises(NotFoundError, match="no such job"):
        await plant.watch(job)


async def test_a_database_that_cuts_all_connections_costs_no_job(plant: Plant) -> None:
    """In the middle of the first of three: worker, watchers and queue find their way back."""
    cuts: list[asyncio.Task[None]] = []
    plant.world.networks.at_call[2] = lambda: cuts.append(asyncio.create_task(plant.cut()))
    hold(plant.world.networks)
    jobs = [await plant.submit(steps=8) for _ in range(3)]
    watches = [asyncio.create_task(plant.watch(job)) for job in jobs]
    release_all(plant.world.networks)
    for events in await asyncio.gather(*watches):
        assert isinstance(events[-1][1], Artifact)
    assert len(cuts) == 1
    await cuts[0]
    assert {(await plant.get(job)).attempts for job in jobs} == {1}
    assert len(await plant.database.run("SELECT job_id FROM imagegen.usage")) == 3


async def test_draining_puts_back_what_does_not_end(tmp_path: Path) -> None:
    url = new_url()
    async with running(url, tmp_path) as first:
        permits = hold(first.world.networks)
        job = await first.submit(steps=30)
        await first.until(job, JobState.RUNNING)
        draining = asyncio.create_task(first.system.drain(0.1))
        await asyncio.sleep(0.2)
        permits.release()  # the step that it is in
        assert not await draining
        back = await first.get(job)
        assert (back.state, back.attempts) == (JobState.QUEUED, 0)
    async with running(url, tmp_path) as second:
        assert isinstance((await second.watch(job))[-1][1], Artifact)


async def test_draining_lets_a_short_job_end(plant: Plant) -> None:
    hold(plant.world.networks)
    job = await plant.submit()
    waiting = await plant.submit()
    await plant.until(job, JobState.RUNNING)
    draining = asyncio.create_task(plant.system.drain(20))
    release_all(plant.world.networks)
    assert await draining
    assert (await plant.get(job)).state is JobState.SUCCEEDED
    assert (await plant.get(waiting)).state is JobState.QUEUED


async def test_what_is_over_is_swept(tmp_path: Path) -> None:
    async with running(new_url(), tmp_path, result_seconds=1.0, job_seconds=1.0) as plant:
        job = await plant.submit()
        await plant.watch(job)
        expires = (await plant.get(job)).expires
        assert isinstance(expires, datetime)
        await plant.database.run(
            "WITH aged AS (UPDATE imagegen.results SET expires_at = now() - interval '1 s')"
            " UPDATE imagegen.jobs SET expires_at = now() - interval '1 s'"
        )
        await plant.system.maintenance.sweep()
        assert plant.files() == []
        assert (await plant.get(job)).state is JobState.DELETED
        await plant.database.run("UPDATE imagegen.jobs SET ended_at = now() - interval '2 s'")
        await plant.system.maintenance.sweep()
        with pytest.raises(NotFoundError):
            await plant.get(job)
