"""Rows of imagegen.jobs: the SQL that reads them, what statements share, and what they become."""

from collections.abc import Iterable

from orchestrator.database.pool import Row
from orchestrator.generation.events import Event
from orchestrator.generation.job import JobState
from orchestrator.jobs.records import Attempt, JobRecord, WebhookState
from orchestrator.jobs.serialization import dump_event, load_artifact, load_error
from orchestrator.params import Priority

WORK_SECONDS = "coalesce(work_seconds, 1.0)"
"""Seconds of an engine that a job is expected to need; of one of the version before, which stored none, one second."""

# Ends of jobs that were stored before there were events are reported as pictures alone.
IS_REPORTED = """
    CASE WHEN {job}.state = 'succeeded' THEN 'complete' ELSE 'failed' END
    = ANY(coalesce({job}.webhook_events, ARRAY['complete']))
"""
_HAS_WEBHOOK = f"""
    (j.webhook_url IS NOT NULL
     AND (j.state IN ('queued', 'running') OR d.id IS NOT NULL OR {IS_REPORTED.format(job="j")}))
"""

COLUMNS = f"""
    j.id, j.account_id, j.request_id, j.state, j.task, j.family, j.seed, j.priority, j.created_at, j.started_at,
    j.ended_at, j.attempts, j.fence, j.sequence, j.first_event, j.artifact::text AS artifact, j.picture, j.expires_at,
    j.manifest, j.client_notes,
    j.error::text AS error, {_HAS_WEBHOOK} AS has_webhook, d.state AS delivery, d.attempts AS tries,
    d.last_status, d.last_error, d.next_at, d.delivered_at
"""
"""What to_record reads, of jobs j and deliveries d."""

DELIVERY = "LEFT JOIN imagegen.deliveries d ON d.job_id = j.id"

NEXT_EVENT = """
    least(2147000000, greatest(
        first_event + %(last_event)s::integer,
        coalesce((SELECT max(e.sequence) FROM imagegen.events e WHERE e.job_id = jobs.id), 0)
    ) + 1000 + extract(epoch FROM now() - coalesce(started_at, created_at))::integer)
"""
"""A number above those of all events that watchers of the row `jobs` have received until now.

Events are saved within a second, and places in the queue are reported every two seconds at most: both fit into the gap.
A job would have to return to the queue a million times before the numbers, which are 32 bits wide in the schema, run
out.
"""

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
        "sequences": [attempt.first_event + number for number, _ in rows.values()],
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
        manifest=row["manifest"],
        client_notes=row["client_notes"],
    )


def to_attempt(row: Row) -> Attempt:
    """The attempt of a row that was claimed."""
    return Attempt(
        job_id=row["id"],
        account_id=row["account_id"],
        account=row["account"],
        request_id=row["request_id"],
        request=row["request"],
        request_object=row["request_object"],
        task=row["task"],
        family=row["family"],
        seed=row["seed"],
        priority=Priority(row["priority"]),
        work_seconds=row["work_seconds"],
        tag=row["tag"],
        fence=row["fence"],
        number=row["attempts"],
        first_event=row["first_event"],
        quarantined=row["quarantined"],
        overruns=row["overruns"],
        age=row["age"],
        trace=row["trace"],
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
