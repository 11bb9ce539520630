"""What an account does to its jobs: cancels them, deletes them."""

from orchestrator.database.pool import Database
from orchestrator.errors import CancelledByClientError
from orchestrator.generation.job import JobState
from orchestrator.jobs.ending import OF_ACCOUNT, end_without_picture
from orchestrator.jobs.reading import Reading
from orchestrator.jobs.records import JobRecord
from orchestrator.jobs.rows import COLUMNS, DELIVERY, to_record

# The picture's time is over at once: whoever sweeps the results finishes what a crash leaves.
_DELETE = f"""
WITH j AS (
    UPDATE imagegen.jobs SET state = 'deleted', artifact = NULL
    WHERE id = %(job_id)s AND account_id = %(account_id)s AND state IN ('succeeded', 'failed', 'cancelled')
    RETURNING *
), expired AS (
    UPDATE imagegen.results SET expires_at = now() FROM j WHERE name = j.picture
)
SELECT {COLUMNS} FROM j {DELIVERY}
"""  # noqa: S608 - of constants


class Stopping:
    """Stops and removes jobs. All methods raise DatabaseUnavailableError while the database does not answer."""

    def __init__(self, database: Database, reading: Reading) -> None:
        self._database, self._reading = database, reading

    async def cancel(self, job_id: str, account_id: int) -> JobRecord:
        """Stop a job that waits or runs; one that has ended stays as it is. Answers it as it is then.

        Raises:
            NotFoundError: there is no such job.
        """
        error = CancelledByClientError("the job was cancelled")
        return await self._stop(job_id, account_id, JobState.CANCELLED, error) or await self._reading.get(
            job_id, account_id
        )

    async def delete(self, job_id: str, account_id: int) -> JobRecord:
        """Stop a job if it waits or runs, and mark it as deleted. `picture` of the answer is to be removed, if set.

        Raises:
            NotFoundError: there is no such job.
        """
        error = CancelledByClientError("the job was deleted")
        stopped = await self._stop(job_id, account_id, JobState.DELETED, error)
        if stopped is not None:
            return stopped
        rows = await self._database.run(_DELETE, {"job_id": job_id, "account_id": account_id})
        return to_record(rows[0]) if rows else await self._reading.get(job_id, account_id)

    async def _stop(
        self, job_id: str, account_id: int, state: JobState, error: CancelledByClientError
    ) -> JobRecord | None:
        keys: dict[str, object] = {"job_id": job_id, "account_id": account_id}
        return await end_without_picture(self._database, OF_ACCOUNT, keys, state, error)
