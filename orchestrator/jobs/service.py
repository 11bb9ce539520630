"""Durable jobs, as the API offers them: over the store, the board and the results."""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import datetime

from orchestrator.accounts.account import Account
from orchestrator.errors import NotFoundError
from orchestrator.generation.events import Artifact, Event, Queued
from orchestrator.generation.job import JobState
from orchestrator.generation.runner import Runner
from orchestrator.jobs.records import JobRecord, Submission
from orchestrator.jobs.store import JobStore
from orchestrator.jobs.watchers import JobWatchers
from orchestrator.params import JobOptions, RequestParams
from orchestrator.results.store import ResultStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A durable job that is asked for.

    Attributes:
        params, options: what to do, and how.
        serialize: the request as bytes for the worker, with the seed that is given to it.
        idempotency_key: the request_id that the client itself chose; None if it chose none.
        digest: SHA-256 of what is asked for, without its name.
        webhook_url: where to tell of its end; None for nowhere.
        webhook_data: JSON text to be told with it.
    """

    params: RequestParams
    options: JobOptions
    serialize: Callable[[int], bytes]
    idempotency_key: str | None
    digest: bytes
    webhook_url: str | None = None
    webhook_data: str | None = None


class DurableJobs:
    """Durable jobs. Every method raises DatabaseUnavailableError while the database does not answer."""

    def __init__(self, store: JobStore, board: JobWatchers, runner: Runner, results: ResultStore) -> None:
        self._store, self._board, self._runner, self._results = store, board, runner, results

    async def submit(self, account: Account, order: Order) -> JobRecord:
        """Take a job, or answer the one that the key names. Networks that are not ready are no reason to refuse it.

        Raises:
            InvalidRequestError: the family is unknown, or cannot do what is asked; the key names another request.
            UnsupportedTaskError: the family lacks a network for the task.
            QueueFullError, TooManyJobsError, RateLimitedError, NotEnoughCreditsError: a limit forbids it.
        """
        plan = await self._runner.plan(account, order.params)
        submission = Submission(
            account_id=account.id,
            request_id=order.options.request_id,
            idempotency_key=order.idempotency_key,
            digest=order.digest,
            request=order.serialize(plan.seed),
            task=plan.task.name.value,
            family=plan.family,
            seed=plan.seed,
            priority=order.options.priority,
            cost=plan.cost,
            webhook_url=order.webhook_url,
            webhook_data=order.webhook_data,
        )
        return self._shown(await self._store.submit(submission))

    async def get(self, account: Account, job_id: str) -> JobRecord:
        """A job of the account; its artifact has a fresh URI. NotFoundError if there is none."""
        return self._shown(await self._store.get(job_id, account.id))

    async def list_jobs(
        self, account: Account, page_size: int, after: tuple[datetime, str] | None, state: JobState | None
    ) -> list[JobRecord]:
        """As JobStore.list_jobs."""
        return [self._shown(each) for each in await self._store.list_jobs(account.id, page_size, after, state)]

    async def cancel(self, account: Account, job_id: str) -> JobRecord:
        """Stop a job, or NotFoundError. One that has ended stays as it is."""
        return self._shown(await self._store.cancel(job_id, account.id))

    async def delete(self, account: Account, job_id: str) -> JobRecord:
        """Stop a job, remove its picture, mark it as deleted; or NotFoundError."""
        record = await self._store.delete(job_id, account.id)
        if record.picture is not None:
            await self._results.delete(record.picture)
        return record

    async def watch(self, job_id: str, after: int) -> AsyncGenerator[tuple[int, Event], None]:
        """As JobWatchers.watch. That the job is the caller's is the caller's to know."""
        async with aclosing(self._board.watch(job_id, after)) as events:
            async for item in events:
                yield item

    async def follow(self, record: JobRecord) -> AsyncGenerator[tuple[int, Event], None]:
        """All events of a job that was just submitted. The first is its place, whatever has become of it since."""
        place, number = record.queued or Queued(0, 0.0), 1
        yield number, place
        async with aclosing(self._board.watch(record.id, number, place)) as events:
            async for item in events:
                yield item

    async def load(self, account: Account, job_id: str) -> bytes:
        """The picture's file.

        Raises:
            NotFoundError: there is none, or none any more.
            ResultStoreUnavailableError: the result store does not answer.
        """
        record = await self._store.get(job_id, account.id)
        if record.picture is None:
            raise NotFoundError("no such picture")
        stored = await self._results.open(record.picture)
        return b"".join([chunk async for chunk in stored.chunks])

    def _shown(self, record: JobRecord) -> JobRecord:
        return replace(record, artifact=show(self._results, record))


def show(results: ResultStore, record: JobRecord) -> Artifact | None:
    """The artifact of a job, with a URI that is good from now on; None if it has no picture."""
    if record.artifact is None or record.picture is None or record.expires is None:
        return record.artifact
    return replace(record.artifact, uri=results.link(record.picture, record.expires))


def link(results: ResultStore, record: JobRecord) -> str | None:
    """Where a job's picture can be fetched from now on; None if it has none."""
    artifact = show(results, record)
    return None if artifact is None else artifact.uri
