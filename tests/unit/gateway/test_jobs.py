"""Jobs as answers, without a network."""

import json
from collections.abc import Callable

import pytest
from google.rpc import code_pb2

from gateway.contract.answers import JobAnswer
from gateway.errors import ApiError
from gateway.sentences import FAILED
from gateway.translate import jobs
from gateway.translate.names import Names
from imagegen.v1 import generation_pb2 as pb
from imagegen.v1 import jobs_pb2


def failed(code: int, message: str, *violations: pb.Violation) -> jobs_pb2.Job:
    """A job that failed."""
    error = jobs_pb2.JobError(code=code, message=message, violations=violations)
    return jobs_pb2.Job(job_id="j", state=jobs_pb2.JOB_STATE_FAILED, error=error)


def outcome(call: Callable[[], JobAnswer]) -> JobAnswer | ApiError:
    """What a call gives, or the answer that it ends with."""
    try:
        return call()
    except ApiError as error:
        return error


def test_an_enum_value_of_a_newer_schema_is_shown_as_its_number() -> None:
    artifact = pb.Artifact.FromString(bytes([pb.Artifact.SAMPLER_FIELD_NUMBER << 3, 99]))
    job = jobs_pb2.Job(job_id="j", state=jobs_pb2.JOB_STATE_SUCCEEDED, artifact=artifact)
    assert jobs.answer(job).sampler == "99"


def test_what_was_not_painted_has_no_sampler() -> None:
    job = jobs_pb2.Job(job_id="j", state=jobs_pb2.JOB_STATE_SUCCEEDED, artifact=pb.Artifact(width=64))
    found = jobs.answer(job)
    assert (found.sampler, found.width) == (None, 64)


@pytest.mark.parametrize("state", sorted(jobs_pb2.JobState.values()))
def test_every_state_of_a_job_has_an_answer(state: int) -> None:
    job = jobs_pb2.Job(job_id="j")
    job.MergeFromString(b"\x10" + bytes([state]))
    for answer in (jobs.answer, lambda job: jobs.blocking_answer(job, Names())):
        found = outcome(lambda: answer(job))  # noqa: B023  # called at once
        assert found.status in {404, 500} if isinstance(found, ApiError) else found.job == "j"


@pytest.mark.parametrize("code", sorted(set(code_pb2.Code.values()) - {code_pb2.OK}))
def test_a_failed_job_is_400_where_the_request_is_at_fault_and_only_to_who_waits(code: int) -> None:
    at_fault = code in {code_pb2.INVALID_ARGUMENT, code_pb2.FAILED_PRECONDITION, code_pb2.UNIMPLEMENTED}
    with pytest.raises(ApiError) as waits:
        jobs.blocking_answer(failed(code, "words"), Names())
    with pytest.raises(ApiError) as later:
        jobs.answer(failed(code, "words"))
    assert waits.value.status == (400 if at_fault else 503 if code == code_pb2.UNAVAILABLE else 500)
    said = "words" if code not in {code_pb2.INTERNAL, code_pb2.ABORTED} else f"{FAILED} (words)"
    assert later.value.body == {"message": said, "status": "failed", "job": "j"}
    assert later.value.status == 500
    expected = {"message": said, "status": "failed", "job": "j"}
    if at_fault:
        expected["code"] = "BAD_REQUEST"
    elif code == code_pb2.UNAVAILABLE:
        expected["code"] = "SERVICE_UNAVAILABLE"
    assert waits.value.body == expected
    json.dumps(waits.value.body)


def test_the_fields_of_a_failed_job_are_the_clients() -> None:
    violations = (
        pb.Violation(field="inpaint.mask", description="selects nothing"),
        pb.Violation(field="size.width_percent", description="must be more"),
    )
    job = failed(code_pb2.INVALID_ARGUMENT, "other words", *violations)
    said = "background.generate.ip_image2 selects nothing; width must be more"
    with pytest.raises(ApiError) as waits:
        jobs.blocking_answer(job, Names(from_picture=True))
    with pytest.raises(ApiError) as later:
        jobs.answer(job)
    assert waits.value.body["message"] == later.value.body["message"] == said
