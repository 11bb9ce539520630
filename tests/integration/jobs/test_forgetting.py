"""What time brings: pictures expire, and ended jobs are forgotten."""

import asyncio

import pytest

from orchestrator.diffusion.stages import Stage
from orchestrator.errors import EngineFaultError, NotFoundError
from orchestrator.generation.events import Progress
from orchestrator.generation.job import JobState
from orchestrator.jobs import maintenance
from orchestrator.jobs.records import SweepResult
from tests.integration.jobs.bench import ARTIFACT, DAY, Bench, again, new_job


async def _finished(bench: Bench, account: int, **changes: str) -> str:
    attempt = await bench.start((await bench.store.submit(new_job(account, **changes))).id)
    picture = await bench.note(f"{attempt.job_id}.png", account)
    assert await bench.attempts.finish(attempt, ARTIFACT, picture, [(1, Progress(Stage.FINISH, 1, 1))])
    return attempt.job_id


async def _age(bench: Bench, job_id: str, seconds: float) -> None:
    """Let a job have ended, and its picture expired, some seconds ago."""
    await bench.database.run(
        "UPDATE imagegen.jobs SET ended_at = now() - make_interval(secs => %(seconds)s),"
        " expires_at = now() - make_interval(secs => %(seconds)s) WHERE id = %(id)s",
        {"id": job_id, "seconds": seconds},
    )


async def test_nothing_is_forgotten_before_its_time(bench: Bench) -> None:
    account = await bench.account("ada")
    finished = await _finished(bench, account)
    waiting = (await bench.store.submit(new_job(account))).id
    running = (await bench.start((await bench.store.submit(new_job(account))).id)).job_id
    await bench.database.run("UPDATE imagegen.jobs SET created_at = created_at - interval '1 year'")
    assert await bench.maintenance.sweep_jobs() == SweepResult(expired=0, forgotten=0, events=0)
    states = {job.id: job.state for job in await bench.store.list_jobs(account, 10)}
    assert states == {finished: JobState.SUCCEEDED, waiting: JobState.QUEUED, running: JobState.RUNNING}


async def test_a_job_whose_pictures_time_is_over_is_deleted(bench: Bench) -> None:
    account = await bench.account("ada")
    job_id = await _finished(bench, account)
    await _age(bench, job_id, 1)
    assert await bench.maintenance.sweep_jobs() == SweepResult(expired=1, forgotten=0, events=0)
    job = await bench.store.get(job_id, account)
    assert (job.state, job.artifact, job.picture) == (JobState.DELETED, None, f"{job_id}.png")


async def test_old_jobs_are_forgotten_with_all_that_belongs_to_them_but_their_usage(bench: Bench) -> None:
    account = await bench.account("ada")
    job_id = await _finished(bench, account, webhook_url="https://a.example/")
    await _age(bench, job_id, DAY + 1)
    assert (await bench.maintenance.sweep_jobs()).forgotten == 0  # its webhook is still to be sent
    await bench.database.run("UPDATE imagegen.deliveries SET state = 'delivered'")
    assert (await bench.maintenance.sweep_jobs()).forgotten == 1
    with pytest.raises(NotFoundError):
        await bench.store.get(job_id, account)
    for table, rows in (("deliveries", 0), ("events", 0), ("usage", 1)):
        assert await bench.value(f"SELECT count(*) FROM imagegen.{table}") == rows  # noqa: S608 - of this test


async def test_a_key_is_free_again_once_its_job_is_forgotten(bench: Bench) -> None:
    account = await bench.account("ada")
    asked = new_job(account, "mine")
    first = await bench.start((await bench.store.submit(asked)).id)
    assert await bench.attempts.fail(first, EngineFaultError("broken"))
    await _age(bench, first.job_id, DAY + 1)
    assert (await bench.maintenance.sweep_jobs()).forgotten == 1
    assert (await bench.store.submit(again(asked))).id != first.job_id


async def test_events_of_ended_jobs_are_dropped_a_while_later(bench: Bench) -> None:
    account = await bench.account("ada")
    job_id = await _finished(bench, account)
    assert (await bench.maintenance.sweep_jobs()).events == 0
    await bench.database.run("UPDATE imagegen.jobs SET ended_at = now() - interval '3 minutes'")
    assert await bench.maintenance.sweep_jobs() == SweepResult(expired=0, forgotten=0, events=1)
    seen = (await bench.store.events({job_id: 0}))[job_id]
    assert seen.events == ()
    assert seen.end is not None


async def test_many_are_forgotten_in_batches_by_several_servers_at_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maintenance, "BATCH", 7)
    account = await bench.account("ada")
    for _ in range(40):
        await bench.store.cancel((await bench.store.submit(new_job(account))).id, account)
    await bench.database.run("UPDATE imagegen.jobs SET ended_at = now() - interval '2 days'")
    swept = await asyncio.gather(*(bench.maintenance.sweep_jobs() for _ in range(3)))
    assert sum(each.forgotten for each in swept) == 40
    assert await bench.value("SELECT count(*) FROM imagegen.jobs") == 0
