"""Durable jobs: messages to requests, records to messages, pages of a list."""

import base64
import hashlib
from dataclasses import replace
from datetime import UTC, datetime

from google.protobuf import timestamp_pb2

from imagegen.v1 import generation_pb2 as pb
from imagegen.v1 import jobs_pb2
from orchestrator.api import status
from orchestrator.api.converters.answers import to_artifact
from orchestrator.api.converters.manifest import to_manifest
from orchestrator.api.converters.requests import to_options, to_params
from orchestrator.api.converters.tables import EVENTS, PRIORITIES, STATES, choice
from orchestrator.config import WEB_PORTS, Ports
from orchestrator.errors import InvalidRequestError, Violation
from orchestrator.generation.job import JobState
from orchestrator.jobs.records import JobEstimate, JobRecord, JobRequest, WebhookState
from orchestrator.params import JobOptions, Limits, RequestParams
from orchestrator.webhooks.message import Event, check_webhook

DEFAULT_PAGE, MAX_PAGE = 20, 100
MAX_COUNT = 10
"""Jobs of one CreateJob."""
MAX_NOTES = 16 * 1024
"""Bytes of a job's ClientNotes, serialized."""

DELIVERY_STATES = {
    "pending": jobs_pb2.DELIVERY_STATE_PENDING,
    "delivered": jobs_pb2.DELIVERY_STATE_DELIVERED,
    "failed": jobs_pb2.DELIVERY_STATE_FAILED,
}


def to_job_request(asked: jobs_pb2.CreateJobRequest, limits: Limits, name: str) -> JobRequest:
    """What is asked for, as a job by that name in logs. Its message is not to be used by anybody else.

    Raises:
        UnsupportedTaskError, InvalidRequestError: as to_params.
    """
    request, notes = asked.request, asked.notes.SerializeToString(deterministic=True)
    asked.ClearField("notes")
    options, params = to_options(request, name), to_params(request, limits)
    key = request.request_id if request.HasField("request_id") else None
    request.ClearField("request_id")
    digest = hashlib.sha256(asked.SerializeToString(deterministic=True)).digest()

    def serialize(seed: int) -> bytes:
        request.seed = seed
        return request.SerializeToString()

    return JobRequest(
        params=params,
        options=replace(options, request_id=name),
        serialize=serialize,
        idempotency_key=key,
        digest=digest,
        manifest=to_manifest(request),
        webhook_url=asked.webhook.url if asked.webhook.HasField("url") else None,
        webhook_data=asked.webhook.data if asked.webhook.HasField("data") else None,
        webhook_events=_to_events(asked.webhook),
        client_notes=notes or None,
    )


def to_count(count: int) -> int:
    """Jobs that are asked for.

    Raises:
        InvalidRequestError: more than one request may have, or none.
    """
    if not 1 <= count <= MAX_COUNT:
        raise InvalidRequestError(Violation("n", f"must be from 1 to {MAX_COUNT}, not {count}"))
    return count


def check_notes(notes: jobs_pb2.ClientNotes) -> None:
    """See that the notes are not too long; InvalidRequestError names their field."""
    if (size := notes.ByteSize()) > MAX_NOTES:
        raise InvalidRequestError(Violation("notes", f"must be at most {MAX_NOTES} bytes, not {size}"))


def to_estimate(estimate: JobEstimate) -> jobs_pb2.JobEstimate:
    """What a request would cost, as the client reads it."""
    return jobs_pb2.JobEstimate(
        credits=float(estimate.credits),
        wait_seconds=estimate.wait_seconds,
        run_seconds=estimate.run_seconds,
        task=estimate.task,
        family=estimate.family,
    )


def check_hook(webhook: jobs_pb2.Webhook, *, allow_private: bool, ports: Ports = WEB_PORTS) -> None:
    """See that a webhook can be sent; InvalidRequestError names its field."""
    data = webhook.data if webhook.HasField("data") else None
    url = webhook.url if webhook.HasField("url") else None
    check_webhook(url, data, allow_private=allow_private, ports=ports)
    _to_events(webhook)


def _to_events(webhook: jobs_pb2.Webhook) -> tuple[str, ...]:
    """The payload of a webhook.

    Raises:
        InvalidRequestError: an event is not in the schema.
    """
    events = [choice(EVENTS, number, "webhook.events") for number in webhook.events]
    return tuple(dict.fromkeys(each.value for each in events if each is not None)) or (Event.COMPLETE.value,)


def from_stored(serialized: bytes, limits: Limits) -> tuple[RequestParams, JobOptions]:
    """The request of JobRequest.serialize, as the worker takes it.

    Raises:
        UnsupportedTaskError, InvalidRequestError: as to_params.
    """
    request = pb.GenerateRequest.FromString(serialized)
    return to_params(request, limits), to_options(request, "stored")


def to_job(record: JobRecord) -> jobs_pb2.Job:
    """A job as the database has it."""
    message = jobs_pb2.Job(
        job_id=record.id,
        state=STATES[record.state],
        create_time=to_timestamp(record.created),
        end_time=to_timestamp(record.ended),
        start_time=to_timestamp(record.started),
        attempts=record.attempts,
        request_id=record.request_id,
        priority=PRIORITIES[record.priority],
        task=record.task,
        family=record.family,
    )
    if record.manifest is not None:
        message.request.ParseFromString(record.manifest)
        message.request.seed = record.seed
    if record.client_notes is not None:
        message.notes.ParseFromString(record.client_notes)
    if record.queued is not None:
        message.position = record.queued.position
    if record.state is JobState.SUCCEEDED and record.artifact is not None:
        message.artifact.CopyFrom(to_artifact(record.request_id, record.artifact))
        message.expire_time.CopyFrom(to_timestamp(record.expires) or timestamp_pb2.Timestamp())
    if record.state is JobState.FAILED and record.error is not None:
        code, reason = status.code_and_reason(record.error)
        text = status.message(record.error, record.request_id)
        violations = [status.to_violation(each) for each in record.error.violations]
        message.error.CopyFrom(jobs_pb2.JobError(code=code, message=text, reason=reason, violations=violations))
    if record.webhook is not None:
        message.webhook.CopyFrom(to_webhook(record.webhook))
    return message


def to_page(request: jobs_pb2.ListJobsRequest) -> tuple[int, tuple[datetime, str] | None, JobState | None]:
    """Jobs of a page, the job before them, and their state: None for the newest, and for any.

    Raises:
        InvalidRequestError: a field is out of range, or a token that no answer had.
    """
    size = page_size(request.page_size if request.HasField("page_size") else None)
    return size, read_token(request.page_token), choice(STATES, request.state, "state")


def page_size(asked: int | None) -> int:
    """Rows of a page; DEFAULT_PAGE where none were asked for.

    Raises:
        InvalidRequestError: more or less than there may be.
    """
    size = DEFAULT_PAGE if asked is None else asked
    if not 1 <= size <= MAX_PAGE:
        raise InvalidRequestError(Violation("page_size", f"must be from 1 to {MAX_PAGE}"))
    return size


def to_list(records: list[JobRecord], size: int) -> jobs_pb2.ListJobsResponse:
    """A page of at most `size` jobs, of records that are one more where others follow."""
    shown = records[:size]
    token = write_token(shown[-1].created, shown[-1].id) if len(records) > size else None
    return jobs_pb2.ListJobsResponse(jobs=[to_job(record) for record in shown], next_page_token=token)


def write_token(created: datetime, row_id: str) -> str:
    """The token of the page after a row."""
    text = f"{created.astimezone(UTC).isoformat()} {row_id}"
    return base64.urlsafe_b64encode(text.encode()).decode()


def read_token(token: str) -> tuple[datetime, str] | None:
    """The row of write_token: when it was created, and its id; None for the first page.

    Raises:
        InvalidRequestError: no page had this token.
    """
    if not token:
        return None
    try:
        created, _, job_id = base64.b64decode(token, altchars=b"-_", validate=True).decode("ascii").partition(" ")
        return datetime.fromisoformat(created).astimezone(UTC), job_id
    except (ValueError, OverflowError):
        raise InvalidRequestError(Violation("page_token", "is not one that this service gave")) from None


def to_webhook(webhook: WebhookState) -> jobs_pb2.WebhookDelivery:
    """What became of a webhook."""
    return jobs_pb2.WebhookDelivery(
        state=DELIVERY_STATES[webhook.state],
        attempts=webhook.attempts,
        last_status=webhook.last_status,
        last_error=webhook.last_error,
        next_time=to_timestamp(webhook.next_at),
        deliver_time=to_timestamp(webhook.delivered_at),
    )


def to_timestamp(moment: datetime | None) -> timestamp_pb2.Timestamp | None:
    """A moment; None for none."""
    if moment is None:
        return None
    timestamp = timestamp_pb2.Timestamp()
    timestamp.FromDatetime(moment)
    return timestamp
