"""Jobs end without a picture: failed, cancelled, deleted. What was taken for them is given back."""

from orchestrator.accounts import limits
from orchestrator.database.pool import Database
from orchestrator.errors import ImagegenError
from orchestrator.generation.job import JobState
from orchestrator.jobs.records import END_NUMBER, EVENTS_PER_FENCE, JobRecord
from orchestrator.jobs.rows import COLUMNS, DELIVER, DELIVERY, to_record
from orchestrator.jobs.serialization import dump_error

OF_ATTEMPT = "id = %(job_id)s AND fence = %(fence)s AND state = 'running'"
OF_ACCOUNT = "id = %(job_id)s AND account_id = %(account_id)s AND state IN ('queued', 'running')"
OF_POISON = "id = %(job_id)s AND attempts >= %(max_attempts)s AND state IN ('queued', 'running')"

# The row is locked, and its guard looked at again, before it changes: of all that would end a job one does.
END = f"""
WITH old AS (
    SELECT id, webhook_data FROM imagegen.jobs WHERE {{guard}} FOR UPDATE
), ended AS (
    UPDATE imagegen.jobs AS new
    SET state = %(state)s, error = %(error)s::jsonb, artifact = %(artifact)s::jsonb, picture = %(picture)s,
        expires_at = (SELECT expires_at FROM imagegen.results WHERE name = %(picture)s),
        sequence = fence * {EVENTS_PER_FENCE} + {END_NUMBER}, ended_at = clock_timestamp(),
        request = NULL, webhook_data = NULL
    FROM old WHERE new.id = old.id
    RETURNING new.*, old.webhook_data AS data
), delivered AS ({DELIVER})
"""  # noqa: S608 - of constants
"""Ends the job that {guard} lets through, and notes its webhook."""

_FAIL = f"{END} SELECT {COLUMNS}, j.price, pg_notify('imagegen_events', j.id) FROM ended j {DELIVERY}"  # noqa: S608 - of constants


async def end_without_picture(
    database: Database, guard: str, keys: dict[str, object], state: JobState, error: ImagegenError
) -> JobRecord | None:
    """End the job that `guard`, one of this module, lets through, and refund it; None if there is none.

    Raises:
        DatabaseUnavailableError: the database does not answer.
    """
    values = {"state": state.value, "error": dump_error(error), "artifact": None, "picture": None}
    async with database.transaction() as connection:
        rows = await (await connection.execute(_FAIL.format(guard=guard), keys | values)).fetchall()
        for row in rows:
            await limits.refund(connection, row["account_id"], row["price"])
    return to_record(rows[0]) if rows else None
