"""Who owns an attempt, what a crash counts, and how the version before shares the queue."""

from collections.abc import AsyncIterator

import procrastinate
import psycopg
import pytest
from psycopg.rows import dict_row

from orchestrator.database.migrate import list_migrations
from orchestrator.errors import EngineFaultError, PoisonJobError
from orchestrator.generation.job import JobState
from orchestrator.jobs.records import Attempt, JobRecord
from tests.database import new_empty_url
from tests.integration.jobs.bench import ARTIFACT, PRICE, Bench, bench_started, new_job


async def _begin(bench: Bench, *, alone: bool = True) -> Attempt:
    """A job that runs; whether nothing else does."""
    account = await bench.account("ada", credits=10)
    await bench.store.submit(new_job(account))
    attempt = await bench.attempts.claim(idle=True, alone=alone)
    assert attempt is not None
    return attempt


async def _get(bench: Bench, attempt: Attempt) -> JobRecord:
    return await bench.store.get(attempt.job_id, attempt.account_id)


async def _crashes(bench: Bench) -> int:
    crashes: int = await bench.value("SELECT crashes FROM imagegen.jobs")
    return crashes


@pytest.mark.promise(
    "a request that kills its workers",
    "it runs alone, and fails after three crashes",
    "orchestrator/jobs/attempts.py",
)
async def test_a_job_that_crashes_its_process_alone_fails_as_poison(bench: Bench) -> None:
    attempt = await _begin(bench)
    for crash in (1, 2, 3):
        assert await bench.attempts.fail_poisoned() == []
        await bench.lapse(attempt.job_id)
        assert await _crashes(bench) == crash
        again = await bench.claim()
        assert (again is None) is (crash == 3)
        assert again is None or again.quarantined
    (record,) = await bench.attempts.fail_poisoned()
    assert isinstance(record.error, PoisonJobError)
    assert str(record.error) == "the server crashed 3 times while it ran this job and nothing else"
    assert (await _get(bench, attempt)).state is JobState.FAILED
    assert await bench.value("SELECT credits FROM imagegen.accounts WHERE name = 'ada'") == 10
    assert await bench.attempts.fail_poisoned() == []


async def test_a_crash_does_not_count_against_jobs_that_ran_side_by_side(bench: Bench) -> None:
    account = await bench.account("ada")
    for _ in range(2):
        await bench.store.submit(new_job(account))
    first = await bench.attempts.claim(idle=True, alone=True)
    second = await bench.attempts.claim(idle=False, alone=True)
    assert first is not None
    assert second is not None
    await bench.lapse(first.job_id, second.job_id)
    rows = await bench.database.run("SELECT state, crashes, quarantined FROM imagegen.jobs")
    assert [(row["state"], row["crashes"], row["quarantined"]) for row in rows] == [("queued", 0, True)] * 2


async def test_a_crash_does_not_count_where_a_stream_ran_too(bench: Bench) -> None:
    other = await _begin(bench, alone=False)
    await bench.lapse(other.job_id)
    assert await _crashes(bench) == 0
    attempt = await bench.claim()
    assert attempt is not None
    assert await bench.attempts.renew({attempt.job_id: attempt.fence}, alone=False)  # a stream has started
    await bench.lapse(attempt.job_id)
    assert await _crashes(bench) == 0


async def test_a_process_that_is_frozen_has_not_crashed(bench: Bench) -> None:
    attempt = await _begin(bench)
    async with bench.session("bench"):
        await bench.lapse(attempt.job_id)
    assert (await _get(bench, attempt)).state is JobState.QUEUED
    assert await bench.value("SELECT crashes = 0 AND NOT quarantined FROM imagegen.jobs")


async def test_a_process_that_comes_back_has_not_crashed(bench: Bench) -> None:
    """It was cut off from the database; its connection was gone, as that of a dead one."""
    attempt = await _begin(bench)
    await bench.lapse(attempt.job_id)
    assert await _crashes(bench) == 1
    assert await bench.attempts.renew({attempt.job_id: attempt.fence}, alone=True) == set()
    for _ in range(2):
        await bench.attempts.absolve([attempt.job_id])
        assert await _crashes(bench) == 0


async def test_where_the_database_was_restarted_nobody_knows_who_crashed(bench: Bench) -> None:
    attempt = await _begin(bench)
    await bench_started(bench.database, "now")
    await bench.lapse(attempt.job_id)
    assert await bench.value("SELECT crashes = 0 AND quarantined FROM imagegen.jobs")


async def test_a_lease_that_lapsed_can_be_renewed_until_it_is_reclaimed(bench: Bench) -> None:
    attempt = await _begin(bench)
    await bench.database.run("UPDATE imagegen.jobs SET lease_until = now() - interval '1 minute'")
    await bench.maintenance.reclaim()
    assert await bench.attempts.renew({attempt.job_id: attempt.fence}, alone=True) == {attempt.job_id}
    await bench.reclaim()
    assert await bench.attempts.finish(attempt, ARTIFACT, None)


async def test_a_lapsed_lease_is_reclaimed_by_one(bench: Bench) -> None:
    attempt = await _begin(bench)
    await bench.database.run("UPDATE imagegen.jobs SET lease_until = now() - interval '1 s'")
    (lapsed,) = await bench.attempts.find_lapsed()
    assert await bench.attempts.reclaim(lapsed) is not None
    assert await bench.attempts.reclaim(lapsed) is None
    assert (await _get(bench, attempt)).fence == 2


async def test_a_quarantined_job_runs_alone(bench: Bench) -> None:
    """A process that is busy takes neither it nor what is behind it; one that is idle takes it."""
    account = await bench.account("ada")
    first = await bench.store.submit(new_job(account))
    await bench.store.submit(new_job(account))
    await bench.database.run("UPDATE imagegen.jobs SET quarantined = true WHERE id = %(id)s", {"id": first.id})
    assert await bench.attempts.claim(idle=False, alone=True) is None
    attempt = await bench.attempts.claim(idle=True, alone=True)
    assert attempt is not None
    assert (attempt.job_id, attempt.quarantined) == (first.id, True)


async def test_a_retry_waits_for_its_time(bench: Bench) -> None:
    attempt = await _begin(bench)
    assert await bench.attempts.give_back(attempt, seconds=60)
    assert await bench.claim() is None
    await bench.database.run("UPDATE imagegen.jobs SET not_before = now()")
    again = await bench.claim()
    assert again is not None
    assert (again.number, again.overruns) == (1, 0)
    assert await bench.attempts.give_back(again, overrun=True)
    last = await bench.claim()
    assert last is not None
    assert (last.number, last.overruns) == (2, 1)


async def test_numbers_of_events_rise_however_often_a_job_returns(bench: Bench) -> None:
    """A fence of 40,000 was too much for 32 bits."""
    attempt = await _begin(bench)
    await bench.database.run("UPDATE imagegen.jobs SET fence = 40000")
    assert await bench.attempts.renew({attempt.job_id: 40000}, alone=True)
    await bench.lapse(attempt.job_id)
    again = await bench.claim()
    assert again is not None
    assert again.first_event > attempt.first_event
    await bench.database.run("UPDATE imagegen.jobs SET first_event = 2147000000")
    assert await bench.attempts.fail(again, EngineFaultError("broken"))
    assert (await _get(bench, attempt)).sequence == 2147000000


@pytest.fixture
async def shared() -> AsyncIterator[Bench]:
    """A database that the version before has migrated and used, and this one has migrated since."""
    url = new_empty_url()
    migrations = list_migrations()
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute(procrastinate.schema.SchemaManager.get_schema().encode())
        for name in sorted(migrations):
            await connection.execute(migrations[name].encode())
    async with Bench.open(url) as bench:
        yield bench


class Before:
    """The version before, as far as the database sees it: procrastinate's own functions."""

    def __init__(self, bench: Bench, connection: "psycopg.AsyncConnection[dict[str, object]]") -> None:
        self._bench, self._connection = bench, connection
        self.worker = 0

    async def register(self) -> None:
        """Begin to work."""
        self.worker = await self._value("SELECT worker_id FROM procrastinate_register_worker_v1()")

    async def defer(self, job_id: str) -> None:
        """Put a job into its queue."""
        await self._connection.execute(
            "SELECT procrastinate_defer_jobs_v1(ARRAY[ROW('default', 'run_job', 0, NULL, %s,"
            " '{}'::jsonb, NULL)::procrastinate_job_to_defer_v1])",
            (job_id,),
        )

    async def fetch(self) -> str | None:
        """Take the next job; its id."""
        found = await self._value("SELECT queueing_lock FROM procrastinate_fetch_job_v2(NULL, %s)", self.worker)
        return None if found is None else str(found)

    async def start(self, job_id: str) -> None:
        """Begin a job that it fetched."""
        await self._connection.execute(
            "UPDATE imagegen.jobs SET state = 'running', started_at = clock_timestamp(), attempts = attempts + 1,"
            " fence = fence + 1 WHERE id = %s AND state IN ('queued', 'running')",
            (job_id,),
        )

    async def _value(self, sql: str, *values: object) -> int:
        row = await (await self._connection.execute(sql.encode(), values)).fetchone()
        (value,) = row.values() if row else (None,)
        return value  # type: ignore[return-value]  # of the one column


@pytest.fixture
async def before(shared: Bench) -> AsyncIterator[Before]:
    """A worker of the version before."""
    url = shared.database.url
    async with await psycopg.AsyncConnection.connect(url, autocommit=True, row_factory=dict_row) as connection:
        old = Before(shared, connection)
        await old.register()
        yield old


async def test_what_the_version_before_has_queued_is_claimed(shared: Bench, before: Before) -> None:
    job = await shared.store.submit(new_job(await shared.account("ada")))
    await before.defer(job.id)
    attempt = await shared.claim()
    assert attempt is not None
    assert attempt.job_id == job.id
    assert await before.fetch() is None  # it is not there any more
    await before.defer(job.id)  # as its search for lost jobs does
    assert await before.fetch() is None
    assert await shared.attempts.finish(attempt, ARTIFACT, None)
    assert await shared.value("SELECT price FROM imagegen.usage") == PRICE * 0


async def test_what_the_version_before_has_fetched_is_left_to_it(shared: Bench, before: Before) -> None:
    job = await shared.store.submit(new_job(await shared.account("ada")))
    await before.defer(job.id)
    assert await before.fetch() == job.id
    assert await shared.claim() is None
    await before.start(job.id)
    await shared.database.run("UPDATE imagegen.jobs SET started_at = now() - interval '10 minutes'")
    await shared.reclaim()
    assert await shared.claim() is None


async def test_what_a_dead_process_of_the_version_before_had_is_claimed(shared: Bench, before: Before) -> None:
    job = await shared.store.submit(new_job(await shared.account("ada")))
    await before.defer(job.id)
    assert await before.fetch() == job.id
    await before.start(job.id)
    await shared.database.run("UPDATE imagegen.jobs SET started_at = now() - interval '10 minutes'")
    await shared.database.run("UPDATE procrastinate_workers SET last_heartbeat = now() - interval '1 minute'")
    await shared.reclaim()
    attempt = await shared.claim()
    assert attempt is not None
    assert (attempt.job_id, attempt.number) == (job.id, 2)
    assert await shared.value("SELECT crashes FROM imagegen.jobs") == 0  # nobody knows who was alone there
    assert await shared.attempts.finish(attempt, ARTIFACT, None)


async def test_a_request_that_the_version_before_cannot_read_is_kept_from_it(shared: Bench, before: Before) -> None:
    job = await shared.store.submit(new_job(await shared.account("ada"), stored="large.request"))
    await before.defer(job.id)
    assert await before.fetch() is None
    attempt = await shared.claim()
    assert attempt is not None
    assert (attempt.request, attempt.request_object) == (None, "large.request")
