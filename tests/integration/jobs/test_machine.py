"""The states of a job, walked at random beside a model of a few lines (hypothesis), on a real database."""

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule, run_state_machine_as_test

from orchestrator.errors import EngineFaultError
from orchestrator.generation.job import JobState
from orchestrator.jobs.records import Attempt, JobRecord
from tests.database import new_url
from tests.integration.jobs.bench import ARTIFACT, PRICE, Bench, submission

T = TypeVar("T")

ACTIVE = {JobState.QUEUED, JobState.RUNNING}
MAX_ATTEMPTS = 3


@dataclass
class Expected:
    """A job as it must be."""

    state: JobState = JobState.QUEUED
    attempts: int = 0
    fence: int = 0
    paid: bool = False
    refunded: bool = False

    def end(self, state: JobState, *, paid: bool) -> None:
        """Paid for with a picture, refunded without."""
        self.state, self.paid, self.refunded = state, paid, not paid


@dataclass
class World:
    """A database for all examples; each has an account of its own."""

    loop: asyncio.AbstractEventLoop
    bench: Bench
    accounts: Iterator[int] = field(default_factory=lambda: iter(range(10**6)))

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """What `work` answers."""
        return self.loop.run_until_complete(work)


def _machine(world: World) -> type[RuleBasedStateMachine]:  # noqa: C901 - a rule is a method
    store = world.bench.store

    class Jobs(RuleBasedStateMachine):
        """Every rule does something to a job, and says what must come of it."""

        jobs, attempts = Bundle("jobs"), Bundle("attempts")

        def __init__(self) -> None:
            super().__init__()
            self.account = world.run(world.bench.account(f"a{next(world.accounts)}", credits=1000))
            self.expected: dict[str, Expected] = {}

        def _owned(self, attempt: Attempt) -> Expected | None:
            expected = self.expected[attempt.job_id]
            is_owned = expected.state is JobState.RUNNING and expected.fence == attempt.fence
            return expected if is_owned else None

        @rule(target=jobs)
        def submit(self) -> str:
            job = world.run(store.submit(submission(self.account, webhook_url="https://a.example/")))
            self.expected[job.id] = Expected()
            return job.id

        @rule(target=attempts, job=jobs)
        def start(self, job: str) -> Any:
            expected, attempt = self.expected[job], world.run(store.start(job))
            if expected.state not in ACTIVE:
                assert attempt is None
                return multiple()
            if expected.attempts == MAX_ATTEMPTS:
                assert attempt is None
                expected.end(JobState.FAILED, paid=False)
                return multiple()
            assert attempt is not None
            expected.state = JobState.RUNNING
            expected.attempts, expected.fence = expected.attempts + 1, expected.fence + 1
            assert (attempt.number, attempt.fence) == (expected.attempts, expected.fence)
            return attempt

        @rule(attempt=attempts)
        def finish(self, attempt: Attempt) -> None:
            expected = self._owned(attempt)
            before = world.run(store.get(attempt.job_id, self.account))
            is_again = before.state is JobState.SUCCEEDED and before.fence == attempt.fence
            picture = f"{attempt.job_id}.{attempt.fence}.png"
            assert world.run(store.finish(attempt, ARTIFACT, picture)) is (expected is not None or is_again)
            if expected is not None:
                expected.end(JobState.SUCCEEDED, paid=True)

        @rule(attempt=attempts)
        def fail(self, attempt: Attempt) -> None:
            expected = self._owned(attempt)
            assert world.run(store.fail(attempt, EngineFaultError("broken"))) is (expected is not None)
            if expected is not None:
                expected.end(JobState.FAILED, paid=False)

        @rule(attempt=attempts)
        def give_back(self, attempt: Attempt) -> None:
            expected = self._owned(attempt)
            assert world.run(store.give_back(attempt)) is (expected is not None)
            if expected is not None:
                expected.state = JobState.QUEUED
                expected.attempts, expected.fence = expected.attempts - 1, expected.fence + 1

        @rule(attempt=attempts)
        def save_events(self, attempt: Attempt) -> None:
            assert world.run(store.save_events(attempt, [])) is (self._owned(attempt) is not None)

        @rule(job=jobs)
        def cancel(self, job: str) -> None:
            expected = self.expected[job]
            if expected.state in ACTIVE:
                expected.end(JobState.CANCELLED, paid=False)
            assert world.run(store.cancel(job, self.account)).state is expected.state

        @rule(job=jobs)
        def delete(self, job: str) -> None:
            expected = self.expected[job]
            if expected.state in ACTIVE:
                expected.end(JobState.DELETED, paid=False)
            expected.state = JobState.DELETED
            assert world.run(store.delete(job, self.account)).state is JobState.DELETED

        @rule(job=jobs, after=st.integers(0, 2**20))
        def watch(self, job: str, after: int) -> None:
            seen = world.run(store.events({job: after}))[job]
            assert (seen.state, seen.fence) == (self.expected[job].state, self.expected[job].fence)
            assert (seen.end is None) is (seen.state in ACTIVE)

        @invariant()
        def agrees(self) -> None:
            world.run(self._compare())

        async def _compare(self) -> None:
            found = {job.id: job for job in await store.list_jobs(self.account, 1000)}
            assert set(found) == set(self.expected)
            for job_id, expected in self.expected.items():
                _check(found[job_id], expected)
            keys = {"account": self.account}
            (row,) = await world.bench.database.run(
                "SELECT credits, (SELECT count(*) FROM imagegen.usage WHERE account_id = %(account)s) AS made,"
                " (SELECT count(*) FROM imagegen.deliveries WHERE account_id = %(account)s) AS told"
                " FROM imagegen.accounts WHERE id = %(account)s",
                keys,
            )
            jobs = self.expected.values()
            assert row["credits"] == 1000 - PRICE * sum(not job.refunded for job in jobs)
            assert row["made"] == sum(job.paid for job in jobs)
            assert row["told"] == sum(job.state not in ACTIVE for job in jobs)

    return Jobs


def _check(found: JobRecord, expected: Expected) -> None:
    assert (found.state, found.fence) == (expected.state, expected.fence)
    assert found.attempts == expected.attempts
    assert (found.ended is None) is (found.state in ACTIVE)
    assert (found.artifact is not None) is (found.state is JobState.SUCCEEDED)
    assert (found.queued is not None) is (found.state is JobState.QUEUED)


@pytest.fixture
def world() -> Iterator[World]:
    """The store in an event loop that the machine's rules run in."""
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        bench = runner.run(stack.enter_async_context(Bench.open(new_url(), max_attempts=MAX_ATTEMPTS)))
        yield World(runner.get_loop(), bench)
        runner.run(stack.aclose())


def test_the_states_of_jobs(world: World) -> None:
    run_state_machine_as_test(
        _machine(world),
        settings=settings(
            max_examples=25,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            derandomize=True,
        ),
    )
