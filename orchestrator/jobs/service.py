"""Durable jobs, as the API offers them: over the store, the watchers and the results."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from datetime import datetime

from orchestrator.accounts.account import Account
from orchestrator.errors import DatabaseUnavailableError, ImagegenError, NotFoundError
from orchestrator.generation.events import Artifact, Event, Queued
from orchestrator.generation.job import JobState, new_job_id
from orchestrator.generation.runner import Runner
from orchestrator.jobs.records import JobRecord, JobRequest, NewJob
from orchestrator.jobs.store import JobStore
from orchestrator.jobs.watchers import JobWatchers
from orchestrator.results.store import ResultStore

MAX_INLINE_REQUEST = 256 * 1024
"""Bytes of a serialized request that the database holds; a larger one, with pictures in it, is in the result store."""


class DurableJobs:
    """Durable jobs. Every method raises DatabaseUnavailableError while the database does not answer."""

    def __init__(self, store: JobStore, watchers: JobWatchers, runner: Runner, results: ResultStore) -> None:
        self._store, self._watchers, self._runner, self._results = store, watchers, runner, results

    async def submit(self, account: Account, request: JobRequest) -> JobRecord:
        """Take a job, or answer the one that the key names. Networks that are not ready are no reason to refuse it.

        Raises:
            InvalidRequestError: the family is unknown, or cannot do what is asked; the key names another request.
            UnsupportedTaskError: the family lacks a network for the task.
            QueueFullError, TooManyJobsError, RateLimitedError, NotEnoughCreditsError: a limit forbids it.
            ResultStoreUnavailableError: its pictures cannot be stored.
        """
        plan = await self._runner.plan(account, request.params)
        job_id, stored = new_job_id(), await asyncio.to_thread(request.serialize, plan.seed)
        job = NewJob(
            id=job_id,
            account_id=account.id,
            request=request,
            stored=stored,
            task=plan.task.name.value,
            family=plan.family,
            seed=plan.seed,
            cost=plan.cost,
            held_bytes=plan.held_bytes,
        )
        if len(stored) <= MAX_INLINE_REQUEST:
            return self._shown(await self._store.submit(job))
        return self._shown(await self._submit_large(job, stored))

    async def _submit_large(self, job: NewJob, stored: bytes) -> JobRecord:
        """Take a job whose request is written to the result store first; removed again if the job is not taken."""
        known = await self._store.find(job.account_id, job.request.idempotency_key, job.request.digest)
        if known is not None:
            return known
        await self._store.check_bytes(job)
        name = await self._results.write_request(job.account_id, job.id, stored)
        try:
            record = await self._store.submit(replace(job, stored=name))
        except ImagegenError as error:
            if not isinstance(error, DatabaseUnavailableError):  # which leaves open whether it was taken
                await self._results.delete(name)
            raise
        if record.id != job.id:  # the same request came at the same time
            await self._results.delete(name)
        return record

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
