"""What a worker does to a job: begins it, notes its events, ends it, gives it back. All by the attempt's fence."""

from collections.abc import Iterable

from orchestrator.database.pool import Database
from orchestrator.errors import CancelledByClientError, ImagegenError, PoisonJobError
from orchestrator.generation.events import Artifact, Event
from orchestrator.generation.job import JobState
from orchestrator.jobs.ending import END, OF_ATTEMPT, OF_POISON, end_without_picture
from orchestrator.jobs.records import Attempt
from orchestrator.jobs.rows import SAVE, save_parameters, to_attempt
from orchestrator.jobs.serialization import dump_artifact

# A job that runs already has lost its worker, or is taken from one that was thought dead: the fence tells them apart.
_START = """
UPDATE imagegen.jobs
SET state = 'running', started_at = clock_timestamp(), attempts = attempts + 1, fence = fence + 1
WHERE id = %(job_id)s AND state IN ('queued', 'running') AND attempts < %(max_attempts)s
RETURNING id, account_id, request_id, request, task, family, seed, priority, fence, attempts,
          (SELECT name FROM imagegen.accounts WHERE id = account_id) AS account,
          extract(epoch FROM started_at - created_at)::float8 AS waited
"""

_FINISH = f"""
{END}, live AS (SELECT id FROM ended), saved AS ({SAVE}), used AS (
    INSERT INTO imagegen.usage (job_id, account_id, task, family, price)
    SELECT id, account_id, task, family, price FROM ended ON CONFLICT (job_id) DO NOTHING
)
SELECT pg_notify('imagegen_events', id) FROM ended
""".format(guard=OF_ATTEMPT)  # noqa: S608 - of constants

_IS_FINISHED = """
SELECT id FROM imagegen.jobs
WHERE id = %(job_id)s AND fence = %(fence)s AND state = 'succeeded' AND picture IS NOT DISTINCT FROM %(picture)s
"""

_GIVE_BACK = f"""
UPDATE imagegen.jobs
SET state = 'queued', attempts = attempts - 1, fence = fence + 1
WHERE {OF_ATTEMPT} RETURNING pg_notify('imagegen_events', id)
"""  # noqa: S608 - of constants

# A crash of the database may lose steps, so nothing waits for the disk.
_SAVE_EVENTS = f"""
WITH live AS (SELECT id FROM imagegen.jobs WHERE {OF_ATTEMPT}), saved AS ({SAVE})
SELECT set_config('synchronous_commit', 'off', true), pg_notify('imagegen_events', id) FROM live
"""  # noqa: S608 - of constants


_IS_CURRENT = f"SELECT id FROM imagegen.jobs WHERE {OF_ATTEMPT}"  # noqa: S608 - of constants


class Attempts:
    """Attempts at jobs. All methods raise DatabaseUnavailableError while the database does not answer."""

    def __init__(self, database: Database, max_attempts: int) -> None:
        self._database, self._max_attempts = database, max_attempts

    async def start(self, job_id: str) -> Attempt | None:
        """Begin a job that the queue has handed out.

        None if nothing is to be done: it has ended, or its workers died under it too often and it has failed now.
        """
        keys = {"job_id": job_id, "max_attempts": self._max_attempts}
        rows = await self._database.run(_START, keys)
        if rows:
            return to_attempt(rows[0])
        poison = PoisonJobError(f"its workers died under it {self._max_attempts} times")
        await end_without_picture(self._database, OF_POISON, dict(keys), JobState.FAILED, poison)
        return None

    async def finish(
        self, attempt: Attempt, artifact: Artifact, picture: str | None, events: Iterable[tuple[int, Event]] = ()
    ) -> bool:
        """End an attempt with a picture: state, usage, webhook and last events in one statement.

        May be repeated after DatabaseUnavailableError, which leaves open whether it was committed.

        Args:
            attempt: it.
            artifact: the picture's description.
            picture: its name in the result store; None if it went to a storage of the account.
            events: that are not saved yet, as (number within the attempt, event), in order.

        Returns:
            False if the job is not this attempt's any more: nothing was written, and nobody refers to the picture.
        """
        values = {"state": "succeeded", "error": None, "artifact": dump_artifact(artifact), "picture": picture}
        keys = {"job_id": attempt.job_id, "fence": attempt.fence}
        if await self._database.run(_FINISH, keys | values | save_parameters(attempt, events)):
            return True
        # Perhaps this very attempt ended it, and the answer was lost. That is asked by a statement of its own:
        # the one above may have waited for that transaction, and still see what was before it.
        return bool(await self._database.run(_IS_FINISHED, keys | {"picture": picture}))

    async def fail(self, attempt: Attempt, error: ImagegenError) -> bool:
        """End an attempt with an error, and refund the job. False if the job is not this attempt's any more."""
        state = JobState.CANCELLED if isinstance(error, CancelledByClientError) else JobState.FAILED
        keys: dict[str, object] = {"job_id": attempt.job_id, "fence": attempt.fence}
        return await end_without_picture(self._database, OF_ATTEMPT, keys, state, error) is not None

    async def give_back(self, attempt: Attempt) -> bool:
        """Put the job back into the queue; the attempt does not count. False if the job is not its any more."""
        return bool(await self._database.run(_GIVE_BACK, {"job_id": attempt.job_id, "fence": attempt.fence}))

    async def is_current(self, attempt: Attempt) -> bool:
        """Whether the job is still this attempt's: not cancelled, and no other worker's."""
        return bool(await self._database.run(_IS_CURRENT, {"job_id": attempt.job_id, "fence": attempt.fence}))

    async def save_events(self, attempt: Attempt, events: Iterable[tuple[int, Event]]) -> bool:
        """Show events, (number within the attempt, event) in order, to watchers.

        Returns:
            False if the job is not this attempt's any more: whoever works on it may stop.
        """
        keys = {"job_id": attempt.job_id, "fence": attempt.fence}
        return bool(await self._database.run(_SAVE_EVENTS, keys | save_parameters(attempt, events)))
