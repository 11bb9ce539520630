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
from tests.integration.jobs.job_harness import ANONYMOUS, JobHarness, running
from tests.unit.orchestrator.world import hold, release_all


@pytest.fixture
async def harness(tmp_path: Path) -> AsyncIterator[JobHarness]:
    """One slot."""
    async with running(new_url(), tmp_path) as opened:
        yield opened


async def test_a_job_is_created_and_reported(harness: JobHarness) -> None:
    job = await harness.submit(seed=5, preview_interval=1)
    events = await harness.watch(job)
    assert [number for number, _ in events] == sorted({number for number, _ in events})
    kinds = [type(event) for _, event in events]
    assert {Started, Progress} <= set(kinds)
    last = events[-1][1]
    assert isinstance(last, Artifact)
    done = await harness.get(job)
    assert (done.state, done.attempts, done.seed, done.picture) == (JobState.SUCCEEDED, 1, 5, harness.files()[0])
    assert last.uri == done.artifact.uri if done.artifact else False
    (usage,) = await harness.database.run("SELECT job_id FROM imagegen.usage")
    assert usage["job_id"] == job.id


async def test_a_cancelled_job_calls_no_network_more(harness: JobHarness) -> None:
    permits = hold(harness.world.networks)
    job = await harness.submit(steps=30)
    permits.release()
    await harness.until(job, JobState.RUNNING)
    await harness.system.jobs.cancel(ANONYMOUS, job.id)
    async with asyncio.timeout(10):
        while harness.system.in_flight:  # nobody but a test waits for this
            permits.release()
            await asyncio.sleep(0.1)
    assert harness.world.networks.calls < 30
    with pytest.raises(CancelledByClientError):
        await harness.watch(job)
    assert harness.files() == []


async def test_a_picture_that_came_too_late_is_removed(harness: JobHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    write = ResultStore.write

    async def cancelled(self: ResultStore, account: int, data: bytes, kind: ImageFormat, job_id: str) -> Written:
        written = await write(self, account, data, kind, job_id)
        await harness.system.jobs.cancel(ANONYMOUS, job_id)
        return written

    monkeypatch.setattr(ResultStore, "write", cancelled)
    job = await harness.submit()
    with pytest.raises(CancelledByClientError):
        await harness.watch(job)
    async with asyncio.timeout(10):
        while harness.system.in_flight:  # noqa: ASYNC110  # nobody but a test waits for this
            await asyncio.sleep(0.02)
    assert harness.files() == []
    assert await harness.database.run("SELECT job_id FROM imagegen.usage") == []


async def test_a_job_waits_for_networks_that_are_away(harness: JobHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution, "RETRY_SECONDS", 0.1)
    harness.world.networks.ready = False
    job = await harness.submit()
    async with asyncio.timeout(10):
        while (await harness.get(job)).fence < 2:  # noqa: ASYNC110  # it was started and put back
            await asyncio.sleep(0.02)
    harness.world.networks.ready = True
    assert (await harness.until(job, JobState.SUCCEEDED)).attempts == 1  # an outage is not an attempt


async def test_a_job_fails_when_its_networks_stay_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution, "RETRY_SECONDS", 0.1)
    async with running(new_url(), tmp_path, job_deadline_seconds=1.0) as harness:
        harness.world.networks.ready = False
        job = await harness.submit()
        with pytest.raises(EngineUnavailableError, match="small"):
            await harness.watch(job)
        assert (await harness.get(job)).state is JobState.FAILED


async def test_a_fault_of_ours_fails_the_job_and_no_other(harness: JobHarness) -> None:
    harness.world.networks.error = RuntimeError("a secret")
    job = await harness.submit()
    with pytest.raises(ImagegenError) as raised:
        await harness.watch(job)
    assert "secret" not in str(raised.value)
    harness.world.networks.error = None
    await harness.watch(await harness.submit())


async def test_a_request_that_cannot_be_read_any_more_fails(harness: JobHarness) -> None:
    harness.is_ready = False
    job = await harness.submit()
    await harness.database.run("UPDATE imagegen.jobs SET request = 'x'")
    harness.is_ready = True
    with pytest.raises(ImagegenError):
        await harness.watch(job)
    await harness.watch(await harness.submit())


async def test_jobs_wait_while_nothing_can_be_made(harness: JobHarness) -> None:
    harness.is_ready = False
    job = await harness.submit()
    await asyncio.sleep(1.5)  # longer than between two reads of the queue
    assert (await harness.get(job)).attempts == 0
    harness.is_ready = True
    await harness.watch(job)


async def test_positions_are_reported_as_they_change(harness: JobHarness) -> None:
    hold(harness.world.networks)
    jobs = [await harness.submit() for _ in range(3)]
    await harness.until(jobs[0], JobState.RUNNING)
    watching = asyncio.create_task(harness.watch(jobs[2]))
    async with asyncio.timeout(10):
        while not harness.system.watchers:  # noqa: ASYNC110  # nobody but a test waits for this
            await asyncio.sleep(0.02)
    await harness.system.jobs.cancel(ANONYMOUS, jobs[1].id)
    await asyncio.sleep(2.5)  # longer than between two reads of places
    release_all(harness.world.networks)
    places = [event.position for _, event in await watching if isinstance(event, Queued)]
    assert places[:2] == [1, 0]


async def test_all_watchers_get_the_end(harness: JobHarness) -> None:
    hold(harness.world.networks)
    jobs = [await harness.submit() for _ in range(4)]
    watches = [asyncio.create_task(harness.watch(job)) for job in jobs for _ in range(75)]
    async with asyncio.timeout(10):
        while harness.system.watchers < len(watches):  # noqa: ASYNC110  # nobody but a test waits for this
            await asyncio.sleep(0.02)
    release_all(harness.world.networks)
    for events in await asyncio.gather(*watches):
        assert isinstance(events[-1][1], Artifact)
    assert harness.system.watchers == 0


async def test_a_job_that_is_not_there_cannot_be_watched(harness: JobHarness) -> None:
    job = await harness.submit()
    await harness.watch(job)
    await harness.system.jobs.delete(ANONYMOUS, job.id)
    with pytest.raises(NotFoundError, match="removed"):
        await harness.watch(job)
    await harness.database.run("DELETE FROM imagegen.jobs")
    with pytest.raises(NotFoundError, match="no such job"):
        await harness.watch(job)


async def test_a_database_that_cuts_all_connections_costs_no_job(harness: JobHarness) -> None:
    """In the middle of the first of three: worker, watchers and queue find their way back."""
    cuts: list[asyncio.Task[None]] = []
    harness.world.networks.at_call[2] = lambda: cuts.append(asyncio.create_task(harness.cut()))
    hold(harness.world.networks)
    jobs = [await harness.submit(steps=8) for _ in range(3)]
    watches = [asyncio.create_task(harness.watch(job)) for job in jobs]
    release_all(harness.world.networks)
    for events in await asyncio.gather(*watches):
        assert isinstance(events[-1][1], Artifact)
    assert len(cuts) == 1
    await cuts[0]
    assert {(await harness.get(job)).attempts for job in jobs} == {1}
    assert len(await harness.database.run("SELECT job_id FROM imagegen.usage")) == 3


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


async def test_draining_lets_a_short_job_end(harness: JobHarness) -> None:
    hold(harness.world.networks)
    job = await harness.submit()
    waiting = await harness.submit()
    await harness.until(job, JobState.RUNNING)
    draining = asyncio.create_task(harness.system.drain(20))
    release_all(harness.world.networks)
    assert await draining
    assert (await harness.get(job)).state is JobState.SUCCEEDED
    assert (await harness.get(waiting)).state is JobState.QUEUED


async def test_what_is_over_is_swept(tmp_path: Path) -> None:
    async with running(new_url(), tmp_path, result_seconds=1.0, job_seconds=1.0) as harness:
        job = await harness.submit()
        await harness.watch(job)
        expires = (await harness.get(job)).expires
        assert isinstance(expires, datetime)
        await harness.database.run(
            "WITH aged AS (UPDATE imagegen.results SET expires_at = now() - interval '1 s')"
            " UPDATE imagegen.jobs SET expires_at = now() - interval '1 s'"
        )
        await harness.system.maintenance.sweep()
        assert harness.files() == []
        assert (await harness.get(job)).state is JobState.DELETED
        await harness.database.run("UPDATE imagegen.jobs SET ended_at = now() - interval '2 s'")
        await harness.system.maintenance.sweep()
        with pytest.raises(NotFoundError):
            await harness.get(job)
