"""Whatever happens at the same time: a job has one end, is paid once or refunded once, and calls its webhook once."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest

from orchestrator.errors import DatabaseUnavailableError, EngineFaultError
from orchestrator.generation.job import JobState
from orchestrator.jobs.records import Attempt
from orchestrator.jobs.rows import to_attempt
from tests.integration.jobs.bench import ARTIFACT, PRICE, Bench, new_job

T = TypeVar("T")

_FENCE = """
UPDATE imagegen.jobs SET state = 'running', fence = fence + 1, lease_until = now() + interval '1 hour'
WHERE id = %(id)s AND state = 'queued'
"""
_CLAIMED = "SELECT *, 'ada' AS account, 0.0 AS age FROM imagegen.jobs WHERE id = %(id)s"

ROUNDS = 60

Act = Callable[[Bench, Attempt], Awaitable[object]]


async def _finish(bench: Bench, attempt: Attempt) -> bool:
    picture = await bench.note(f"{attempt.job_id}.{attempt.fence}.{random.getrandbits(64)}.png", attempt.account_id)
    return await bench.attempts.finish(attempt, ARTIFACT, picture)


async def _fail(bench: Bench, attempt: Attempt) -> bool:
    return await bench.attempts.fail(attempt, EngineFaultError("broken"))


async def _cancel(bench: Bench, attempt: Attempt) -> object:
    return await bench.store.cancel(attempt.job_id, attempt.account_id)


async def _delete(bench: Bench, attempt: Attempt) -> object:
    return await bench.store.delete(attempt.job_id, attempt.account_id)


async def _restart(bench: Bench, attempt: Attempt) -> object:
    """Another process has found the lease to have lapsed."""
    await bench.database.run(
        "UPDATE imagegen.jobs SET lease_until = now() - interval '1 s' WHERE id = %(id)s AND state = 'running'",
        {"id": attempt.job_id},
    )
    for lapsed in await bench.attempts.find_lapsed():
        await bench.attempts.reclaim(lapsed)
    again = await bench.claim()
    return None if again is None else await _finish(bench, again)


async def _give_back(bench: Bench, attempt: Attempt) -> object:
    return await bench.attempts.give_back(attempt) and await _restart(bench, attempt)


async def _race(bench: Bench, attempt: Attempt, acts: list[Act]) -> list[object]:
    async def late(act: Act) -> object:
        await asyncio.sleep(random.random() * 0.002)  # noqa: S311 - so that each round interleaves otherwise
        return await act(bench, attempt)

    return await asyncio.gather(*(late(act) for act in acts))


async def _check(bench: Bench, account: int, jobs: int) -> None:
    """What must hold once every job has ended."""
    states = await bench.database.run("SELECT state FROM imagegen.jobs")
    assert all(JobState(row["state"]) not in {JobState.QUEUED, JobState.RUNNING} for row in states)
    made = await bench.value("SELECT count(*) FROM imagegen.usage")
    assert made <= jobs
    unpaid = await bench.value(
        "SELECT count(*) FROM imagegen.jobs j WHERE (j.state = 'succeeded' OR j.picture IS NOT NULL)"
        " <> EXISTS (SELECT FROM imagegen.usage u WHERE u.job_id = j.id)"
    )
    assert unpaid == 0
    credits_left = await bench.value("SELECT credits FROM imagegen.accounts WHERE id = %(id)s", id=account)
    assert credits_left == 1000 - made * PRICE
    assert await bench.value("SELECT count(*) FROM imagegen.deliveries") == jobs


@pytest.mark.parametrize(
    "acts",
    [
        [_finish, _cancel],
        [_finish, _delete],
        [_finish, _fail, _cancel, _delete],
        [_finish, _restart],
        [_finish, _restart, _restart, _cancel],
        [_finish, _finish, _finish],
        [_fail, _fail, _cancel, _cancel],
        [_give_back, _finish, _restart, _delete],
    ],
    ids=lambda acts: "+".join(act.__name__[1:] for act in acts),
)
async def test_every_interleaving_has_one_end(bench: Bench, acts: list[Act]) -> None:
    account = await bench.account("ada", credits=1000)
    for _ in range(ROUNDS):
        job = await bench.store.submit(new_job(account, webhook_url="https://a.example/"))
        attempt = await bench.start(job.id)
        answers = await _race(bench, attempt, acts)
        assert answers.count(True) <= 1
        if (await bench.store.get(job.id, account)).state in {JobState.QUEUED, JobState.RUNNING}:  # one was fenced out
            assert await _restart(bench, attempt) is True
    await _check(bench, account, ROUNDS)


async def test_of_claims_at_once_each_has_another_job(bench: Bench) -> None:
    account = await bench.account("ada")
    for _ in range(ROUNDS // 6):
        jobs = {(await bench.store.submit(new_job(account))).id for _ in range(5)}
        claimed = await asyncio.gather(*(bench.claim() for _ in range(8)))
        attempts = [attempt for attempt in claimed if attempt is not None]
        while len(attempts) < len(jobs):  # those that came while others searched have found their rows locked
            if (attempt := await bench.claim()) is not None:
                attempts.append(attempt)
        assert sorted(attempt.job_id for attempt in attempts) == sorted(jobs)
        assert all(await asyncio.gather(*(_finish(bench, attempt) for attempt in attempts)))


async def test_jobs_that_end_while_others_come_keep_the_credits_right(bench: Bench) -> None:
    account = await bench.account("ada", credits=1000)

    async def live(number: int) -> None:
        job = await bench.store.submit(new_job(account, webhook_url="https://a.example/"))
        attempt = await _claim(bench, job.id)
        await (_finish, _fail, _cancel, _delete)[number % 4](bench, attempt)

    await asyncio.gather(*(live(number) for number in range(80)))
    await _check(bench, account, 80)
    assert await bench.value("SELECT count(*) FROM imagegen.usage") == 20


async def test_connections_that_are_cut_at_any_moment_leave_no_job_half_ended(bench: Bench) -> None:
    """Each attempt repeats its end until it is answered, as the worker does; the server cuts connections meanwhile."""
    account = await bench.account("ada", credits=1000)
    is_over = asyncio.Event()

    async def cut() -> None:
        async with bench.admin() as connection:
            while not is_over.is_set():
                await connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid() AND query LIKE %s"
                    " ORDER BY random() LIMIT 1",
                    ("%imagegen.jobs%",),
                )

    async def live(number: int) -> bool:
        key = f"key-{number}"
        job = await _repeated(lambda: bench.store.submit(new_job(account, key, webhook_url="https://a.example/")))
        attempt = await _claim(bench, job.id)
        picture = await _repeated(lambda: bench.note(f"{job.id}.{random.getrandbits(64)}.png", account))
        if number % 3:
            return await _repeated(lambda: bench.attempts.finish(attempt, ARTIFACT, picture))
        await _repeated(lambda: bench.attempts.fail(attempt, EngineFaultError("broken")))
        return False

    async with asyncio.TaskGroup() as group:
        cutting = group.create_task(cut())
        ended = await asyncio.gather(*(live(number) for number in range(60)))
        is_over.set()
        await cutting
    assert ended.count(True) == 40
    await _check(bench, account, 60)


async def _claim(bench: Bench, job_id: str) -> Attempt:
    """The attempt at one of the jobs that wait, whoever claims it: claims whose answer is lost are made again later."""
    await _repeated(lambda: bench.database.run(_FENCE, {"id": job_id}))
    (row,) = await _repeated(lambda: bench.database.run(_CLAIMED, {"id": job_id}))
    return to_attempt(row)


async def _repeated(work: Callable[[], Awaitable[T]]) -> T:
    while True:
        try:
            return await work()
        except DatabaseUnavailableError:
            await asyncio.sleep(0)
