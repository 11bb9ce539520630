"""Durable jobs as values: what is asked for, what the database holds, what a worker works on, what watchers see."""

from dataclasses import dataclass
from datetime import datetime

from orchestrator.errors import ImagegenError
from orchestrator.generation.events import Artifact, Event, Queued
from orchestrator.generation.job import JobState
from orchestrator.params import Priority

EVENTS_PER_FENCE = 2**16
END_NUMBER = EVENTS_PER_FENCE - 1
"""Number of a job's last event, its end, within its last fence."""


def sequence(fence: int, number: int) -> int:
    """Number of an event within its job, from its number within the fence's time; beyond 65,534 it rises no further."""
    return fence * EVENTS_PER_FENCE + min(number, END_NUMBER - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """A job that is asked for.

    Attributes:
        account_id: whose it will be.
        request_id: its name in logs.
        idempotency_key: the request_id that the client itself chose; None if it chose none.
        digest: SHA-256 of what is asked for, without its name.
        request: the serialized request, its seed set.
        task, family, seed: what to do, in short.
        priority: its class.
        cost: work, in the unit of Plan.cost.
        webhook_url: where to tell of its end; None for nowhere.
        webhook_data: JSON text to be told with it.
    """

    account_id: int
    request_id: str
    idempotency_key: str | None
    digest: bytes
    request: bytes
    task: str
    family: str
    seed: int
    priority: Priority
    cost: float
    webhook_url: str | None = None
    webhook_data: str | None = None


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
        attempts: that count: outages around it do not.
        fence: rises with every attempt and every return to the queue.
        sequence: number of its end; 0 before.
        artifact: the picture, without bytes; its URI only where it went to an account's storage. None unless succeeded.
        picture: its name in the result store. Kept after the picture has gone.
        expires: when the picture goes.
        error: why it ended without a picture.
        queued: its place in the queue, while it waits.
        webhook: what became of it; None if there is none.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """A job that has begun; whoever holds this works on it until the database says otherwise.

    Attributes:
        job_id, account_id, account, request_id, request, task, family, seed, priority: of the job; account is a name.
        fence: what this attempt writes counts only while the job's fence is this.
        number: 1 for the first.
        waited: seconds from the job's creation to this beginning, by the database's clock.
    """

    job_id: str
    account_id: int
    account: str
    request_id: str
    request: bytes
    task: str
    family: str
    seed: int
    priority: Priority
    fence: int
    number: int
    waited: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EventBatch:
    """What a watcher has not seen yet.

    Attributes:
        state: where the job is.
        fence: of its present time in the queue or of its attempt.
        events: their numbers and they, in order: started, progress, preview. The end is not among them.
        end: the job, once it has ended; end.sequence is the number of that.
    """

    state: JobState
    fence: int
    events: tuple[tuple[int, Event], ...]
    end: JobRecord | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepResult:
    """What a sweep has done: jobs whose picture's time was over, jobs forgotten, events dropped."""

    expired: int
    forgotten: int
    events: int
