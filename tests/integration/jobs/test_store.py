"""The life of a job in the database, one step after the other."""

import asyncio
import itertools
from dataclasses import replace
from datetime import timedelta

import pytest

from orchestrator.diffusion.stages import Stage
from orchestrator.errors import (
    CancelledByClientError,
    EngineFaultError,
    EngineUnavailableError,
    FilteredError,
    NotFoundError,
    PreconditionError,
)
from orchestrator.generation.events import Event, Preview, Progress, Queued, Started
from orchestrator.generation.job import JobState
from orchestrator.jobs.attempts import Attempts
from orchestrator.jobs.records import Attempt, WebhookState
from orchestrator.params import Priority
from tests.integration.jobs.bench import ARTIFACT, PRICE, Bench, new_job

STARTED = Started(seed=7, network_width=64, network_height=64, prompt_tokens_cut=0, edges=(0.1, 0.9))


async def _credits(bench: Bench) -> int:
    return int(await bench.value("SELECT credits FROM imagegen.accounts WHERE name = 'ada'"))


async def _begin(bench: Bench, account: int) -> Attempt:
    """A job that runs."""
    return await bench.start((await bench.store.submit(new_job(account))).id)


async def test_a_job_from_submission_to_picture(bench: Bench) -> None:
    account = await bench.account("ada", credits=10)
    asked = new_job(account, "mine", webhook_url="https://a.example/", webhook_data="1", priority=Priority.HIGH)
    queued = await bench.store.submit(asked)
    assert (queued.state, queued.request_id, queued.priority) == (JobState.QUEUED, "mine", Priority.HIGH)
    assert queued.queued is not None
    assert queued.queued.position == 0
    assert queued.webhook == WebhookState()

    attempt = await bench.start(queued.id)
    assert (attempt.request, attempt.number, attempt.fence, attempt.account_id) == (b"request", 1, 1, account)
    assert 0 <= attempt.age < 60
    running = await bench.store.get(queued.id, account)
    assert (running.state, running.attempts, running.ended, running.queued) == (JobState.RUNNING, 1, None, None)

    picture = await bench.note("a.png", account)
    assert await bench.attempts.finish(attempt, ARTIFACT, picture)
    done = await bench.store.get(queued.id, account)
    assert done.artifact == replace(ARTIFACT, data=None)
    assert (done.state, done.picture, done.error) == (JobState.SUCCEEDED, "a.png", None)
    assert done.sequence > attempt.first_event
    assert done.expires == await bench.value("SELECT expires_at FROM imagegen.results")
    assert done.webhook is not None
    assert (done.webhook.state, done.webhook.attempts) == ("pending", 0)
    assert await bench.value("SELECT data FROM imagegen.deliveries") == "1"
    assert await bench.value("SELECT price FROM imagegen.usage") == PRICE
    assert await _credits(bench) == 10 - PRICE
    assert await bench.value("SELECT request IS NULL AND webhook_data IS NULL FROM imagegen.jobs")


async def test_a_picture_that_went_to_a_storage_keeps_its_uri(bench: Bench) -> None:
    account = await bench.account("ada")
    attempt = await _begin(bench, account)
    assert await bench.attempts.finish(attempt, replace(ARTIFACT, uri="storage://mine/a.png"), None)
    done = await bench.store.get(attempt.job_id, account)
    assert done.artifact is not None
    assert (done.artifact.uri, done.picture, done.expires) == ("storage://mine/a.png", None, None)


async def test_a_job_that_fails_costs_nothing_and_says_why(bench: Bench) -> None:
    account = await bench.account("ada", credits=10)
    attempt = await _begin(bench, account)
    assert await bench.attempts.fail(attempt, EngineFaultError("broken"))
    failed = await bench.store.get(attempt.job_id, account)
    assert failed.state is JobState.FAILED
    assert isinstance(failed.error, EngineFaultError)
    assert failed.ended is not None
    assert await _credits(bench) == 10
    assert await bench.value("SELECT count(*) FROM imagegen.usage") == 0
    assert not await bench.attempts.fail(attempt, EngineFaultError("broken"))
    assert await _credits(bench) == 10


@pytest.mark.parametrize("charged", [False, True])
async def test_a_picture_that_the_safety_filter_stopped_costs_what_the_operator_says(
    bench: Bench, *, charged: bool
) -> None:
    account = await bench.account("ada", credits=10)
    attempts = Attempts(bench.database, "bench", 3, charge_filtered=charged)
    job = await bench.store.submit(new_job(account))
    attempt = await bench.start(job.id, attempts)
    assert await attempts.fail(attempt, FilteredError("stopped"))
    failed = await bench.store.get(job.id, account)
    assert (failed.state, type(failed.error)) == (JobState.FAILED, FilteredError)
    assert await _credits(bench) == (10 - PRICE if charged else 10)
    assert await bench.value("SELECT count(*) FROM imagegen.usage") == int(charged)
    assert not await attempts.fail(attempt, FilteredError("stopped"))
    assert await bench.value("SELECT count(*) FROM imagegen.usage") == int(charged)


async def test_a_job_is_nobody_elses(bench: Bench) -> None:
    ada, bob = await bench.account("ada"), await bench.account("bob")
    job = await bench.store.submit(new_job(ada))
    for forbidden in (bench.store.get, bench.store.cancel, bench.store.delete):
        with pytest.raises(NotFoundError):
            await forbidden(job.id, bob)
    assert await bench.store.list_jobs(bob, 10) == []
    assert (await bench.store.get(job.id, ada)).state is JobState.QUEUED


@pytest.mark.parametrize("begins", [False, True])
async def test_a_cancelled_job_ends_at_once_and_costs_nothing(bench: Bench, *, begins: bool) -> None:
    account = await bench.account("ada", credits=10)
    job = await bench.store.submit(new_job(account, webhook_url="https://a.example/"))
    attempt = await bench.start(job.id) if begins else None
    cancelled = await bench.store.cancel(job.id, account)
    assert cancelled.state is JobState.CANCELLED
    assert isinstance(cancelled.error, CancelledByClientError)
    assert await _credits(bench) == 10
    assert await bench.value("SELECT count(*) FROM imagegen.deliveries") == 1
    assert await bench.claim() is None
    if attempt is not None:
        assert not await bench.attempts.save_events(attempt, [(1, STARTED)])
        assert not await bench.attempts.finish(attempt, ARTIFACT, None)
        assert not await bench.attempts.give_back(attempt)
    again = await bench.store.cancel(job.id, account)
    assert (again.state, again.ended) == (JobState.CANCELLED, cancelled.ended)
    assert await _credits(bench) == 10


@pytest.mark.parametrize(("step", "cost"), [(None, 0), (3, 0), (4, PRICE), (8, PRICE)])
@pytest.mark.parametrize("end", ["cancel", "delete", "precondition", "fault"])
async def test_a_job_whose_preview_showed_the_picture_is_paid(
    bench: Bench, step: int | None, cost: int, end: str
) -> None:
    """From the later half of its steps on, where its client ends it; never where it ends of a fault here."""
    account = await bench.account("ada", credits=10)
    attempt = await _begin(bench, account)
    shown: list[tuple[int, Event]] = (
        [] if step is None else [(step, Progress(Stage.DENOISE, step, 8)), (step + 1, Preview(b"jpeg", step))]
    )
    assert await bench.attempts.save_events(attempt, [(1, STARTED), *shown])
    if end == "cancel":
        await bench.store.cancel(attempt.job_id, account)
    elif end == "delete":
        await bench.store.delete(attempt.job_id, account)
    else:
        error = (
            PreconditionError("the target cannot be written") if end == "precondition" else EngineFaultError("broken")
        )
        assert await bench.attempts.fail(attempt, error)
    cost = 0 if end == "fault" else cost
    assert await _credits(bench) == 10 - cost
    assert await bench.value("SELECT coalesce(sum(price), 0) FROM imagegen.usage") == cost
    await bench.store.cancel(attempt.job_id, account)
    assert await _credits(bench) == 10 - cost


async def test_a_deleted_job_stays_known_as_deleted(bench: Bench) -> None:
    account = await bench.account("ada", credits=10)
    attempt = await _begin(bench, account)
    assert await bench.attempts.finish(attempt, ARTIFACT, await bench.note("a.png", account))
    deleted = await bench.store.delete(attempt.job_id, account)
    assert (deleted.state, deleted.picture, deleted.artifact) == (JobState.DELETED, "a.png", None)
    assert await bench.value(
        "SELECT expires_at <= now() FROM imagegen.results"
    )  # swept, should the caller not get to it
    assert (await bench.store.delete(attempt.job_id, account)).state is JobState.DELETED
    assert (await bench.store.cancel(attempt.job_id, account)).state is JobState.DELETED
    assert await _credits(bench) == 10 - PRICE  # the picture was made


async def test_a_job_that_is_deleted_while_it_runs_is_stopped_and_refunded(bench: Bench) -> None:
    account = await bench.account("ada", credits=10)
    attempt = await _begin(bench, account)
    deleted = await bench.store.delete(attempt.job_id, account)
    assert (deleted.state, deleted.picture) == (JobState.DELETED, None)
    assert isinstance(deleted.error, CancelledByClientError)
    assert not await bench.attempts.finish(attempt, ARTIFACT, await bench.note("a.png", account))
    assert (await bench.store.get(attempt.job_id, account)).state is JobState.DELETED
    assert await _credits(bench) == 10


async def test_an_attempt_that_was_thought_dead_cannot_end_the_job(bench: Bench) -> None:
    account = await bench.account("ada")
    first = await _begin(bench, account)
    second = await bench.restart(first)
    assert (second.number, second.fence) == (2, 3)
    assert not await bench.attempts.save_events(first, [(1, STARTED)])
    assert not await bench.attempts.fail(first, EngineFaultError("broken"))
    assert not await bench.attempts.give_back(first)
    assert not await bench.attempts.finish(first, ARTIFACT, await bench.note("first.png", account))
    assert await bench.attempts.finish(second, ARTIFACT, await bench.note("second.png", account))
    assert not await bench.attempts.finish(first, ARTIFACT, "first.png")
    done = await bench.store.get(first.job_id, account)
    assert (done.picture, done.attempts) == ("second.png", 2)
    assert await bench.value("SELECT count(*) FROM imagegen.usage") == 1


async def test_an_end_whose_answer_was_lost_may_be_repeated(bench: Bench) -> None:
    account = await bench.account("ada")
    attempt = await _begin(bench, account)
    picture = await bench.note("a.png", account)
    assert await bench.attempts.finish(attempt, ARTIFACT, picture)
    assert await bench.attempts.finish(attempt, ARTIFACT, picture)  # else the worker would remove the job's picture
    assert await bench.value("SELECT count(*) FROM imagegen.usage") == 1


async def test_what_is_given_back_does_not_count(bench: Bench) -> None:
    account = await bench.account("ada")
    job = await bench.store.submit(new_job(account))
    for _ in range(5):
        attempt = await bench.start(job.id)
        assert attempt.number == 1
        assert await bench.attempts.give_back(attempt)
        assert not await bench.attempts.give_back(attempt)
    waiting = await bench.store.get(job.id, account)
    assert (waiting.state, waiting.attempts, waiting.fence) == (JobState.QUEUED, 0, 10)
    assert waiting.queued is not None
    assert waiting.queued.position == 0


async def test_watchers_see_the_newest_event_of_each_kind_and_the_end(bench: Bench) -> None:
    account = await bench.account("ada")
    attempt = await _begin(bench, account)
    job_id = attempt.job_id
    steps = [(number, Progress(Stage.DENOISE, number, 8)) for number in range(2, 6)]
    assert await bench.attempts.save_events(attempt, [(1, STARTED), *steps])
    assert await bench.attempts.save_events(attempt, [(6, Preview(b"jpeg", 4)), (7, Progress(Stage.DENOISE, 6, 8))])
    seen = (await bench.store.events({job_id: 0, "none": 0}))[job_id]
    assert seen.events == (
        (attempt.first_event + 1, STARTED),
        (attempt.first_event + 6, Preview(b"jpeg", 4)),
        (attempt.first_event + 7, Progress(Stage.DENOISE, 6, 8)),
    )
    assert (seen.state, seen.first_event, seen.end) == (JobState.RUNNING, attempt.first_event, None)

    last = Progress(Stage.FINISH, 1, 1)
    assert await bench.attempts.finish(attempt, ARTIFACT, None, [(8, last)], last=8)
    after = await bench.store.events({job_id: attempt.first_event + 7})
    assert after[job_id].events == ((attempt.first_event + 8, last),)
    assert after[job_id].end == await bench.store.get(job_id, account)
    assert set(after) == {job_id}


async def test_events_of_an_earlier_attempt_are_not_shown(bench: Bench) -> None:
    account = await bench.account("ada")
    first = await _begin(bench, account)
    assert await bench.attempts.save_events(first, [(1, STARTED), (9, Preview(b"old", 1))])
    second = await bench.restart(first)
    assert (await bench.store.events({first.job_id: 0}))[first.job_id].events == ()
    assert await bench.attempts.save_events(second, [(1, STARTED)])
    seen = (await bench.store.events({first.job_id: first.first_event + 9}))[first.job_id]
    assert seen.events == ((second.first_event + 1, STARTED),)


async def test_positions_are_those_of_the_queue(bench: Bench) -> None:
    account = await bench.account("ada")
    jobs = [await bench.store.submit(new_job(account)) for _ in range(4)]
    urgent = await bench.store.submit(new_job(account, priority=Priority.HIGH))
    places = await bench.store.positions([job.id for job in [*jobs, urgent]])
    assert [places[job.id].position for job in [urgent, *jobs]] == [0, 1, 2, 3, 4]
    # Each of them is expected to need an engine for ten seconds (new_job).
    assert [places[job.id].estimated_wait for job in [urgent, *jobs]] == [0.0, 10.0, 20.0, 30.0, 40.0]
    first = await bench.claim()
    assert first is not None
    assert first.job_id == urgent.id
    listed = await bench.store.list_jobs(account, 10)
    assert [(job.id, job.queued and job.queued.position) for job in listed] == [
        (urgent.id, None),
        *((job.id, position) for position, job in reversed(list(enumerate(jobs)))),
    ]


async def test_jobs_are_listed_in_pages_newest_first(bench: Bench) -> None:
    account = await bench.account("ada")
    made = [(await bench.store.submit(new_job(account))).id for _ in range(7)]
    await bench.store.cancel(made[2], account)
    await bench.database.run("UPDATE imagegen.jobs SET created_at = '2026-01-01'")  # pages do not depend on their times
    pages, after = [], None
    while page := await bench.store.list_jobs(account, 3, after):
        pages.append([job.id for job in page])
        after = (page[-1].created, page[-1].id)
    assert [len(page) for page in pages] == [3, 3, 1]
    assert sorted(itertools.chain(*pages)) == sorted(made)
    assert [job.id for job in await bench.store.list_jobs(account, 10, state=JobState.CANCELLED)] == [made[2]]
    assert len(await bench.store.list_jobs(account, 10, state=JobState.QUEUED)) == 6


async def test_listeners_hear_of_every_change_that_a_watcher_would_see(bench: Bench) -> None:
    account = await bench.account("ada")
    async with bench.listen("imagegen_events", "imagegen_deliveries") as heard:
        first = await _begin(bench, account)
        assert await bench.attempts.save_events(first, [(1, STARTED)])
        assert await bench.attempts.give_back(first)
        second = await bench.start(first.job_id)
        assert await bench.attempts.fail(second, EngineUnavailableError("away"))
        hooked = await bench.store.submit(new_job(account, webhook_url="https://a.example/"))
        await bench.store.cancel(hooked.id, account)
        async with asyncio.timeout(10):
            notes = [await heard.get() for _ in range(5)]
    events, deliveries = "imagegen_events", "imagegen_deliveries"
    assert notes[:3] == [(events, first.job_id)] * 3
    assert sorted(notes[3:]) == sorted([(events, hooked.id), (deliveries, "")])


async def test_a_jobs_end_is_after_its_beginning(bench: Bench) -> None:
    attempt = await _begin(bench, await bench.account("ada"))
    assert await bench.attempts.finish(attempt, ARTIFACT, None)
    done = await bench.store.get(attempt.job_id, attempt.account_id)
    assert done.started is not None
    assert done.ended is not None
    assert done.created <= done.started <= done.ended <= done.created + timedelta(seconds=60)


async def test_a_queue_that_has_been_busy_estimates_waits_at_its_own_speed(bench: Bench) -> None:
    account = await bench.account("ada")
    attempt = await _begin(bench, account)
    await bench.database.run("UPDATE imagegen.jobs SET started_at = started_at - interval '30 s'")
    assert await bench.attempts.finish(attempt, ARTIFACT, None)
    bench.forget_stats()
    stats = await bench.stats.read()
    assert stats.pace == pytest.approx(1 / 3, rel=0.2), "ten seconds of work took thirty"
    assert stats.forecast.run(20) == pytest.approx(60, abs=10)
    job = await bench.store.submit(new_job(account))
    assert job.queued == Queued(0, 0.0)
    await _begin(bench, account)
    behind = await bench.store.submit(new_job(account, work_seconds=1.0))
    assert behind.queued is not None
    bench.forget_stats()
    stats = await bench.stats.read()
    (family,) = stats.backlogs()
    assert stats.backlogs()[family] == pytest.approx(33, abs=8), "two wait, of 10 s and 1 s"
    placed = await bench.store.get(behind.id, account)
    assert placed.queued is not None
    assert placed.queued.position == 1
    assert placed.queued.estimated_wait == pytest.approx(60, abs=10), "10 s of work run, and 10 s wait before it"
