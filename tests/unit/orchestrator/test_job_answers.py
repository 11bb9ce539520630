"""Durable jobs to protobuf and back: every field of a record, orders and their digests, pages of lists."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from imagegen.v1 import generation_pb2 as pb
from imagegen.v1 import jobs_pb2
from orchestrator.api import converters
from orchestrator.errors import CancelledByClientError, EngineFaultError, InvalidRequestError, QueueFullError
from orchestrator.generation.events import Queued
from orchestrator.generation.job import JobState
from orchestrator.jobs.records import JobRecord, JobRequest, WebhookState
from orchestrator.params import Limits, Priority
from tests.unit.orchestrator.test_answers import ARTIFACT

START = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)

QUEUED = JobRecord(
    id="j" * 22,
    account_id=1,
    request_id="r",
    state=JobState.QUEUED,
    task="upscale",
    family="small",
    seed=7,
    priority=Priority.LOW,
    created=START,
    started=None,
    ended=None,
    attempts=0,
    fence=0,
    sequence=0,
    artifact=None,
    picture=None,
    expires=None,
    error=None,
)
ENDED = replace(QUEUED, started=START + timedelta(1), ended=START + timedelta(2), attempts=2)


def names(message: jobs_pb2.Job) -> set[str]:
    return {field.name for field, _ in message.ListFields()}


def test_a_waiting_job() -> None:
    message = converters.to_job(replace(QUEUED, queued=Queued(3, 1.0)))
    expected = jobs_pb2.Job(
        job_id="j" * 22,
        state=jobs_pb2.JOB_STATE_QUEUED,
        position=3,
        attempts=0,
        request_id="r",
        priority=pb.PRIORITY_LOW,
        task="upscale",
        family="small",
    )
    expected.create_time.FromDatetime(START)
    assert message == expected
    assert message.HasField("attempts")


def test_a_running_job_has_no_position_and_no_end() -> None:
    message = converters.to_job(replace(QUEUED, state=JobState.RUNNING, started=START, attempts=1))
    assert message.state == jobs_pb2.JOB_STATE_RUNNING
    assert message.start_time.ToDatetime(UTC) == START
    assert not names(message) & {"position", "end_time", "expire_time", "artifact", "error", "webhook"}


def test_a_job_that_succeeded() -> None:
    artifact = replace(ARTIFACT, data=None, uri="http://x/y.jpeg")
    expires = START + timedelta(3)
    message = converters.to_job(replace(ENDED, state=JobState.SUCCEEDED, artifact=artifact, expires=expires))
    assert message.state == jobs_pb2.JOB_STATE_SUCCEEDED
    assert (message.artifact.uri, message.artifact.request_id) == ("http://x/y.jpeg", "r")
    assert message.end_time.ToDatetime(UTC) == ENDED.ended
    assert message.expire_time.ToDatetime(UTC) == expires
    assert message.attempts == 2
    assert not message.HasField("error")


def test_a_job_that_failed_says_why_and_leaks_nothing() -> None:
    message = converters.to_job(replace(ENDED, state=JobState.FAILED, error=EngineFaultError("secret")))
    assert message.state == jobs_pb2.JOB_STATE_FAILED
    assert message.error == jobs_pb2.JobError(code=13, message="internal error; request id r", reason="ENGINE_FAULT")


def test_a_client_error_is_reported() -> None:
    message = converters.to_job(replace(ENDED, state=JobState.FAILED, error=QueueFullError("256 wait already")))
    assert message.error == jobs_pb2.JobError(code=8, message="256 wait already", reason="QUEUE_FULL")


@pytest.mark.parametrize("state", [JobState.CANCELLED, JobState.DELETED])
def test_a_job_that_was_stopped_has_no_error(state: JobState) -> None:
    """The schema: error is set when FAILED."""
    message = converters.to_job(replace(ENDED, state=state, error=CancelledByClientError("cancelled")))
    assert jobs_pb2.JobState.Name(message.state) == f"JOB_STATE_{state.name}"
    assert not message.HasField("error")


def test_a_webhook_that_is_tried_again() -> None:
    webhook = WebhookState(attempts=2, last_status=500, last_error="answered 500", next_at=START)
    message = converters.to_job(replace(ENDED, webhook=webhook)).webhook
    assert message.state == jobs_pb2.DELIVERY_STATE_PENDING
    assert (message.attempts, message.last_status, message.last_error) == (2, 500, "answered 500")
    assert message.next_time.ToDatetime(UTC) == START
    assert not message.HasField("deliver_time")


def test_a_webhook_that_was_taken() -> None:
    message = converters.to_job(replace(ENDED, webhook=WebhookState(state="delivered", delivered_at=START))).webhook
    assert message.state == jobs_pb2.DELIVERY_STATE_DELIVERED
    assert message.deliver_time.ToDatetime(UTC) == START
    assert not message.HasField("last_status")
    assert not message.HasField("next_time")


def asked(**fields: object) -> jobs_pb2.CreateJobRequest:
    request = pb.GenerateRequest(text_to_image=pb.TextToImage(), prompt="red house")
    for name, value in fields.items():
        setattr(request, name, value)
    return jobs_pb2.CreateJobRequest(request=request)


def order(message: jobs_pb2.CreateJobRequest) -> JobRequest:
    return converters.to_job_request(message, Limits(), "name")


def test_an_order_is_read_back_with_its_seed() -> None:
    made = order(asked(request_id="key", priority=pb.PRIORITY_HIGH))
    params, options = converters.from_stored(made.serialize(99), Limits())
    assert (params.prompt, params.seed) == ("red house", 99)
    assert options.priority is Priority.HIGH
    assert (made.idempotency_key, made.options.request_id) == ("key", "name")


def test_a_digest_is_of_what_is_asked_for_not_of_its_name() -> None:
    plain = order(asked()).digest
    assert len(plain) == 32
    assert order(asked(request_id="key")).digest == plain
    assert order(asked(seed=1)).digest != plain
    hooked = asked()
    hooked.webhook.url = "https://receiver.example/"
    assert order(hooked).digest != plain
    assert order(hooked).webhook_url == "https://receiver.example/"
    assert order(hooked).webhook_data is None


def test_a_key_of_a_wrong_form_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="request_id"):
        order(asked(request_id="no spaces"))


def test_pages_lead_from_one_to_the_next() -> None:
    records = [replace(QUEUED, id=str(number) * 22, created=START - timedelta(number)) for number in range(3)]
    page = converters.to_list(records, 2)
    assert [job.job_id for job in page.jobs] == ["0" * 22, "1" * 22]
    size, after, state = converters.to_page(jobs_pb2.ListJobsRequest(page_token=page.next_page_token))
    assert (size, after, state) == (20, (records[1].created, records[1].id), None)
    last = converters.to_list(records[2:], 2)
    assert (len(last.jobs), last.HasField("next_page_token")) == (1, False)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"page_size": 0}, "page_size"),
        ({"page_size": 101}, "page_size"),
        ({"page_token": "x"}, "page_token"),
        ({"page_token": "é"}, "page_token"),
        ({"page_token": "AAAA"}, "page_token"),
        ({"state": 99}, "state"),
    ],
)
def test_a_page_that_is_none_names_its_field(fields: dict[str, object], named: str) -> None:
    request = jobs_pb2.ListJobsRequest(**fields)  # type: ignore[arg-type]  # of several types
    with pytest.raises(InvalidRequestError) as refusal:
        converters.to_page(request)
    assert [violation.field for violation in refusal.value.violations] == [named]
