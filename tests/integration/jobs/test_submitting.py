"""What comes in: each key once, within limits, acknowledged only when it is stored."""

import asyncio
import re
from collections import Counter
from dataclasses import replace

import psycopg
import pytest

from orchestrator.accounts import limits
from orchestrator.database.pool import Connection
from orchestrator.errors import (
    DatabaseUnavailableError,
    DeadlineUnreachableError,
    ImagegenError,
    InvalidRequestError,
    QueueFullError,
)
from orchestrator.generation.job import JobState, new_job_id
from orchestrator.jobs.records import JobRecord
from tests.database import new_url
from tests.integration.jobs.bench import PRICE, Bench, again, new_job


async def _jobs(bench: Bench) -> int:
    count: int = await bench.value("SELECT count(*) FROM imagegen.jobs")
    return count


async def test_the_same_key_answers_the_same_job(bench: Bench) -> None:
    account = await bench.account("ada", credits=10)
    asked = new_job(account, "mine")
    first = await bench.store.submit(asked)
    second = await bench.store.submit(replace(asked, id=new_job_id(), stored=b"the same, its seed drawn again"))
    assert second == first
    assert await bench.store.find(account, "mine", asked.request.digest) == first
    await bench.store.cancel(first.id, account)
    assert (await bench.store.submit(again(asked))).state is JobState.CANCELLED
    assert await _jobs(bench) == 1


async def test_the_same_key_with_another_request_is_refused(bench: Bench) -> None:
    account = await bench.account("ada", credits=10)
    await bench.store.submit(new_job(account, "mine"))
    other = new_job(account, "mine", body=b"other")
    for refusal in (bench.store.submit(other), bench.store.find(account, "mine", other.request.digest)):
        with pytest.raises(InvalidRequestError) as refused:
            await refusal
        assert [violation.field for violation in refused.value.violations] == ["request_id"]
    assert await bench.value("SELECT credits FROM imagegen.accounts WHERE name = 'ada'") == 10 - PRICE
    assert await _jobs(bench) == 1


async def test_a_key_is_an_accounts_own_and_none_is_none(bench: Bench) -> None:
    ada, bob = await bench.account("ada"), await bench.account("bob")
    jobs = [await bench.store.submit(new_job(account, key)) for account in (ada, bob) for key in ("same", None, None)]
    assert len({job.id for job in jobs}) == 6
    assert await bench.store.find(ada, None, b"") is None
    assert await bench.store.find(ada, "other", b"") is None


@pytest.mark.parametrize("columns", [{}, {"credits": 100, "max_active": 50}])
async def test_racing_submits_of_one_key_make_one_job(bench: Bench, columns: dict[str, int]) -> None:
    account = await bench.account("ada", **columns)
    for round_ in range(15):
        asked = new_job(account, f"key-{round_}")
        jobs = await asyncio.gather(*(bench.store.submit(again(asked)) for _ in range(6)))
        assert len({job.id for job in jobs}) == 1
        assert await _jobs(bench) == round_ + 1
    if "credits" in columns:
        assert await bench.value("SELECT credits FROM imagegen.accounts WHERE name = 'ada'") == 100 - 15 * PRICE


async def test_racing_submits_of_one_key_and_two_requests_make_one_job(bench: Bench) -> None:
    account = await bench.account("ada")
    for round_ in range(15):
        both = [new_job(account, f"key-{round_}", body=body) for body in (b"one", b"two")]
        submits = (bench.store.submit(again(asked)) for asked in both * 3)
        answers = await asyncio.gather(*submits, return_exceptions=True)
        kinds = Counter(type(answer) for answer in answers)
        assert kinds == {JobRecord: 3, InvalidRequestError: 3}
        assert len({answer.id for answer in answers if isinstance(answer, JobRecord)}) == 1


async def test_a_full_queue_refuses_and_takes_again() -> None:
    async with Bench.open(new_url(), max_queued=3) as small:
        account = await small.account("ada", credits=100)
        asked = [new_job(account, f"key-{number}") for number in range(10)]
        answers = await asyncio.gather(*(small.store.submit(each) for each in asked), return_exceptions=True)
        taken = [answer for answer in answers if isinstance(answer, JobRecord)]
        refused = [answer for answer in answers if isinstance(answer, QueueFullError)]
        assert (len(taken), len(refused)) == (3, 7)
        assert all(1 <= error.retry_after <= 60 for error in refused)
        assert await small.value("SELECT credits FROM imagegen.accounts WHERE name = 'ada'") == 100 - 3 * PRICE
        known = next(each for each in asked if each.request.options.request_id == taken[0].request_id)
        assert (await small.store.submit(again(known))).id == taken[0].id  # what is in the queue needs no room
        await small.start(taken[0].id)
        small.forget_stats()
        assert (await small.store.submit(new_job(account))).state is JobState.QUEUED
        with pytest.raises(QueueFullError):
            await small.store.submit(new_job(account))


async def test_a_deadline_that_cannot_be_met_is_refused_and_costs_nothing(bench: Bench) -> None:
    ada, bob = await bench.account("ada", credits=100), await bench.account("bob")
    await bench.start((await bench.store.submit(new_job(bob, work_seconds=30.0))).id)
    for _ in range(3):
        await bench.store.submit(new_job(ada, work_seconds=20.0))
    bench.forget_stats()
    before = await bench.value("SELECT credits FROM imagegen.accounts WHERE name = 'ada'")
    with pytest.raises(DeadlineUnreachableError) as refused:
        await bench.store.submit(new_job(ada, work_seconds=10.0, deadline=60.0))
    line = re.search(r"expected in ([\d.]+) s, ([\d.]+) s of it in line", str(refused.value))
    assert line, str(refused.value)
    assert float(line[2]) == pytest.approx(90, abs=5), "30 s run, and 60 s wait before it"
    assert float(line[1]) == pytest.approx(100, abs=5)
    assert await bench.value("SELECT credits FROM imagegen.accounts WHERE name = 'ada'") == before
    assert (await bench.store.submit(new_job(ada, work_seconds=10.0, deadline=140.0))).state is JobState.QUEUED


async def test_limits_of_accounts_refuse_before_anything_is_written(bench: Bench) -> None:
    account = await bench.account("ada", credits=3, max_active=5)
    asked = new_job(account, "mine")
    first = await bench.store.submit(asked)  # 3 - 2: no second
    with pytest.raises(ImagegenError):
        await bench.store.submit(new_job(account))
    assert (await bench.store.submit(again(asked))).id == first.id  # what was taken needs no credits
    assert await _jobs(bench) == 1


async def test_what_fails_on_the_way_leaves_nothing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    account = await bench.account("ada", credits=10)

    async def set_fair_tag(_connection: Connection, _account_id: int, _tag: float) -> None:
        raise psycopg.OperationalError("the connection is lost")

    monkeypatch.setattr(limits, "set_fair_tag", set_fair_tag)
    with pytest.raises(DatabaseUnavailableError):
        await bench.store.submit(new_job(account))
    assert await _jobs(bench) == 0
    assert await bench.value("SELECT credits FROM imagegen.accounts WHERE name = 'ada'") == 10
    assert bench.stats._pending == bench.stats._entered == 0
