"""Rows of imagegen.jobs as records, and what several statements have in common."""

from collections.abc import Iterable

from orchestrator.database.pool import Row
from orchestrator.generation.events import Event
from orchestrator.generation.job import JobState
from orchestrator.jobs.records import Attempt, JobRecord, WebhookState, sequence
from orchestrator.jobs.serialization import dump_event, load_artifact, load_error
from orchestrator.params import Priority

COLUMNS = """
    j.id, j.account_id, j.request_id, j.state, j.task, j.family, j.seed, j.priority, j.created_at, j.started_at,
    j.ended_at, j.attempts, j.fence, j.sequence, j.artifact::text AS artifact, j.picture, j.expires_at,
    j.error::text AS error, j.webhook_url IS NOT NULL AS has_webhook, d.state AS delivery, d.attempts AS tries,
    d.last_status, d.last_error, d.next_at, d.delivered_at
"""
"""What to_record reads, of jobs j and deliveries d."""

DELIVERY = "LEFT JOIN imagegen.deliveries d ON d.job_id = j.id"

DELIVER = """
    INSERT INTO imagegen.deliveries (id, job_id, account_id, url, data)
    SELECT 'msg_' || id, id, account_id, webhook_url, data FROM ended WHERE webhook_url IS NOT NULL
    RETURNING pg_notify('imagegen_deliveries', '')
"""
"""Notes the webhook of the job that the common table expression `ended` has ended."""

SAVE = """
    INSERT INTO imagegen.events (job_id, kind, sequence, payload, data)
    SELECT live.id, new.* FROM live, unnest(
        %(kinds)s::text[], %(sequences)s::integer[], %(payloads)s::jsonb[], %(data)s::bytea[]
    ) AS new
    ON CONFLICT (job_id, kind) DO UPDATE
    SET sequence = excluded.sequence, payload = excluded.payload, data = excluded.data
"""
"""Writes the events of save_parameters for the job that the common table expression `live` names."""


def save_parameters(attempt: Attempt, events: Iterable[tuple[int, Event]]) -> dict[str, object]:
    """Parameters of SAVE: of each kind the newest of the attempt's events, which come as (number, event), in order."""
    rows = {row.kind: (number, row) for number, event in events if (row := dump_event(event)) is not None}
    return {
        "kinds": list(rows),
        "sequences": [sequence(attempt.fence, number) for number, _ in rows.values()],
        "payloads": [row.payload for _, row in rows.values()],
        "data": [row.data for _, row in rows.values()],
    }


def to_record(row: Row) -> JobRecord:
    """The record of a row of COLUMNS."""
    return JobRecord(
        id=row["id"],
        account_id=row["account_id"],
        request_id=row["request_id"],
        state=JobState(row["state"]),
        task=row["task"],
        family=row["family"],
        seed=row["seed"],
        priority=Priority(row["priority"]),
        created=row["created_at"],
        started=row["started_at"],
        ended=row["ended_at"],
        attempts=row["attempts"],
        fence=row["fence"],
        sequence=row["sequence"],
        artifact=load_artifact(row["artifact"]) if row["artifact"] else None,
        picture=row["picture"],
        expires=row["expires_at"],
        error=load_error(row["error"]) if row["error"] else None,
        webhook=_to_webhook(row) if row["has_webhook"] else None,
    )


def to_attempt(row: Row) -> Attempt:
    """The attempt of a row of jobs, with `waited` in seconds."""
    return Attempt(
        job_id=row["id"],
        account_id=row["account_id"],
        account=row["account"],
        request_id=row["request_id"],
        request=row["request"],
        task=row["task"],
        family=row["family"],
        seed=row["seed"],
        priority=Priority(row["priority"]),
        fence=row["fence"],
        number=row["attempts"],
        waited=row["waited"],
    )


def _to_webhook(row: Row) -> WebhookState:
    if row["delivery"] is None:  # the job has not ended, or has by this very statement
        return WebhookState()
    return WebhookState(
        state=row["delivery"],
        attempts=row["tries"],
        last_status=row["last_status"],
        last_error=row["last_error"],
        next_at=row["next_at"] if row["delivery"] == "pending" else None,
        delivered_at=row["delivered_at"],
    )
