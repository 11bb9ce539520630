"""What a call can end with, as exceptions; one class for each case that a program may want to distinguish."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import grpc

from imagegen_client import details
from imagegen_client.v1 import jobs_pb2

Code = grpc.StatusCode


@dataclass(frozen=True, slots=True)
class Violation:
    """One field of a request that is wrong.

    Attributes:
        field: its path in the schema, such as "size.width".
        description: what is wrong, and what is accepted.
    """

    field: str
    description: str


class ImagegenError(Exception):
    """Root of the errors of this package.

    Attributes:
        message: for a reader.
        code: of gRPC; None where the error did not come from a call.
        reason: in UPPER_SNAKE_CASE, as the server states it; empty where it does not.
        violations: fields of the request that are wrong.
        retry_after: seconds after which the same request may succeed; None where the server names none.
        request_id: what the server's log knows the request by; empty where it is not known.
    """

    def __init__(
        self,
        message: str,
        *,
        code: grpc.StatusCode | None = None,
        reason: str = "",
        violations: tuple[Violation, ...] = (),
        retry_after: float | None = None,
        request_id: str = "",
    ) -> None:
        super().__init__(message)
        self.message, self.code, self.reason = message, code, reason
        self.violations, self.retry_after, self.request_id = violations, retry_after, request_id


class InvalidRequestError(ImagegenError):
    """The request is wrong: `violations` name the fields."""


class PreconditionError(InvalidRequestError):
    """The request cannot be met: no face in the picture, nothing that the mask selects, no file so small."""


class UnsupportedError(InvalidRequestError):
    """This server, or the family, does not do that task."""


class AuthenticationError(ImagegenError):
    """There is no API key, or no account has it."""


class PermissionDeniedError(ImagegenError):
    """The account may not do this."""


class NotFoundError(ImagegenError):
    """There is no such job or picture."""


class LimitError(ImagegenError):
    """A limit of the account or of the server."""


class QueueFullError(LimitError):
    """As much waits as may wait."""


class DeadlineUnreachableError(LimitError):
    """The picture would be finished after the request's deadline_seconds."""


class TooManyJobsError(LimitError):
    """The account has as many jobs as it may have at a time."""


class RateLimitedError(LimitError):
    """The account has sent as many requests as it may in a minute."""


class NotEnoughCreditsError(LimitError):
    """The account cannot pay for it."""


class UnavailableError(ImagegenError):
    """Nobody answers, and trying again did not help in time."""


class DeadlineError(ImagegenError, TimeoutError):
    """It took longer than the timeout allows."""


class CancelledError(ImagegenError):
    """The job was cancelled, or its picture was deleted."""


class InternalError(ImagegenError):
    """Something went wrong on the server; `request_id` finds it in the log."""


_BY_REASON: Mapping[str, type[ImagegenError]] = {
    "QUEUE_FULL": QueueFullError,
    "DEADLINE_UNREACHABLE": DeadlineUnreachableError,
    "TOO_MANY_JOBS": TooManyJobsError,
    "RATE_LIMITED": RateLimitedError,
    "NOT_ENOUGH_CREDITS": NotEnoughCreditsError,
}
_BY_CODE: Mapping[grpc.StatusCode, type[ImagegenError]] = {
    Code.INVALID_ARGUMENT: InvalidRequestError,
    Code.OUT_OF_RANGE: InvalidRequestError,
    Code.FAILED_PRECONDITION: PreconditionError,
    Code.UNIMPLEMENTED: UnsupportedError,
    Code.UNAUTHENTICATED: AuthenticationError,
    Code.PERMISSION_DENIED: PermissionDeniedError,
    Code.NOT_FOUND: NotFoundError,
    Code.RESOURCE_EXHAUSTED: LimitError,
    Code.UNAVAILABLE: UnavailableError,
    Code.DEADLINE_EXCEEDED: DeadlineError,
    Code.CANCELLED: CancelledError,
}
_CODES = {code.value[0]: code for code in Code}


def from_call(error: grpc.RpcError) -> ImagegenError:
    """The error of a call that failed."""
    code = _attribute(error, "code") or Code.UNKNOWN
    found = details.read(_attribute(error, "trailing_metadata"))
    violations = tuple(Violation(field, description) for field, description in found.violations)
    kind = _BY_REASON.get(found.reason) or _BY_CODE.get(code, InternalError)
    return kind(
        _attribute(error, "details") or code.name,
        code=code,
        reason=found.reason,
        violations=violations,
        retry_after=found.retry_after,
        request_id=found.request_id,
    )


def from_job(job: jobs_pb2.Job) -> ImagegenError:
    """The error of a job that ended without a picture."""
    if job.state == jobs_pb2.JOB_STATE_CANCELLED:
        return CancelledError("the job was cancelled", code=Code.CANCELLED, request_id=job.request_id)
    if job.state == jobs_pb2.JOB_STATE_DELETED:
        return CancelledError("the job's picture was deleted", code=Code.CANCELLED, request_id=job.request_id)
    code = _CODES.get(job.error.code, Code.UNKNOWN)
    kind = _BY_REASON.get(job.error.reason) or _BY_CODE.get(code, InternalError)
    violations = tuple(Violation(each.field, each.description) for each in job.error.violations)
    return kind(job.error.message, code=code, reason=job.error.reason, violations=violations, request_id=job.request_id)


def _attribute(error: grpc.RpcError, name: str) -> Any:  # noqa: ANN401 - RpcError's methods are not declared
    """What a method of the error answers; None of one that it does not have."""
    method = getattr(error, name, None)
    return method() if callable(method) else None
