"""The order in which jobs are claimed: fair between accounts, by class, and nobody starves."""

from collections import Counter

from orchestrator.params import Priority
from tests.integration.jobs.bench import ARTIFACT, Bench, new_job


async def _submit(bench: Bench, account: int, count: int = 1, priority: Priority = Priority.NORMAL) -> list[str]:
    return [(await bench.store.submit(new_job(account, priority=priority))).id for _ in range(count)]


async def _claim(bench: Bench, count: int) -> list[str]:
    """The next jobs, which run from then on."""
    claimed = []
    for _ in range(count):
        attempt = await bench.claim()
        assert attempt is not None
        claimed.append(attempt.job_id)
    return claimed


async def _end(bench: Bench, job_ids: list[str]) -> None:
    await bench.database.run(
        "UPDATE imagegen.jobs SET state = 'failed', ended_at = now() WHERE id = ANY(%(ids)s)", {"ids": job_ids}
    )


async def _owners(bench: Bench, job_ids: list[str]) -> Counter[int]:
    rows = await bench.database.run("SELECT account_id FROM imagegen.jobs WHERE id = ANY(%(ids)s)", {"ids": job_ids})
    return Counter(row["account_id"] for row in rows)


async def _age(bench: Bench, seconds: float) -> None:
    """Let everything that is there have come so much earlier."""
    shift = {"seconds": seconds, "ranks": round(seconds * 10)}
    await bench.database.run("UPDATE imagegen.jobs SET tag = tag - %(seconds)s, rank = rank + %(ranks)s", shift)
    await bench.database.run("UPDATE imagegen.accounts SET fair_tag = fair_tag - %(seconds)s", shift)


async def test_a_thousand_jobs_of_one_account_do_not_hold_up_anothers_one(bench: Bench) -> None:
    ada, bob = await bench.account("ada"), await bench.account("bob")
    await _submit(bench, ada, 1000)
    running = await _claim(bench, 4)
    (one,) = await _submit(bench, bob)
    assert (await bench.store.get(one, bob)).queued is not None
    assert one in await _claim(bench, 2)
    await _end(bench, running)


async def test_the_account_that_comes_later_does_not_wait_when_workers_are_between_jobs(bench: Bench) -> None:
    ada, bob = await bench.account("ada"), await bench.account("bob")
    await _submit(bench, ada, 100)
    await _end(bench, await _claim(bench, 20))  # nothing runs now
    await _age(bench, 1800)  # and what waits has waited for long
    (one,) = await _submit(bench, bob)
    assert one in await _claim(bench, 2)


async def test_accounts_take_turns(bench: Bench) -> None:
    accounts = [await bench.account(name) for name in ("ada", "bob", "eve")]
    for account, count in zip(accounts, (100, 60, 30), strict=True):
        await _submit(bench, account, count)
    owners = await _owners(bench, await _claim(bench, 60))
    assert all(abs(owners[account] - 20) <= 1 for account in accounts)


async def test_longer_jobs_take_fewer_turns(bench: Bench) -> None:
    ada, bob = await bench.account("ada"), await bench.account("bob")
    first = await bench.start((await bench.store.submit(new_job(ada, work_seconds=1.0))).id)
    await bench.database.run("UPDATE imagegen.jobs SET started_at = started_at - interval '1 s'")
    assert await bench.attempts.finish(first, ARTIFACT, None)  # a second of work takes a second
    bench.forget_stats()
    for _ in range(30):
        await bench.store.submit(new_job(ada, work_seconds=3.0))
        await bench.store.submit(new_job(bob, work_seconds=1.0))
    owners = await _owners(bench, await _claim(bench, 24))
    assert abs(owners[ada] - 6) <= 1


async def test_what_an_account_took_of_an_idle_machine_is_not_held_against_it(bench: Bench) -> None:
    ada, bob = await bench.account("ada"), await bench.account("bob")
    for _ in range(3):  # more at a time than the time that goes by: the tags run ahead of it
        await _submit(bench, ada, 50)
        await _end(bench, await _claim(bench, 50))
    await _submit(bench, bob, 50)
    (one,) = await _submit(bench, ada)
    assert one in await _claim(bench, 3)


async def test_the_better_class_goes_first(bench: Bench) -> None:
    account = await bench.account("ada")
    by_class = {priority: await _submit(bench, account, 3, priority) for priority in reversed(Priority)}
    expected = [*by_class[Priority.HIGH], *by_class[Priority.NORMAL], *by_class[Priority.LOW]]
    assert await _claim(bench, 9) == expected


async def test_the_lowest_class_does_not_starve(bench: Bench) -> None:
    ada, bob = await bench.account("ada"), await bench.account("bob")
    running = await _submit(bench, bob, 1, Priority.HIGH)
    assert await _claim(bench, 1) == running  # the machine has never been idle
    (low,) = await _submit(bench, ada, 1, Priority.LOW)
    before = await _submit(bench, bob, 20, Priority.HIGH)
    assert (await _claim(bench, 5)) == before[:5]
    await _age(bench, 81 * 60)
    await _submit(bench, bob, 20, Priority.HIGH)
    assert (await _claim(bench, 16)) == [*before[5:], low]
