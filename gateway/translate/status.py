"""Errors of gRPC as answers of REST: the one table between them.

| gRPC | HTTP |
|---|---|
| INVALID_ARGUMENT, FAILED_PRECONDITION, OUT_OF_RANGE, UNIMPLEMENTED | 400, code BAD_REQUEST, naming the field |
| UNAUTHENTICATED, reason API_KEY_MISSING | 403 |
| UNAUTHENTICATED, reason API_KEY_UNKNOWN | 404 |
| PERMISSION_DENIED | 403 |
| NOT_FOUND | 404 |
| RESOURCE_EXHAUSTED | 429, code TOO_MANY_REQUESTS, Retry-After |
| … reason NOT_ENOUGH_CREDITS | 400, code NOT_ENOUGH_CREDITS |
| … reason RATE_LIMITED | 403, Retry-After |
| UNAVAILABLE, CANCELLED (the server stops) | 503, Retry-After |
| DEADLINE_EXCEEDED | 504 |
| DATA_LOSS | 500, code DATA_LOSS: a stored picture is corrupt |
| INTERNAL, UNKNOWN, the rest | 500, with the request id and no inner words |

What gRPC itself reports, and not the orchestrator, has no ErrorInfo of domain "imagegen"; its words are about sockets
and protobuf and never reach a client.
"""

import contextlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import MappingProxyType

import grpc
import structlog
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from gateway import errors, sentences
from gateway.errors import ApiError, BadRequestError
from gateway.translate.jobs import RETRY_AFTER_SECONDS
from gateway.translate.names import Names
from imagegen.v1 import generation_pb2 as pb

_log = structlog.get_logger()

_DOMAIN = "imagegen"
_DETAILS_KEY = "grpc-status-details-bin"
_BAD_REQUEST = frozenset(
    {
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.OUT_OF_RANGE,
        grpc.StatusCode.UNIMPLEMENTED,
    }
)


@dataclass(frozen=True, slots=True)
class Details:
    """What the google.rpc messages of an error say.

    Attributes:
        reason: ErrorInfo.reason; None if the error does not come from the orchestrator.
        violations: each wrong field.
        retry_after: whole seconds, at least 1.
        words: the orchestrator's message; empty if the error does not come from it.
        metadata: ErrorInfo.metadata.
    """

    reason: str | None
    violations: tuple[pb.Violation, ...]
    retry_after: int
    words: str
    metadata: Mapping[str, str]


def api_error(error: grpc.aio.AioRpcError, request_id: str, names: Names | None = None) -> ApiError:
    """Turn a failed call into the answer that the client gets.

    Args:
        error: of the call.
        request_id: what the log knows the request by.
        names: what the client calls the fields of its request, if it sent one.
    """
    details = read_details(error)
    if details.reason is None:  # the client does not get these words, so the log does
        _log.warning("call failed", code=error.code().name, words=error.details())
    elif error.code() in _BAD_REQUEST:
        wrong = (names or Names()).sentence(details.violations)
        return BadRequestError(wrong or details.words or "The request is wrong")
    make = _TABLE.get(error.code())
    return make(details) if make else errors.internal(request_id)


def read_details(error: grpc.aio.AioRpcError) -> Details:
    """Read the google.rpc messages that an error carries in its trailing metadata."""
    info, bad, retry = error_details_pb2.ErrorInfo(), pb.ErrorViolations(), error_details_pb2.RetryInfo()
    for packed in _status(error).details:
        for message in (info, bad, retry):
            with contextlib.suppress(DecodeError):  # a detail that cannot be read is a detail less, not another error
                packed.Unpack(message)  # does nothing with a message of another type
    seconds = retry.retry_delay.seconds + retry.retry_delay.nanos / 1e9
    ours = info.domain == _DOMAIN
    return Details(
        reason=info.reason if ours else None,
        violations=tuple(bad.violations),
        retry_after=max(1, math.ceil(seconds)) if seconds > 0 else RETRY_AFTER_SECONDS,
        words=(error.details() or "") if ours else "",
        metadata=MappingProxyType(dict(info.metadata)),
    )


def _status(error: grpc.aio.AioRpcError) -> status_pb2.Status:
    """The google.rpc.Status of an error, an empty one if it has none that can be read."""
    for key, value in error.trailing_metadata() or ():
        if key == _DETAILS_KEY and isinstance(value, bytes):
            try:
                return status_pb2.Status.FromString(value)
            except DecodeError:
                break
    return status_pb2.Status()


def _exhausted(details: Details) -> ApiError:
    """HTTP 429 for a limit that passes; 413 when it was gRPC that found the message larger than a server takes."""
    if details.reason is None:
        return ApiError(413, "The request is larger than this service takes", "PAYLOAD_TOO_LARGE")
    if details.reason == "NOT_ENOUGH_CREDITS":
        return BadRequestError(f"{sentences.NO_CREDITS}: {details.words}", "NOT_ENOUGH_CREDITS")
    if details.reason == "RATE_LIMITED":  # the documents keep 429 for jobs at a time
        wait = {"Retry-After": str(details.retry_after)}
        available = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=details.retry_after)
        said = f"{sentences.NO_REQUESTS}. Next requests available {available.isoformat()}: {details.words}"
        return ApiError(403, said, headers=wait)
    if details.reason == "TOO_MANY_JOBS":
        numbers = {name: details.metadata.get(name, "?") for name in ("rate_limit", "active_jobs_amount")}
        said = sentences.TOO_MANY_JOBS.format(**numbers)
    else:
        said = f"Image cannot be processed right now. {details.words}".rstrip()
    return ApiError(429, said, "TOO_MANY_REQUESTS", headers={"Retry-After": str(details.retry_after)})


def _unavailable(details: Details) -> ApiError:
    return errors.unavailable(details.words or "The service cannot be reached right now", details.retry_after)


def _unauthenticated(details: Details) -> ApiError:
    return errors.KeyUnknownError() if details.reason == "API_KEY_UNKNOWN" else errors.KeyMissingError()


_TABLE: Mapping[grpc.StatusCode, Callable[[Details], ApiError]] = MappingProxyType(
    {
        grpc.StatusCode.UNAUTHENTICATED: _unauthenticated,
        grpc.StatusCode.PERMISSION_DENIED: lambda its: ApiError(403, its.words or sentences.NO_REQUESTS),
        grpc.StatusCode.NOT_FOUND: lambda _: errors.job_not_found(),
        grpc.StatusCode.RESOURCE_EXHAUSTED: _exhausted,
        grpc.StatusCode.UNAVAILABLE: _unavailable,
        grpc.StatusCode.CANCELLED: _unavailable,
        grpc.StatusCode.DATA_LOSS: lambda its: ApiError(500, its.words or "The stored picture is corrupt", "DATA_LOSS"),
        grpc.StatusCode.DEADLINE_EXCEEDED: lambda _: ApiError(
            504, "The service did not answer in time", "GATEWAY_TIMEOUT"
        ),
    }
)
