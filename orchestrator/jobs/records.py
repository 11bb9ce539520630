"""Durable jobs as values: requests, rows of imagegen.jobs, attempts, and what watchers see."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from common import tracing
from orchestrator.database.pool import Row
from orchestrator.errors import ImagegenError
from orchestrator.generation.events import Artifact, Event, Queued
from orchestrator.generation.job import JobState
from orchestrator.jobs.serialization import dump_event, load_artifact, load_error
from orchestrator.params import JobOptions, Priority, RequestParams


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRequest:
    """A durable job that is asked for.

    Attributes:
        params, options: what to do, and how.
        serialize: the request as bytes for the worker, with the seed that is given to it.
        idempotency_key: the request_id that the client itself chose; None if it chose none.
        digest: SHA-256 of what is asked for, without its request_id.
        manifest: what is asked for, serialized, without pictures; None where it is too long to keep.
        webhook_url: where its end is reported to; None for the account's own webhook, if it has one.
        webhook_data: JSON text that is sent with the report.
        webhook_events: which ends are reported there: complete, failed.
        client_notes: what is kept with it for the client of a gateway, serialized; None for nothing.
    """

    params: RequestParams
    options: JobOptions
    serialize: Callable[[int], bytes]
    idempotency_key: str | None
    digest: bytes
    manifest: bytes | None = None
    webhook_url: str | None = None
    webhook_data: str | None = None
    webhook_events: tuple[str, ...] = ("complete",)
    client_notes: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """A job that is to be stored.

    Attributes:
        id: 22 characters, of no other job.
        account_id: whose it is.
        request: what was asked for.
        number: of this job among those of the request, from 0.
        stored: the serialized request, or the name in the result store under which it is.
        task, family, seed, cost, held_bytes: what its plan says (tasks/plan.py).
        work_seconds: that it is expected to need an engine for (generation/forecast.py).
    """

    id: str
    account_id: int
    request: JobRequest
    stored: bytes | str
    task: str
    family: str
    seed: int
    cost: float
    work_seconds: float
    held_bytes: int = 0
    number: int = 0

    @property
    def idempotency_key(self) -> str | None:
        """Its own: the first job of a request has the client's, and "#" is in no key of a client."""
        key = self.request.idempotency_key
        return key if key is None or self.number == 0 else f"{key}#{self.number + 1}"

    def columns(self) -> dict[str, object]:
        """Its columns, but those that depend on the queue and the account."""
        request = self.request
        return {
            "id": self.id,
            "account_id": self.account_id,
            "request_id": request.options.request_id,
            "idempotency_key": self.idempotency_key,
            "digest": request.digest,
            "manifest": request.manifest,
            "request": self.stored if isinstance(self.stored, bytes) else None,
            "request_object": self.stored if isinstance(self.stored, str) else None,
            "held_bytes": self.held_bytes,
            "task": self.task,
            "family": self.family,
            "seed": self.seed,
            "cost": self.cost,
            "work_seconds": self.work_seconds,
            "priority": request.options.priority.value,
            "webhook_url": request.webhook_url,
            "webhook_data": request.webhook_data,
            "webhook_events": list(request.webhook_events),
            "client_notes": request.client_notes,
            "trace": tracing.text(),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEstimate:
    """What a request would cost: see JobEstimate in the schema."""

    credits: Decimal
    wait_seconds: float
    run_seconds: float
    task: str
    family: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookState:
    """What became of a job's webhook: see WebhookDelivery in the schema."""

    state: str = "pending"
    attempts: int = 0
    last_status: int | None = None
    last_error: str | None = None
    next_at: datetime | None = None
    delivered_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRecord:
    """A job as the database has it.

    Attributes:
        id: 22 characters, unguessable.
        account_id, request_id, task, family, seed, priority: as submitted.
        state: where it is.
        created, started, ended: by the database's clock; started is of the last attempt.
        attempts: that were started, without those that were given back because of an outage or a drain.
        fence: rises with every attempt and every return to the queue.
        sequence: number of its end; 0 before.
        artifact: the picture, without bytes; its URI only where it went to an account's storage. None unless succeeded.
        picture: its name in the result store. Kept after the picture has gone.
        expires: when the picture goes.
        error: why it ended without a picture.
        queued: its place in the queue, while it waits.
        webhook: what became of it; None if there is none.
        manifest, client_notes: as of JobRequest.
    """

    id: str
    account_id: int
    request_id: str
    state: JobState
    task: str
    family: str
    seed: int
    priority: Priority
    created: datetime
    started: datetime | None
    ended: datetime | None
    attempts: int
    fence: int
    sequence: int
    artifact: Artifact | None
    picture: str | None
    expires: datetime | None
    error: ImagegenError | None
    queued: Queued | None = None
    webhook: WebhookState | None = None
    manifest: bytes | None = None
    client_notes: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """A job that runs; the process that holds this owns it until the database says otherwise.

    Attributes:
        job_id, account_id, account, request_id, task, family, seed, priority, work_seconds, tag: of the job; account is
            a name.
        request: serialized; None where it is in the result store, under the name request_object.
        fence: what this attempt writes counts only while the job's fence is this.
        number: 1 for the first.
        first_event: its events have numbers above this.
        quarantined: it must run alone in its process.
        overruns: earlier attempts that were stopped because they ran too long.
        trace: of the call that asked for the job, as tracing.parse reads it; None if it is not recorded.
        age: seconds from the job's creation to the beginning of this attempt, by the database's clock.
    """

    job_id: str
    account_id: int
    account: str
    request_id: str
    request: bytes | None
    request_object: str | None
    task: str
    family: str
    seed: int
    priority: Priority
    work_seconds: float
    tag: float
    fence: int
    number: int
    first_event: int
    quarantined: bool
    overruns: int
    age: float
    trace: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EventBatch:
    """What a watcher does not know yet.

    Attributes:
        state: where the job is.
        first_event: events of its present time in the queue, or of its attempt, have numbers above this.
        events: their numbers and they, in order: started, progress, preview. The end is not among them.
        end: the job, once it has ended; end.sequence is the number of that.
    """

    state: JobState
    first_event: int
    events: tuple[tuple[int, Event], ...]
    end: JobRecord | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepResult:
    """What a sweep has done: jobs whose picture's time was over, jobs forgotten, events dropped."""

    expired: int
    forgotten: int
    events: int


# Ends of jobs that were stored before there were events are reported as pictures alone.
_IS_REPORTED = """
    CASE WHEN {job}.state = 'succeeded' THEN 'complete' ELSE 'failed' END
    = ANY(coalesce({job}.webhook_events, ARRAY['complete']))
"""
_HAS_WEBHOOK = f"""
    (j.webhook_url IS NOT NULL
     AND (j.state IN ('queued', 'running') OR d.id IS NOT NULL OR {_IS_REPORTED.format(job="j")}))
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

DELIVER = f"""
    INSERT INTO imagegen.deliveries (id, job_id, account_id, url, data)
    SELECT 'msg_' || id, id, account_id, webhook_url, data FROM ended
    WHERE webhook_url IS NOT NULL AND {_IS_REPORTED.format(job="ended")}
    RETURNING pg_notify('imagegen_deliveries', '')
"""  # noqa: S608 - of constants
"""Notes the webhook of the job that the common table expression `ended` has ended."""

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
