"""How jobs end: with a picture or without one, once, with their webhook and their price."""

from collections.abc import Mapping

from orchestrator.accounts import limits
from orchestrator.database.pool import Database
from orchestrator.errors import ImagegenError, ended_by_client
from orchestrator.generation.job import JobState
from orchestrator.jobs.records import JobRecord
from orchestrator.jobs.rows import COLUMNS, DELIVERY, IS_REPORTED, NEXT_EVENT, SAVE, to_record
from orchestrator.jobs.serialization import dump_error

OF_ATTEMPT = "id = %(job_id)s AND fence = %(fence)s AND state = 'running'"
OF_ACCOUNT = "id = %(job_id)s AND account_id = %(account_id)s AND state IN ('queued', 'running')"
OF_POISON = "id = %(job_id)s AND crashes >= %(max_crashes)s AND state = 'queued'"

# The newest event of each kind is kept; that of progress is of the denoising, or of what comes after.
_CHARGE_SHOWN = """
INSERT INTO imagegen.usage (job_id, account_id, task, family, price)
SELECT id, account_id, task, family, price FROM imagegen.jobs
WHERE id = %(job_id)s AND EXISTS (
    SELECT FROM imagegen.events preview JOIN imagegen.events progress USING (job_id)
    WHERE job_id = id AND preview.kind = 'preview' AND progress.kind = 'progress'
      AND 2 * (preview.payload ->> 'step')::integer >= (progress.payload ->> 'total')::integer
) ON CONFLICT (job_id) DO NOTHING
"""

_DELIVER = f"""
    INSERT INTO imagegen.deliveries (id, job_id, account_id, url, data)
    SELECT 'msg_' || id, id, account_id, webhook_url, data FROM ended
    WHERE webhook_url IS NOT NULL AND {IS_REPORTED.format(job="ended")}
    RETURNING pg_notify('imagegen_deliveries', '')
"""  # noqa: S608 - of constants
"""Notes the webhook of the job that the common table expression `ended` has ended."""

# The row is locked, and its guard checked again, before it changes: of all that would end a job one does.
_END = f"""
WITH old AS (
    SELECT id, webhook_data FROM imagegen.jobs WHERE {{guard}} FOR UPDATE
), ended AS (
    UPDATE imagegen.jobs
    SET state = %(state)s, error = %(error)s::jsonb, artifact = %(artifact)s::jsonb, picture = %(picture)s,
        expires_at = (SELECT expires_at FROM imagegen.results WHERE name = %(picture)s),
        sequence = {NEXT_EVENT}, ended_at = clock_timestamp(), lease_until = NULL, held_bytes = 0,
        request = NULL, webhook_data = NULL
    FROM old WHERE jobs.id = old.id
    RETURNING jobs.*, old.webhook_data AS data
), released AS (
    UPDATE imagegen.results SET expires_at = now() FROM ended WHERE name = ended.request_object
), delivered AS ({_DELIVER})
"""  # noqa: S608 - of constants
# Ends the job that {guard} lets through, and notes its webhook.

_FAIL = f"{_END} SELECT {COLUMNS}, j.price, pg_notify('imagegen_events', j.id) FROM ended j {DELIVERY}"  # noqa: S608 - of constants

FINISH = f"""
{_END}, live AS (SELECT id FROM ended), saved AS ({SAVE}), used AS (
    INSERT INTO imagegen.usage (job_id, account_id, task, family, price)
    SELECT id, account_id, task, family, price FROM ended ON CONFLICT (job_id) DO NOTHING
)
SELECT pg_notify('imagegen_events', id) FROM ended
""".format(guard=OF_ATTEMPT)  # noqa: S608 - of constants
"""Ends a job of an attempt with its picture."""

_CHARGE = """
INSERT INTO imagegen.usage (job_id, account_id, task, family, price)
SELECT id, account_id, task, family, price FROM imagegen.jobs WHERE id = %(job_id)s ON CONFLICT (job_id) DO NOTHING
"""


async def end_without_picture(
    database: Database,
    guard: str,
    keys: Mapping[str, object],
    state: JobState,
    error: ImagegenError,
    *,
    charged: bool = False,
) -> JobRecord | None:
    """End the job that `guard`, one of the above, lets through; None if there is none.

    It is refunded, unless its client ended it, or asked for what cannot be met, after a preview of the later half of
    its steps was shown: that picture was seen. `charged`: it is paid for whatever was shown.

    Raises:
        DatabaseUnavailableError: the database does not answer.
    """
    values = {"state": state.value, "error": dump_error(error), "artifact": None, "picture": None, "last_event": 0}
    async with database.transaction() as connection:
        rows = await (await connection.execute(_FAIL.format(guard=guard), {**keys, **values})).fetchall()
        for row in rows:
            if charged:
                await connection.execute(_CHARGE, {"job_id": row["id"]})
                continue
            shown = await connection.execute(_CHARGE_SHOWN, {"job_id": row["id"]}) if ended_by_client(error) else None
            if shown is None or not shown.rowcount:
                await limits.refund(connection, row["account_id"], row["price"])
    return to_record(rows[0]) if rows else None
