"""Attempts by two workers that crash, freeze, lose their connections and drain, walked at random on a real database.

A model of a few lines says what must hold: no job is lost, ended twice or charged twice, and none fails but by what it
did itself. Time is the machine's own: it passes only where a rule says so, by moving the times in the rows back.
"""

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from orchestrator.errors import EngineFaultError, ImagegenError, PoisonJobError
from orchestrator.generation.job import JobState
from orchestrator.jobs.attempts import LEASE_SECONDS, Attempts
from orchestrator.jobs.maintenance import CONFIRM_SECONDS, Maintenance
from orchestrator.jobs.records import Attempt, JobRecord
from tests.integration.jobs.bench import ARTIFACT, PRICE, Bench, new_job

T = TypeVar("T")

ACTIVE = {JobState.QUEUED, JobState.RUNNING}
MAX_CRASHES = 2

_AGE = """
UPDATE imagegen.jobs SET
    lease_until = lease_until - make_interval(secs => %(seconds)s),
    not_before = not_before - make_interval(secs => %(seconds)s),
    started_at = started_at - make_interval(secs => %(seconds)s),
    created_at = created_at - make_interval(secs => %(seconds)s)
WHERE state IN ('queued', 'running')
"""


@dataclass
class Process:
    """A worker process: what it holds in memory, and whether it acts, and is connected."""

    name: str
    attempts: Attempts
    maintenance: Maintenance
    held: dict[str, Attempt] = field(default_factory=dict)
    frozen: bool = False
    session: AsyncExitStack | None = None


@dataclass
class Expected:
    """A job as it must be.

    Attributes:
        state: where it is; RUNNING and QUEUED alike while it has not ended.
        crashes: of processes that were alone with it.
        paid: it has a picture.
        reason: why it may have failed.
    """

    state: JobState = JobState.QUEUED
    crashes: int = 0
    paid: bool = False
    reason: type[ImagegenError] | None = None


@dataclass
class World:
    """A database for all examples; each has an account of its own."""

    loop: asyncio.AbstractEventLoop
    bench: Bench
    numbers: Iterator[int] = field(default_factory=lambda: iter(range(10**6)))

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """What `work` answers."""
        return self.loop.run_until_complete(work)


def _machine(world: World) -> type[RuleBasedStateMachine]:  # noqa: C901 - a rule is a method
    bench, store = world.bench, world.bench.store
    who = st.integers(0, 1)

    class Jobs(RuleBasedStateMachine):
        """Every rule does something to a job or a process, and notes what must come of it."""

        jobs = Bundle("jobs")

        def __init__(self) -> None:
            super().__init__()
            world.run(bench.database.run("TRUNCATE imagegen.jobs CASCADE"))
            self.account = world.run(bench.account(f"a{next(world.numbers)}", credits=1000))
            self.expected: dict[str, Expected] = {}
            self.processes = [world.run(self._process()) for _ in range(2)]
            self.before: dict[str, JobRecord] = {}

        async def _process(self) -> Process:
            name = f"p{next(world.numbers)}"
            attempts = Attempts(bench.database, name, MAX_CRASHES)
            process = Process(name, attempts, bench.maintaining(attempts))
            await self._connect(process)
            return process

        async def _connect(self, process: Process) -> None:
            process.session = AsyncExitStack()
            await process.session.enter_async_context(bench.session(process.name))

        async def _disconnect(self, process: Process) -> None:
            if process.session is not None:
                await process.session.aclose()
                process.session = None
                name = f"imagegen-{process.name}"
                gone = "SELECT count(*) FROM pg_stat_activity WHERE application_name = %(name)s"
                while await bench.value(gone, name=name):  # noqa: ASYNC110  # nothing reports when the server noticed
                    await asyncio.sleep(0.001)

        def _owns(self, attempt: Attempt) -> bool:
            now = world.run(store.get(attempt.job_id, self.account))
            return now.state is JobState.RUNNING and now.fence == attempt.fence

        def _end(self, process: Process, attempt: Attempt, ended: bool, state: JobState, **changes: Any) -> None:
            """Only an attempt that owns its job may have ended it."""
            del process.held[attempt.job_id]
            if ended:
                expected = self.expected[attempt.job_id]
                assert expected.state in ACTIVE
                expected.state = state
                for name, value in changes.items():
                    setattr(expected, name, value)

        @rule(target=jobs)
        def submit(self) -> str:
            job = world.run(store.submit(new_job(self.account, webhook_url="https://a.example/")))
            self.expected[job.id] = Expected()
            return job.id

        @rule(index=who)
        def claim(self, index: int) -> None:
            """As Worker does: nothing next to a job that must run alone, and not that next to others."""
            process = self.processes[index]
            if process.frozen or any(attempt.quarantined for attempt in process.held.values()):
                return
            idle = not process.held
            attempt = world.run(process.attempts.claim(idle=idle, alone=True))
            if attempt is None:
                return
            assert self.expected[attempt.job_id].state in ACTIVE
            assert idle or not attempt.quarantined
            holders = [each for each in self.processes if attempt.job_id in each.held and not each.frozen]
            assert all(not self._owns(each.held[attempt.job_id]) for each in holders)
            process.held[attempt.job_id] = attempt

        @rule(index=who, data=st.data())
        def finish(self, index: int, data: st.DataObject) -> None:
            process = self.processes[index]
            if not process.frozen and process.held:
                attempt = data.draw(st.sampled_from(list(process.held.values())))
                owned = self._owns(attempt)
                picture = f"{attempt.job_id}.{attempt.fence}.png"
                ended = world.run(process.attempts.finish(attempt, ARTIFACT, picture))
                assert ended is owned
                self._end(process, attempt, ended, JobState.SUCCEEDED, paid=True)

        @rule(index=who, data=st.data())
        def fail(self, index: int, data: st.DataObject) -> None:
            process = self.processes[index]
            if not process.frozen and process.held:
                attempt = data.draw(st.sampled_from(list(process.held.values())))
                owned = self._owns(attempt)
                ended = world.run(process.attempts.fail(attempt, EngineFaultError("broken")))
                assert ended is owned
                self._end(process, attempt, ended, JobState.FAILED, reason=EngineFaultError)

        @rule(index=who, data=st.data(), overrun=st.booleans(), seconds=st.sampled_from([0.0, 5.0]))
        def give_back(self, index: int, data: st.DataObject, overrun: bool, seconds: float) -> None:
            """By a drain, an engine that is unreachable, or an attempt that ran too long."""
            process = self.processes[index]
            if not process.frozen and process.held:
                attempt = data.draw(st.sampled_from(list(process.held.values())))
                owned = self._owns(attempt)
                assert world.run(process.attempts.give_back(attempt, seconds=seconds, overrun=overrun)) is owned
                del process.held[attempt.job_id]

        @rule(index=who)
        def renew(self, index: int) -> None:
            """A worker that comes back finds out what it has lost, and stops that."""
            if not self.processes[index].frozen:
                self._renew(self.processes[index])

        def _renew(self, process: Process) -> None:
            fences = {job_id: attempt.fence for job_id, attempt in process.held.items()}
            owned = {job_id for job_id, attempt in process.held.items() if self._owns(attempt)}
            assert world.run(process.attempts.renew(fences, alone=len(fences) == 1)) == owned
            lost = fences.keys() - owned
            if lost:
                world.run(process.attempts.absolve(lost))
                for job_id in lost:
                    del process.held[job_id]

        @rule(index=who)
        def freeze(self, index: int) -> None:
            """Its connection stays."""
            self.processes[index].frozen = True

        @rule(index=who)
        def resume(self, index: int) -> None:
            process = self.processes[index]
            process.frozen = False
            if process.session is None:
                world.run(self._connect(process))

        @rule(index=who)
        def lose_connections(self, index: int) -> None:
            """It lives, cannot reach the database, and holds on to its work."""
            process = self.processes[index]
            world.run(self._disconnect(process))
            process.frozen = True

        @rule(index=who)
        def crash(self, index: int) -> None:
            """The process and all that it held in memory are gone; another starts in its place."""
            process = self.processes[index]
            world.run(self._disconnect(process))
            alone = [attempt for attempt in process.held.values() if len(process.held) == 1 and self._owns(attempt)]
            for attempt in alone:
                self.expected[attempt.job_id].crashes += 1
            self.processes[index] = world.run(self._process())

        @rule(seconds=st.sampled_from([1.0, LEASE_SECONDS + 1.0]))
        def pass_time(self, seconds: float) -> None:
            """Workers that live renew every second."""
            world.run(bench.database.run(_AGE, {"seconds": seconds}))
            for process in self.processes:
                if not process.frozen:
                    self._renew(process)

        @rule(index=who)
        def maintain(self, index: int) -> None:
            """Read the leases, wait, and read them again; the owners that live have renewed meanwhile."""
            process = self.processes[index]
            if process.frozen:
                return
            world.run(process.maintenance.reclaim())
            bench.time += CONFIRM_SECONDS
            for each in self.processes:
                if not each.frozen:
                    self._renew(each)
            world.run(process.maintenance.reclaim())
            for record in world.run(process.attempts.fail_poisoned()):
                expected = self.expected[record.id]
                assert expected.crashes >= MAX_CRASHES, "failed as poison by crashes that were not its own"
                expected.state, expected.reason = JobState.FAILED, PoisonJobError

        @rule(index=who)
        def take_over(self, index: int) -> None:
            """One is frozen until the other has its job, and comes back: with an attempt that is not its."""
            other = 1 - index
            self.resume(index)
            self.resume(other)
            self.claim(index)
            self.freeze(index)
            self.pass_time(LEASE_SECONDS + 1.0)
            self.maintain(other)
            self.claim(other)
            self.resume(index)
            process = self.processes[index]
            for attempt in [each for each in process.held.values() if not self._owns(each)]:
                assert not world.run(process.attempts.save_events(attempt, []))
                assert not world.run(process.attempts.give_back(attempt)), "a stale attempt gave its job back"
                assert not world.run(process.attempts.fail(attempt, EngineFaultError("broken")))
                assert not world.run(process.attempts.finish(attempt, ARTIFACT, "stale.png"))

        @rule(index=who, times=st.integers(1, MAX_CRASHES))
        def freeze_alone(self, index: int, times: int) -> None:
            """One is frozen over a job that is alone, as often as crashes would be its end; then it is killed."""
            self.resume(1 - index)
            for _ in range(times):
                self.resume(index)
                self._renew(self.processes[index])
                self.claim(index)
                self.freeze(index)
                self.pass_time(LEASE_SECONDS + 1.0)
                self.maintain(1 - index)
            self.crash(index)
            self.maintain(1 - index)

        @rule(job=jobs)
        def cancel(self, job: str) -> None:
            expected = self.expected[job]
            if expected.state in ACTIVE:
                expected.state = JobState.CANCELLED
            assert world.run(store.cancel(job, self.account)).state is expected.state

        @rule(job=jobs)
        def delete(self, job: str) -> None:
            self.expected[job].state = JobState.DELETED
            assert world.run(store.delete(job, self.account)).state is JobState.DELETED

        @rule(job=jobs)
        def expire(self, job: str) -> None:
            """The picture's time is over."""
            sql = "UPDATE imagegen.jobs SET expires_at = now() WHERE id = %(id)s AND state = 'succeeded'"
            world.run(bench.database.run(sql, {"id": job}))
            world.run(bench.maintenance.sweep_jobs())
            if self.expected[job].state is JobState.SUCCEEDED:
                self.expected[job].state = JobState.DELETED

        @invariant()
        def agrees(self) -> None:
            world.run(self._compare())

        async def _compare(self) -> None:
            found = {job.id: job for job in await store.list_jobs(self.account, 1000)}
            assert found.keys() == self.expected.keys(), "a job is lost"
            for job_id, expected in self.expected.items():
                _check(found[job_id], expected)
                if (before := self.before.get(job_id)) is not None:  # numbers of events and fences never fall
                    assert found[job_id].fence >= before.fence
                    assert (found[job_id].ended == before.ended) or before.ended is None, "ended twice"
            self.before = found
            (row,) = await bench.database.run(
                "SELECT credits, (SELECT count(*) FROM imagegen.usage WHERE account_id = %(account)s) AS paid,"
                " (SELECT count(*) FROM imagegen.deliveries WHERE account_id = %(account)s) AS reports"
                " FROM imagegen.accounts WHERE id = %(account)s",
                {"account": self.account},
            )
            jobs = self.expected.values()
            unpaid = sum(job.state not in ACTIVE and not job.paid for job in jobs)
            assert row["credits"] == 1000 - PRICE * (len(jobs) - unpaid)
            assert row["paid"] == sum(job.paid for job in jobs)
            assert row["reports"] == sum(job.state not in ACTIVE for job in jobs)

        def teardown(self) -> None:
            """Whatever happened: two workers that live now bring every job to its end."""
            for index in range(2):
                self.resume(index)
            self.pass_time(LEASE_SECONDS + 10.0)
            for index in (0, 1, 0, 1):
                self.maintain(index)
            for process in self.processes:
                for attempt in list(process.held.values()):
                    ended = world.run(process.attempts.finish(attempt, ARTIFACT, None))
                    self._end(process, attempt, ended, JobState.SUCCEEDED, paid=True)
            while (last := world.run(self.processes[0].attempts.claim(idle=True, alone=True))) is not None:
                assert world.run(self.processes[0].attempts.finish(last, ARTIFACT, None))
                self.expected[last.job_id].state, self.expected[last.job_id].paid = JobState.SUCCEEDED, True
            assert all(job.state not in ACTIVE for job in self.expected.values()), "a job is stuck"
            self.agrees()
            for process in self.processes:
                world.run(self._disconnect(process))

    return Jobs


def _check(found: JobRecord, expected: Expected) -> None:
    assert (found.state in ACTIVE) is (expected.state in ACTIVE)
    if expected.state not in ACTIVE:
        assert found.state is expected.state
    assert (found.ended is None) is (found.state in ACTIVE)
    assert (found.artifact is not None) is (found.state is JobState.SUCCEEDED)
    assert (found.queued is not None) is (found.state is JobState.QUEUED)
    if found.state is JobState.FAILED:
        assert expected.reason is not None, "failed through no fault of its own"
        assert isinstance(found.error, expected.reason)


@pytest.fixture
def world() -> Iterator[World]:
    """The store in an event loop that the machine's rules run in."""
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        bench = runner.run(stack.enter_async_context(Bench.open(max_attempts=MAX_CRASHES)))
        yield World(runner.get_loop(), bench)
        runner.run(stack.aclose())


def test_whatever_happens_to_two_workers_no_job_is_lost_doubled_or_wronged(world: World) -> None:
    run_state_machine_as_test(
        _machine(world),
        settings=settings(
            max_examples=40,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            derandomize=True,
        ),
    )
