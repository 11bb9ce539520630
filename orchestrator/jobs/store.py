"""The store of durable jobs: everything that happens to a row of imagegen.jobs, under one name."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal

from orchestrator.database.pool import Database
from orchestrator.errors import ImagegenError
from orchestrator.generation.events import Artifact, Event, Queued
from orchestrator.generation.job import JobState
from orchestrator.jobs.attempts import Attempts
from orchestrator.jobs.forgetting import LOST_SECONDS, Forgetting
from orchestrator.jobs.queue_stats import QueueStats, QueueStatsCache
from orchestrator.jobs.reading import Reading
from orchestrator.jobs.records import Attempt, EventBatch, JobRecord, Submission, SweepResult
from orchestrator.jobs.stopping import Stopping
from orchestrator.jobs.submitting import Defer, Submitting


class JobStore:
    """Durable jobs. Every method raises DatabaseUnavailableError while the database does not answer.

    The methods are those of the parts, which say more: Submitting, Reading, Stopping, Attempts, Forgetting.
    """

    def __init__(self, database: Database, defer: Defer, *, price: Decimal, max_queued: int, max_attempts: int) -> None:
        """Nothing is read yet.

        Args:
            database: where the jobs are.
            defer: puts a job into the queue.
            price: credits that a picture costs an account whose credits are counted.
            max_queued: jobs that may wait, in all.
            max_attempts: after so many deaths of workers under it a job fails.
        """
        self._load = QueueStatsCache(database, max_queued)
        self._submitting = Submitting(database, defer, self._load, price)
        self._reading = Reading(database, self._load)
        self._stopping = Stopping(database, self._reading)
        self._attempts = Attempts(database, max_attempts)
        self._forgetting = Forgetting(database, defer)

    async def submit(self, submission: Submission) -> JobRecord:
        """Take a job, or answer the one that the key names. See Submitting.submit for the refusals."""
        return await self._reading.place(await self._submitting.submit(submission))

    async def find(self, account_id: int, idempotency_key: str | None, digest: bytes) -> JobRecord | None:
        """The job that the key names; InvalidRequestError if it was asked for with another digest."""
        known = await self._submitting.find(account_id, idempotency_key, digest)
        return known and await self._reading.place(known)

    async def get(self, job_id: str, account_id: int) -> JobRecord:
        """A job of an account, or NotFoundError."""
        return await self._reading.get(job_id, account_id)

    async def list_jobs(
        self,
        account_id: int,
        page_size: int,
        after: tuple[datetime, str] | None = None,
        state: JobState | None = None,
    ) -> list[JobRecord]:
        """At most `page_size` jobs of an account, newest first, those made before `after`: a job's (created, id)."""
        return await self._reading.list_jobs(account_id, page_size, after, state)

    async def positions(self, job_ids: Iterable[str]) -> dict[str, Queued]:
        """Places of those jobs that wait."""
        return await self._reading.positions(job_ids)

    async def events(self, after: Mapping[str, int]) -> dict[str, EventBatch]:
        """What has happened to jobs after those numbers, by job id."""
        return await self._reading.events(after)

    async def look(self) -> QueueStats:
        """How busy the queue is, as seen within the last second."""
        return await self._load.look()

    async def cancel(self, job_id: str, account_id: int) -> JobRecord:
        """Stop a job, or NotFoundError. One that has ended stays as it is."""
        return await self._stopping.cancel(job_id, account_id)

    async def delete(self, job_id: str, account_id: int) -> JobRecord:
        """Stop a job and mark it as deleted, or NotFoundError. The caller removes the picture that the record names."""
        return await self._stopping.delete(job_id, account_id)

    async def start(self, job_id: str) -> Attempt | None:
        """Begin a job that the queue has handed out; None if nothing is to be done."""
        return await self._attempts.start(job_id)

    async def is_current(self, attempt: Attempt) -> bool:
        """Whether the job is still this attempt's."""
        return await self._attempts.is_current(attempt)

    async def save_events(self, attempt: Attempt, events: Iterable[tuple[int, Event]]) -> bool:
        """Show (number within the attempt, event) to watchers; False if the job is not this attempt's any more."""
        return await self._attempts.save_events(attempt, events)

    async def finish(
        self, attempt: Attempt, artifact: Artifact, picture: str | None, events: Iterable[tuple[int, Event]] = ()
    ) -> bool:
        """End an attempt with a picture; False if the job is not its any more. May be repeated."""
        return await self._attempts.finish(attempt, artifact, picture, events)

    async def fail(self, attempt: Attempt, error: ImagegenError) -> bool:
        """End an attempt with an error; False if the job is not its any more. May be repeated."""
        return await self._attempts.fail(attempt, error)

    async def give_back(self, attempt: Attempt) -> bool:
        """Put the job back into the queue, the attempt not counted; False if the job is not its any more."""
        return await self._attempts.give_back(attempt)

    async def sweep(self, job_seconds: float) -> SweepResult:
        """Do what time has brought: pictures expire, jobs that ended `job_seconds` ago are forgotten."""
        return await self._forgetting.sweep(job_seconds)

    async def requeue_lost(self, lost_seconds: float = LOST_SECONDS) -> list[str]:
        """Put back jobs that are not in the queue, though they have not ended; their ids."""
        return await self._forgetting.requeue_lost(lost_seconds)
