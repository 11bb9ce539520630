"""From the error tree to gRPC: every class has its row, details are whole, and nothing internal leaks."""

import ast
from pathlib import Path

import grpc
import pytest
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2

from imagegen.v1 import generation_pb2 as pb
from orchestrator import errors
from orchestrator.api import status
from orchestrator.errors import (
    ImagegenError,
    InvalidRequestError,
    Reason,
    RetryableError,
    TooManyJobsError,
    Violation,
)

CODES = {
    "InvalidRequestError": ("INVALID_ARGUMENT", "INVALID_REQUEST"),
    "UnsupportedTaskError": ("UNIMPLEMENTED", "TASK_NOT_SERVED"),
    "ApiKeyMissingError": ("UNAUTHENTICATED", "API_KEY_MISSING"),
    "ApiKeyUnknownError": ("UNAUTHENTICATED", "API_KEY_UNKNOWN"),
    "NotFoundError": ("NOT_FOUND", "NOT_FOUND"),
    "PreconditionError": ("FAILED_PRECONDITION", "FAILED_PRECONDITION"),
    "FilteredError": ("FAILED_PRECONDITION", "FILTERED"),
    "QueueFullError": ("RESOURCE_EXHAUSTED", "QUEUE_FULL"),
    "DeadlineUnreachableError": ("RESOURCE_EXHAUSTED", "DEADLINE_UNREACHABLE"),
    "TooManyJobsError": ("RESOURCE_EXHAUSTED", "TOO_MANY_JOBS"),
    "RateLimitedError": ("RESOURCE_EXHAUSTED", "RATE_LIMITED"),
    "MessageLateError": ("DEADLINE_EXCEEDED", "MESSAGE_LATE"),
    "NotEnoughCreditsError": ("RESOURCE_EXHAUSTED", "NOT_ENOUGH_CREDITS"),
    "ResultsFullError": ("RESOURCE_EXHAUSTED", "RESULTS_FULL"),
    "DatabaseUnavailableError": ("UNAVAILABLE", "DATABASE_UNAVAILABLE"),
    "ResultStoreUnavailableError": ("UNAVAILABLE", "RESULT_STORE_UNAVAILABLE"),
    "AttemptTimeoutError": ("DEADLINE_EXCEEDED", "ATTEMPT_TIMEOUT"),
    "PoisonJobError": ("ABORTED", "POISON_JOB"),
    "ShuttingDownError": ("UNAVAILABLE", "SHUTTING_DOWN"),
    "SignerUnavailableError": ("UNAVAILABLE", "SIGNER_UNAVAILABLE"),
    "EngineUnavailableError": ("UNAVAILABLE", "ENGINE_UNAVAILABLE"),
    "CancelledByClientError": ("CANCELLED", "CANCELLED"),
    "AttemptLostError": ("CANCELLED", "CANCELLED"),
    "EngineFaultError": ("INTERNAL", "ENGINE_FAULT"),
    "EngineRefusedError": ("INTERNAL", "ENGINE_FAULT"),
    "CorruptResultError": ("DATA_LOSS", "RESULT_CORRUPT"),
    "FamilyConfigError": ("INTERNAL", "INTERNAL"),
    "RetryableError": ("INTERNAL", "INTERNAL"),
    "ImagegenError": ("INTERNAL", "INTERNAL"),
}
"""What the interface promises; the last four are never sent as they are, and reveal nothing if they should be."""


def classes(root: type[ImagegenError] = ImagegenError) -> list[type[ImagegenError]]:
    return [root, *(found for child in root.__subclasses__() for found in classes(child))]


def make(kind: type[ImagegenError], text: str = "what happened") -> ImagegenError:
    if kind is TooManyJobsError:
        return TooManyJobsError(4, 5)
    return kind(Violation("steps", text)) if kind is InvalidRequestError else kind(text)


def unpack(answer: status_pb2.Status) -> dict[str, Message]:
    """Details by the name of their type; each type is there once at most."""
    found: dict[str, Message] = {}
    for packed in answer.details:
        name = packed.TypeName().rpartition(".")[2]
        detail: Message = pb.ErrorViolations() if name == "ErrorViolations" else getattr(error_details_pb2, name)()
        assert packed.Unpack(detail)
        assert name not in found
        found[name] = detail
    return found


def test_the_table_is_whole() -> None:
    assert {kind.__name__ for kind in classes()} == set(CODES)
    defined = ast.parse(Path(errors.__file__).read_text("utf-8")).body
    names = {node.name for node in defined if isinstance(node, ast.ClassDef)}
    assert names - {"Violation", "Reason"} == set(CODES)


def test_the_drawn_tree_is_the_tree() -> None:
    """Each class is in the docstring of errors.py, at its depth in the tree."""

    def draw(kind: type[ImagegenError], depth: int) -> list[tuple[str, int]]:
        children = [line for child in kind.__subclasses__() for line in draw(child, depth + 1)]
        return [(kind.__name__, depth), *children]

    assert errors.__doc__ is not None
    lines = [line for line in errors.__doc__.splitlines() if "Error" in line]
    drawn = []
    for line in lines:
        name = next(word for word in line.split() if word.endswith("Error"))
        drawn.append((name, line.index(name) // 4))
    assert drawn == draw(ImagegenError, 0)


@pytest.mark.parametrize("kind", classes(), ids=lambda kind: kind.__name__)
def test_every_error_has_its_code_and_reason(kind: type[ImagegenError]) -> None:
    code, reason = CODES[kind.__name__]
    answer = status.to_status(make(kind), "r1")
    details = unpack(answer)
    assert answer.code == code_pb2.Code.Value(code)
    assert grpc.StatusCode[code].value[0] == answer.code
    metadata = {"rate_limit": "4", "active_jobs_amount": "5"} if kind is TooManyJobsError else {}
    assert details["ErrorInfo"] == error_details_pb2.ErrorInfo(reason=reason, domain="imagegen", metadata=metadata)
    assert details["RequestInfo"] == error_details_pb2.RequestInfo(request_id="r1")
    assert ("RetryInfo" in details) == issubclass(kind, RetryableError)
    assert ("BadRequest" in details) == (kind is InvalidRequestError)


@pytest.mark.parametrize("kind", classes(), ids=lambda kind: kind.__name__)
def test_internal_messages_stay_inside(kind: type[ImagegenError]) -> None:
    error = make(kind, "secret /etc/models")
    answer = status.to_status(error, "r1")
    internal = CODES[kind.__name__][0] == "INTERNAL"
    assert (str(error).encode() in answer.SerializeToString()) is not internal
    if internal:
        assert answer.message == "internal error; request id r1"


@pytest.mark.parametrize("reason", Reason)
def test_a_precondition_of_a_field_names_it(reason: Reason) -> None:
    answer = unpack(status.to_status(errors.PreconditionError(Violation("face.image", "no face", reason)), "r1"))
    wrong = answer["ErrorViolations"]
    assert isinstance(wrong, pb.ErrorViolations)
    (found,) = wrong.violations
    assert pb.ViolationReason.Name(found.reason) == f"VIOLATION_REASON_{reason.name}"
    assert found.field == "face.image"


def test_reasons_are_those_of_the_schema() -> None:
    assert [f"VIOLATION_REASON_{reason.name}" for reason in Reason] == pb.ViolationReason.keys()


def test_each_violation_is_a_field_of_its_own() -> None:
    small = Violation("size.width", "too small", Reason.BELOW_MINIMUM, {"minimum": 64})
    answer = status.to_status(InvalidRequestError(small, Violation("steps", "too many")), "r1")
    details = unpack(answer)
    bad, whole = details["BadRequest"], details["ErrorViolations"]
    assert isinstance(bad, error_details_pb2.BadRequest)
    assert isinstance(whole, pb.ErrorViolations)
    assert [(v.field, v.description, v.reason) for v in bad.field_violations] == [
        ("size.width", "too small", "BELOW_MINIMUM"),
        ("steps", "too many", "UNSPECIFIED"),
    ]
    assert [(v.field, dict(v.limits)) for v in whole.violations] == [("size.width", {"minimum": 64.0}), ("steps", {})]
    assert answer.message == "size.width: too small; steps: too many"


@pytest.mark.parametrize("seconds", [0.0, 0.25, 1.0, 60.0])
def test_retry_info_holds_the_delay(seconds: float) -> None:
    retry = unpack(status.to_status(errors.QueueFullError("full", retry_after=seconds), "r1"))["RetryInfo"]
    assert isinstance(retry, error_details_pb2.RetryInfo)
    assert retry.retry_delay.ToTimedelta().total_seconds() == seconds


@pytest.mark.parametrize("text", ["x" * 12_000, "é" * 12_000, "a b" * 4000])
def test_a_request_id_of_any_length_is_not_repeated(text: str) -> None:
    answer = status.to_status(InvalidRequestError(Violation("request_id", "has another form")), text)
    assert answer.ByteSize() < 1000
