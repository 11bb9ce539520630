"""A process under its jobs: leases through a drain, attempts that take too long, jobs that run alone, full pools."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from imagegen.v1 import generation_pb2 as pb
from imagegen.v1 import jobs_pb2
from orchestrator.accounts.account import Account
from orchestrator.api import converters
from orchestrator.errors import AttemptTimeoutError, DatabaseUnavailableError, QueueFullError
from orchestrator.generation.job import JobState
from orchestrator.jobs import attempts, maintenance, worker
from orchestrator.jobs.records import JobRecord, JobRequest
from orchestrator.params import Limits
from tests.database import new_url
from tests.integration.jobs.job_harness import ANONYMOUS, JobHarness, running
from tests.unit.orchestrator.world import hold, release_all

ROUNDS, REPEATS = int(os.environ.get("IMAGEGEN_TEST_ROUNDS", "2")), 600
"""Of one request in parallel. 20 rounds are the proof, which takes minutes."""


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leases are short, and so is the patience with attempts."""
    for module, name, seconds in (
        (attempts, "LEASE_SECONDS", 1.0),
        (maintenance, "CONFIRM_SECONDS", 0.5),
        (maintenance, "CHECK_SECONDS", 0.1),
        (worker, "RENEW_SECONDS", 0.1),
        (worker, "STOP_SECONDS", 0.3),
        (worker, "OVERRUN_FACTOR", 0.1),
    ):
        monkeypatch.setattr(module, name, seconds)


async def until_idle(harness: JobHarness) -> None:
    """All slots are free."""
    async with asyncio.timeout(30):
        while harness.system.in_flight:  # noqa: ASYNC110  # nobody but a test waits for this
            await asyncio.sleep(0.02)


class Stubborn(asyncio.Semaphore):
    """A network's permits that ignore every cancellation until they are `opened`."""

    def __init__(self) -> None:
        super().__init__(0)
        self.opened = asyncio.Event()

    async def acquire(self) -> bool:  # type: ignore[override]  # of Literal[True]
        """Wait, whatever happens."""
        while not self.opened.is_set():
            try:
                await self.opened.wait()
            except asyncio.CancelledError:
                continue
        return True


@pytest.mark.usefixtures("fast")
async def test_an_attempt_that_runs_too_long_is_retried_and_at_last_fails(tmp_path: Path) -> None:
    async with running(new_url(), tmp_path, attempt_seconds=1.0, max_attempts=2) as harness:
        hold(harness.world.networks)
        job = await harness.submit(steps=30)
        with pytest.raises(AttemptTimeoutError, match=r"ran longer than \d+ seconds"):
            await harness.watch(job)
        failed = await harness.get(job)
        assert (failed.state, failed.attempts) == (JobState.FAILED, 2)
        assert await harness.database.run("SELECT job_id FROM imagegen.usage") == []
        await until_idle(harness)
        harness.world.networks.permits = None
        await harness.watch(await harness.submit())


@pytest.mark.usefixtures("fast")
async def test_a_task_that_ignores_its_cancellation_costs_no_slot(tmp_path: Path) -> None:
    async with running(new_url(), tmp_path, attempt_seconds=1.0, max_attempts=1) as harness:
        harness.world.networks.permits = stubborn = Stubborn()
        job = await harness.submit(steps=30)
        await harness.until(job, JobState.RUNNING)
        await until_idle(harness)  # it was given up
        harness.world.networks.permits = None
        await harness.watch(await harness.submit())
        assert (await harness.get(job)).attempts >= 1
        stubborn.opened.set()


@pytest.mark.usefixtures("fast")
async def test_a_cancelled_job_frees_its_slot_though_its_step_does_not_end(tmp_path: Path) -> None:
    async with running(new_url(), tmp_path) as harness:
        hold(harness.world.networks)
        job = await harness.submit()
        await harness.until(job, JobState.RUNNING)
        await harness.system.jobs.cancel(ANONYMOUS, job.id)
        await until_idle(harness)


@pytest.mark.usefixtures("fast")
async def test_a_drain_keeps_its_leases_to_the_end(tmp_path: Path) -> None:
    """The other process has a free slot all the while, and leases would lapse several times."""
    url = new_url()
    async with running(url, tmp_path) as first, running(url, tmp_path) as second:
        second.is_ready = False
        hold(first.world.networks)
        job = await first.submit()
        await first.until(job, JobState.RUNNING)
        second.is_ready = True
        draining = asyncio.create_task(first.system.drain(60))
        await asyncio.sleep(4)
        assert (await second.get(job)).state is JobState.RUNNING
        assert second.system.in_flight == 0
        release_all(first.world.networks)
        assert await draining
        done = await second.get(job)
        assert (done.state, done.attempts, done.fence) == (JobState.SUCCEEDED, 1, 1)


@pytest.mark.usefixtures("fast")
async def test_a_drain_hands_back_what_does_not_stop(tmp_path: Path) -> None:
    url = new_url()
    async with running(url, tmp_path) as first, running(url, tmp_path) as second:
        second.is_ready = False
        first.world.networks.permits = stubborn = Stubborn()
        job = await first.submit()
        await first.until(job, JobState.RUNNING)
        assert not await first.system.drain(0.1)
        assert (await second.get(job)).state is JobState.QUEUED
        second.is_ready = True
        await second.watch(job)
        assert (await second.get(job)).attempts == 1
        stubborn.opened.set()


async def test_a_quarantined_job_runs_alone(tmp_path: Path) -> None:
    async with running(new_url(), tmp_path, worker_slots=3) as harness:
        harness.is_ready = False
        hold(harness.world.networks)
        jobs = [await harness.submit() for _ in range(4)]
        await harness.database.run("UPDATE imagegen.jobs SET quarantined = true WHERE id = %(id)s", {"id": jobs[1].id})
        harness.is_ready = True
        await harness.until(jobs[0], JobState.RUNNING)
        await asyncio.sleep(2.5)  # longer than between two claims
        assert harness.system.in_flight == 1
        for _ in range(4):
            assert harness.world.networks.permits is not None
            harness.world.networks.permits.release()  # all steps of the first
        await harness.until(jobs[1], JobState.RUNNING)
        await asyncio.sleep(2.5)
        assert harness.system.in_flight == 1
        release_all(harness.world.networks)
        for job in jobs:
            await harness.watch(job)


async def test_repeats_of_one_request_cost_no_slot(tmp_path: Path) -> None:
    """They use up the pool of connections: on Python 3.11 a cancellation was lost there, and a slot with it."""
    async with running(new_url(), tmp_path, worker_slots=4) as harness:
        for round_ in range(ROUNDS):
            jobs = [await harness.submit(request_id=f"{round_}-{number}", preview_interval=1) for number in range(4)]
            repeats = (harness.submit(request_id=f"{round_}-0", preview_interval=1) for _ in range(REPEATS))
            answers = await asyncio.gather(*repeats, return_exceptions=True)
            refused = [each for each in answers if isinstance(each, BaseException)]
            assert all(isinstance(each, DatabaseUnavailableError) for each in refused)
            assert {each.id for each in answers if isinstance(each, JobRecord)} == {jobs[0].id}
            for job in jobs:
                await harness.watch(job)
        await until_idle(harness)
        hold(harness.world.networks)
        last = [await harness.submit() for _ in range(4)]
        for job in last:
            await harness.until(job, JobState.RUNNING)  # all slots work
        release_all(harness.world.networks)
        for job in last:
            await harness.watch(job)


def picture(side: int) -> bytes:
    """A PNG file of noise, about three bytes a pixel."""
    pixels = np.random.default_rng(side).integers(0, 256, (side, side, 3), np.uint8)
    return bytes(cv2.imencode(".png", pixels)[1])


def edited(data: bytes, key: str | None = None) -> JobRequest:
    """A request that brings a picture."""
    edit = pb.Edit(image=pb.ImageSource(data=data))
    request = pb.GenerateRequest(edit=edit, request_id=key)
    return converters.to_job_request(jobs_pb2.CreateJobRequest(request=request), Limits(), "name")


@pytest.fixture
async def bounded(tmp_path: Path) -> AsyncIterator[JobHarness]:
    """Room for two large pictures of an account, and for three in all."""
    size = len(picture(400))
    limits = {"max_account_job_bytes": 2 * size, "max_job_bytes": 3 * size}
    async with running(new_url(), tmp_path, **limits) as harness:
        yield harness


async def test_large_pictures_go_to_the_result_store(bounded: JobHarness) -> None:
    bounded.is_ready = False
    large, small = edited(picture(400), "large"), edited(picture(64))
    job = await bounded.system.jobs.submit(ANONYMOUS, large)
    await bounded.system.jobs.submit(ANONYMOUS, small)
    rows = await bounded.database.run("SELECT request IS NULL AS is_large, held_bytes FROM imagegen.jobs ORDER BY 2")
    assert [(row["is_large"], row["held_bytes"]) for row in rows] == [
        (False, len(picture(64))),
        (True, len(picture(400))),
    ]
    (name,) = bounded.files()
    with pytest.raises(Exception, match="no such picture"):
        await bounded.results.open(name)
    again = await bounded.system.jobs.submit(ANONYMOUS, edited(picture(400), "large"))
    assert again.id == job.id
    assert bounded.files() == [name]  # what is known already is not stored twice
    bounded.is_ready = True
    await bounded.watch(job)
    await bounded.system.maintenance.sweep()
    assert name not in bounded.files()
    row = await bounded.database.run("SELECT sum(held_bytes)::int AS held FROM imagegen.jobs WHERE state = 'succeeded'")
    assert row[0]["held"] == 0


async def test_pictures_of_waiting_jobs_are_bounded(bounded: JobHarness) -> None:
    bounded.is_ready = False
    other = Account(id=2, name="ada")
    await bounded.database.run("INSERT INTO imagegen.accounts (name) VALUES ('ada')")
    for _ in range(2):
        await bounded.system.jobs.submit(ANONYMOUS, edited(picture(400)))
    with pytest.raises(QueueFullError, match=r"of the account's pending jobs hold \d+ bytes, and its limit is"):
        await bounded.system.jobs.submit(ANONYMOUS, edited(picture(400)))
    await bounded.system.jobs.submit(other, edited(picture(400)))
    bounded.system.maintenance._stats._read_at = 0.0
    with pytest.raises(QueueFullError, match="the server's limit is"):
        await bounded.system.jobs.submit(other, edited(picture(400)))
    await bounded.submit()  # what brings no picture needs no room
    assert len(bounded.files()) == 3
