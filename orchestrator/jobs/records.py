"""Durable jobs as values: requests, jobs, attempts, and what watchers see."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from common import tracing
from orchestrator.errors import ImagegenError
from orchestrator.generation.events import Artifact, Event, Queued
from orchestrator.generation.job import JobState
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
