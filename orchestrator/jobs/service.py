"""Durable jobs, as the API offers them: over the store, the watchers and the results."""

import asyncio
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from dataclasses import replace
from datetime import datetime
from decimal import Decimal

from orchestrator.accounts.account import Account
from orchestrator.errors import (
    DatabaseUnavailableError,
    ImagegenError,
    NotFoundError,
    ResultsFullError,
    ResultStoreUnavailableError,
)
from orchestrator.generation.events import Artifact, Event, Queued
from orchestrator.generation.job import JobState, new_job_id
from orchestrator.generation.runner import Runner
from orchestrator.jobs.records import JobEstimate, JobRecord, JobRequest, NewJob
from orchestrator.jobs.store import JobStore
from orchestrator.jobs.watchers import JobWatchers
from orchestrator.params import RequestParams
from orchestrator.results.store import ResultStore

MAX_INLINE_REQUEST = 256 * 1024
"""Bytes of a serialized request that the database holds; a larger one, with pictures in it, is in the result store."""

SEEDS = 2**63
"""Seeds are below this: after the last comes 0."""


class DurableJobs:
    """Durable jobs. Every method raises DatabaseUnavailableError while the database does not answer."""

    def __init__(self, store: JobStore, watchers: JobWatchers, runner: Runner, results: ResultStore) -> None:
        self._store, self._watchers, self._runner, self._results = store, watchers, runner, results

    async def submit(self, account: Account, request: JobRequest) -> JobRecord:
        """As submit_all, of one job."""
        (record,) = await self.submit_all(account, request, 1)
        return record

    async def submit_all(self, account: Account, request: JobRequest, count: int) -> list[JobRecord]:
        """Take a request as `count` jobs, all or none, or answer those that the key names; in the order of their seeds.

        Networks that are not ready are not a reason to refuse it.

        Raises:
            InvalidRequestError: the family is unknown, or cannot do what is asked; the key names another request.
            UnsupportedTaskError: the family lacks a network for the task.
            QueueFullError, TooManyJobsError, RateLimitedError, NotEnoughCreditsError, ResultsFullError: a limit
                forbids it.
            ResultStoreUnavailableError: its pictures cannot be stored.
        """
        plan = await self._runner.plan(account, request.params)
        work = self._runner.work(plan)
        seeds = [(plan.seed + number) % SEEDS for number in range(count)]
        stored = await asyncio.to_thread(lambda: [request.serialize(seed) for seed in seeds])
        jobs = [
            NewJob(
                id=new_job_id(),
                account_id=account.id,
                request=request,
                stored=stored[number],
                task=plan.task.name.value,
                family=plan.family,
                seed=seed,
                cost=plan.cost,
                work_seconds=work.seconds,
                held_bytes=plan.held_bytes,
                number=number,
            )
            for number, seed in enumerate(seeds)
        ]
        try:
            await self._runner.check_quota(account)
        except (ResultsFullError, ResultStoreUnavailableError):
            known = await self._store.find_all(jobs)
            if known is None:
                raise
            return [self._with_artifact(record) for record in known]
        is_large = max(map(len, stored)) > MAX_INLINE_REQUEST
        records = await (self._submit_large(jobs, stored) if is_large else self._store.submit_all(jobs))
        return [self._with_artifact(record) for record in records]

    async def estimate(self, account: Account, params: RequestParams, count: int) -> JobEstimate:
        """What `count` jobs of a request would cost the account, and how long they would wait and run.

        Raises:
            InvalidRequestError, UnsupportedTaskError: as submit_all.
        """
        plan = await self._runner.plan(account, params)
        stats, price = await self._store.statistics()
        return JobEstimate(
            credits=price * count if account.credits_counted else Decimal(0),
            wait_seconds=stats.backlog,
            run_seconds=stats.forecast.run(self._runner.work(plan).seconds),
            task=plan.task.name.value,
            family=plan.family,
        )

    async def _submit_large(self, jobs: list[NewJob], stored: list[bytes]) -> list[JobRecord]:
        """Take jobs whose requests are written to the result store first; removed again if the jobs are not taken."""
        known = await self._store.find_all(jobs)
        if known is not None:
            return known
        await self._store.check_bytes(jobs[0])
        written: dict[str, str] = {}
        try:
            for job, request in zip(jobs, stored, strict=True):
                written[job.id] = await self._results.write_request(job.account_id, job.id, request)
            records = await self._store.submit_all([replace(job, stored=written[job.id]) for job in jobs])
        except ImagegenError as error:
            if not isinstance(error, DatabaseUnavailableError):  # which leaves open whether they were taken
                await self._delete(written.values())
            raise
        taken = {record.id for record in records}  # others, if the same request came at the same time
        await self._delete(name for job_id, name in written.items() if job_id not in taken)
        return records

    async def _delete(self, names: Iterable[str]) -> None:
        for name in names:
            await self._results.delete(name)

    async def get(self, account: Account, job_id: str) -> JobRecord:
        """A job of the account; its artifact has a fresh URI. NotFoundError if there is none."""
        return self._with_artifact(await self._store.get(job_id, account.id))

    async def list_jobs(
        self, account: Account, page_size: int, after: tuple[datetime, str] | None, state: JobState | None
    ) -> list[JobRecord]:
        """As JobStore.list_jobs."""
        return [self._with_artifact(each) for each in await self._store.list_jobs(account.id, page_size, after, state)]

    async def cancel(self, account: Account, job_id: str) -> JobRecord:
        """Stop a job, or NotFoundError. One that has ended stays as it is."""
        return self._with_artifact(await self._store.cancel(job_id, account.id))

    async def delete(self, account: Account, job_id: str) -> JobRecord:
        """Stop a job, remove its picture, mark it as deleted; or NotFoundError."""
        record = await self._store.delete(job_id, account.id)
        if record.picture is not None:
            await self._results.delete(record.picture)
        return record

    async def watch(self, job_id: str, after: int) -> AsyncGenerator[tuple[int, Event], None]:
        """As JobWatchers.watch. That the job is the caller's is the caller's to know."""
        async with aclosing(self._watchers.watch(job_id, after)) as events:
            async for item in events:
                yield item

    async def follow(self, record: JobRecord) -> AsyncGenerator[tuple[int, Event], None]:
        """All events of a job that was just submitted. The first is its place, whatever has become of it since."""
        place, number = record.queued or Queued(0, 0.0), 1
        yield number, place
        async with aclosing(self._watchers.watch(record.id, number, place)) as events:
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

    def _with_artifact(self, record: JobRecord) -> JobRecord:
        return replace(record, artifact=artifact_of(self._results, record))


def artifact_of(results: ResultStore, record: JobRecord) -> Artifact | None:
    """The artifact of a job, with a URI that is good from now on; None if it has no picture."""
    if record.artifact is None or record.picture is None or record.expires is None:
        return record.artifact
    return replace(record.artifact, uri=results.link(record.picture, record.expires))


def link(results: ResultStore, record: JobRecord) -> str | None:
    """Where a job's picture can be fetched from now on; None if it has none."""
    artifact = artifact_of(results, record)
    return None if artifact is None else artifact.uri
