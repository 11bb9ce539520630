"""The table from the error tree to gRPC: status code, ErrorInfo reason, and google.rpc details."""

from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2

from imagegen.v1 import generation_pb2 as pb
from orchestrator import errors
from orchestrator.errors import ImagegenError, RetryableError, Violation

DOMAIN = "imagegen"

MAX_REQUEST_ID = 128
"""Characters of a request id; one that its client chose too long is refused, and not repeated."""
MESSAGE_BYTES, VIOLATIONS_BYTES = 768, 1280
"""Longest message, and violations together, in UTF-8. With them the trailing metadata stays below 8 KiB, which is what
clients take by default: the message is there twice, percent-encoded (three times its length at most) and in base64;
the violations are there twice as well, in base64."""

# The first row whose class fits is taken, so subclasses stand before their bases.
_TABLE: tuple[tuple[type[ImagegenError], int, str], ...] = (
    (errors.InvalidRequestError, code_pb2.INVALID_ARGUMENT, "INVALID_REQUEST"),
    (errors.UnsupportedTaskError, code_pb2.UNIMPLEMENTED, "TASK_NOT_SERVED"),
    (errors.ApiKeyMissingError, code_pb2.UNAUTHENTICATED, "API_KEY_MISSING"),
    (errors.ApiKeyUnknownError, code_pb2.UNAUTHENTICATED, "API_KEY_UNKNOWN"),
    (errors.NotFoundError, code_pb2.NOT_FOUND, "NOT_FOUND"),
    (errors.PreconditionError, code_pb2.FAILED_PRECONDITION, "FAILED_PRECONDITION"),
    (errors.FilteredError, code_pb2.FAILED_PRECONDITION, "FILTERED"),
    (errors.QueueFullError, code_pb2.RESOURCE_EXHAUSTED, "QUEUE_FULL"),
    (errors.DeadlineUnreachableError, code_pb2.RESOURCE_EXHAUSTED, "DEADLINE_UNREACHABLE"),
    (errors.TooManyJobsError, code_pb2.RESOURCE_EXHAUSTED, "TOO_MANY_JOBS"),
    (errors.RateLimitedError, code_pb2.RESOURCE_EXHAUSTED, "RATE_LIMITED"),
    (errors.MessageLateError, code_pb2.DEADLINE_EXCEEDED, "MESSAGE_LATE"),
    (errors.NotEnoughCreditsError, code_pb2.RESOURCE_EXHAUSTED, "NOT_ENOUGH_CREDITS"),
    (errors.ResultsFullError, code_pb2.RESOURCE_EXHAUSTED, "RESULTS_FULL"),
    (errors.DatabaseUnavailableError, code_pb2.UNAVAILABLE, "DATABASE_UNAVAILABLE"),
    (errors.ResultStoreUnavailableError, code_pb2.UNAVAILABLE, "RESULT_STORE_UNAVAILABLE"),
    (errors.CorruptResultError, code_pb2.DATA_LOSS, "RESULT_CORRUPT"),
    (errors.PoisonJobError, code_pb2.ABORTED, "POISON_JOB"),
    (errors.AttemptTimeoutError, code_pb2.DEADLINE_EXCEEDED, "ATTEMPT_TIMEOUT"),
    (errors.ShuttingDownError, code_pb2.UNAVAILABLE, "SHUTTING_DOWN"),
    (errors.SignerUnavailableError, code_pb2.UNAVAILABLE, "SIGNER_UNAVAILABLE"),
    (errors.EngineUnavailableError, code_pb2.UNAVAILABLE, "ENGINE_UNAVAILABLE"),
    (errors.CancelledByClientError, code_pb2.CANCELLED, "CANCELLED"),
    (errors.EngineFaultError, code_pb2.INTERNAL, "ENGINE_FAULT"),
    (errors.ImagegenError, code_pb2.INTERNAL, "INTERNAL"),
)


def code_and_reason(error: ImagegenError) -> tuple[int, str]:
    """google.rpc.Code and ErrorInfo.reason of an error."""
    return next((code, reason) for kind, code, reason in _TABLE if isinstance(error, kind))


def message(error: ImagegenError, request_id: str) -> str:
    """What the client reads. Internal detail stays in the log, under the request id."""
    code, _ = code_and_reason(error)
    if code == code_pb2.INTERNAL:
        return f"internal error; request id {request_id}"
    text = str(error) if error.violations else errors.shorten(str(error))  # each violation is bounded by itself
    whole = text.encode()
    return text if len(whole) <= MESSAGE_BYTES else f"{whole[: MESSAGE_BYTES - 3].decode(errors='ignore')}…"


def to_violation(violation: Violation) -> pb.Violation:
    """A violation as a message."""
    return pb.Violation(
        field=violation.field,
        description=violation.description,
        reason=pb.ViolationReason.Value(f"VIOLATION_REASON_{violation.reason.name}"),
        limits=violation.limits,
    )


def to_status(error: ImagegenError, request_id: str) -> status_pb2.Status:
    """The error as google.rpc.Status."""
    code, reason = code_and_reason(error)
    limits = (
        {"rate_limit": str(error.limit), "active_jobs_amount": str(error.active)}
        if isinstance(error, errors.TooManyJobsError)
        else {}
    )
    details: list[Message] = [
        error_details_pb2.ErrorInfo(reason=reason, domain=DOMAIN, metadata=limits),
        error_details_pb2.RequestInfo(request_id=request_id[:MAX_REQUEST_ID]),
    ]
    if error.violations:
        bad = _bad_request(error)
        details.append(bad)
        kept = error.violations[: len(bad.field_violations)]
        details.append(pb.ErrorViolations(violations=map(to_violation, kept)))
    if isinstance(error, RetryableError):
        delay = duration_pb2.Duration()
        delay.FromNanoseconds(int(error.retry_after * 1e9))
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    status = status_pb2.Status(code=code, message=message(error, request_id))
    for detail in details:
        packed = any_pb2.Any()
        packed.Pack(detail)
        status.details.append(packed)
    return status


def _bad_request(error: ImagegenError) -> error_details_pb2.BadRequest:
    """The violations of an error, as many as fit into VIOLATIONS_BYTES, and one at least."""
    found = error_details_pb2.BadRequest()
    for v in error.violations:
        found.field_violations.add(field=v.field, description=v.description, reason=v.reason.name)
        if found.ByteSize() > VIOLATIONS_BYTES and len(found.field_violations) > 1:
            del found.field_violations[-1]
            break
    return found
