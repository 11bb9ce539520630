"""Errors in OpenAI's shape: {"error": {"message", "type", "param", "code"}}, by the classes of its client packages.

| gRPC | HTTP | type | code |
|---|---|---|---|
| INVALID_ARGUMENT, FAILED_PRECONDITION, OUT_OF_RANGE, UNIMPLEMENTED | 400 | invalid_request_error | invalid_value |
| … the family is unknown | 404 | invalid_request_error | model_not_found |
| UNAUTHENTICATED | 401 | invalid_request_error | invalid_api_key; null without a key |
| PERMISSION_DENIED | 403 | permission_error | permission_denied |
| NOT_FOUND | 404 | invalid_request_error | not_found |
| RESOURCE_EXHAUSTED | 429, Retry-After | rate_limit_error | rate_limit_exceeded |
| … reason NOT_ENOUGH_CREDITS | 429, not to be retried | insufficient_quota | insufficient_quota |
| UNAVAILABLE, CANCELLED | 503, Retry-After | server_error | service_unavailable |
| DEADLINE_EXCEEDED | 504 | server_error | timeout |
| the rest | 500 | server_error | internal_error |
"""

from collections.abc import Callable, Coroutine, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import grpc
import structlog
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from gateway.contract.request import ProcessRequest
from gateway.errors import ApiError, KeyMissingError, KeyUnknownError
from gateway.routes.calls import request_id_of
from gateway.routes.openapi import OPENAI_PATHS
from gateway.translate.jobs import RETRY_AFTER_SECONDS
from gateway.translate.names import Names
from gateway.translate.status import read_details
from imagegen.v1 import generation_pb2 as pb
from imagegen.v1 import jobs_pb2

_log = structlog.get_logger()

INVALID, SERVER = "invalid_request_error", "server_error"
_CODES = MappingProxyType(
    {
        403: "permission_denied",
        413: "request_too_large",
        500: "internal_error",
        503: "service_unavailable",
        504: "timeout",
    }
)

_BAD_REQUEST = frozenset(
    {
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.OUT_OF_RANGE,
        grpc.StatusCode.UNIMPLEMENTED,
    }
)


class ErrorBody(BaseModel):
    """What went wrong.

    Attributes:
        message: for a reader.
        type: the class of the error.
        param: the field of the request that is wrong; null if none is.
        code: for a program; null where there is none.
    """

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorResponse(BaseModel):
    """Any error.

    Attributes:
        error: what went wrong.
    """

    error: ErrorBody


class OpenAIError(Exception):
    """An answer that is not 200.

    Attributes:
        status: HTTP status.
        body: the whole JSON object.
        headers: to send with it.
    """

    def __init__(
        self,
        status: int,
        message: str,
        kind: str = INVALID,
        *,
        code: str | None = None,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.headers = status, dict(headers or {})
        self.body = ErrorResponse(error=ErrorBody(message=message, type=kind, param=param, code=code)).model_dump()


def invalid(message: str, param: str | None, code: str = "invalid_value") -> OpenAIError:
    """HTTP 400: a field is wrong, and the message names it."""
    return OpenAIError(400, message, param=param, code=code)


def model_not_found(message: str) -> OpenAIError:
    """HTTP 404: no family has that name."""
    return OpenAIError(404, message, param="model", code="model_not_found")


def refused_by_router(status: int, method: str, path: str) -> OpenAIError | None:
    """What is answered for a path or a method that is not served; None of paths that are not of this API."""
    if not path.startswith(OPENAI_PATHS):
        return None
    code = "method_not_allowed" if status == 405 else "unknown_url"
    return OpenAIError(status, f"{method} {path[:128]} is not served here: docs/openai.md lists what is", code=code)


def internal(request_id: str) -> OpenAIError:
    """HTTP 500: the log knows more."""
    return OpenAIError(500, f"Something went wrong here. Request id: {request_id}", SERVER, code="internal_error")


def unavailable(message: str, retry_after: int = RETRY_AFTER_SECONDS) -> OpenAIError:
    """HTTP 503: the same request may succeed later."""
    wait = {"Retry-After": str(retry_after)}
    return OpenAIError(503, message, SERVER, code="service_unavailable", headers=wait)


def timeout(message: str) -> OpenAIError:
    """HTTP 504: it took too long."""
    return OpenAIError(504, message, SERVER, code="timeout")


def from_grpc(error: grpc.aio.AioRpcError, request_id: str, names: Names | None = None) -> OpenAIError:
    """Turn a failed call into the answer that the client gets."""
    details, code = read_details(error), error.code()
    if details.reason is None:
        _log.warning("call failed", code=code.name, words=error.details())
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
        return _exhausted(details.reason, details.words, details.retry_after)
    if details.reason is not None and code in _BAD_REQUEST:
        return _wrong(details.violations, details.words, names or Names())
    make = _TABLE.get(code)
    return make(details.reason, details.words, details.retry_after) if make else internal(request_id)


def from_job(job: jobs_pb2.Job, request_id: str, names: Names) -> OpenAIError:
    """Why a job ended without a picture."""
    if job.state != jobs_pb2.JOB_STATE_FAILED:
        return OpenAIError(409, "The job was cancelled before it ended", code="cancelled")
    codes = {each.value[0]: each for each in grpc.StatusCode}
    code = codes.get(job.error.code, grpc.StatusCode.UNKNOWN)
    if code in _BAD_REQUEST:
        return _wrong(job.error.violations, job.error.message, names)
    if code in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}:
        return unavailable(job.error.message)
    return internal(request_id)


def _wrong(violations: Sequence[pb.Violation], words: str, names: Names) -> OpenAIError:
    """HTTP 400 or 404 for the fields that the orchestrator refuses; `words` where it names none."""
    if not violations:
        return invalid(words or "The request is wrong", None)
    fields = [names.field(each.field, each.limits) for each in violations]
    said = dict.fromkeys(f"{field} {each.description}" for field, each in zip(fields, violations, strict=True))
    message = "; ".join(said)
    if violations[0].field.endswith("family"):
        return model_not_found(message)
    return invalid(message, _parameter(fields[0]))


def from_api(error: ApiError, names: Names | None = None) -> OpenAIError:
    """Turn an error of what this API shares with the documented one into the shape of this one.

    Args:
        error: about fields of the documented JSON.
        names: that they have here.
    """
    message = (names or Names()).reworded(error.body["message"])
    if isinstance(error, KeyMissingError):
        return OpenAIError(401, "No API key was sent. Send it as the header Authorization: Bearer KEY")
    if isinstance(error, KeyUnknownError):
        return OpenAIError(401, "The API key is not known. It may be misspelt or revoked", code="invalid_api_key")
    if error.status == 400:
        return invalid(message, _named(message, names or Names()))
    kind = INVALID if error.status < 500 else SERVER
    return OpenAIError(error.status, message, kind, code=_CODES.get(error.status), headers=error.headers)


def _parameter(field: str) -> str:
    """The field of a request that a message names, without the number of an item."""
    return field.partition("[")[0].rstrip(":")


def _named(message: str, names: Names) -> str | None:
    """The field that a message begins with, if it does; else one that the client has another name for."""
    first = message.partition(" ")[0].rstrip(":,.")
    known = {*names.sent_as.values(), *ProcessRequest.model_fields}
    if first.partition(".")[0].partition("[")[0] in {each.partition("[")[0].partition(".")[0] for each in known}:
        return _parameter(first)
    found = {message.find(name): name for name in names.sent_as.values() if name in message}
    return _parameter(found[min(found)]) if found else None


class OpenAIRoute(APIRoute):
    """A path whose errors have OpenAI's shape, whatever raised them."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """See APIRoute."""
        handle = super().get_route_handler()

        async def answer(request: Request) -> Response:
            try:
                return await handle(request)
            except OpenAIError as error:
                found = error
            except ApiError as error:
                found = from_api(error)
            except ClientDisconnect:
                raise
            except Exception:  # noqa: BLE001 - whatever it was, the client gets an answer in its shape
                _log.exception("request failed")
                found = internal(request_id_of(request))
            return JSONResponse(found.body, found.status, found.headers)

        return answer


def _exhausted(reason: str | None, words: str, retry_after: int) -> OpenAIError:
    if reason is None:
        return OpenAIError(413, "The request is larger than this service takes", code="request_too_large")
    if reason == "NOT_ENOUGH_CREDITS":
        quota = "insufficient_quota"
        return OpenAIError(429, words, quota, code=quota, headers={"X-Should-Retry": "false"})
    wait = {"Retry-After": str(retry_after)}
    return OpenAIError(429, words, "rate_limit_error", code="rate_limit_exceeded", headers=wait)


def _unauthenticated(reason: str | None, *_: object) -> OpenAIError:
    return from_api(KeyUnknownError() if reason == "API_KEY_UNKNOWN" else KeyMissingError())


def _unavailable(_: str | None, words: str, retry_after: int) -> OpenAIError:
    return unavailable(words or "The service cannot be reached right now", retry_after)


_TABLE: Final[Mapping[grpc.StatusCode, Callable[[str | None, str, int], OpenAIError]]] = MappingProxyType(
    {
        grpc.StatusCode.UNAUTHENTICATED: _unauthenticated,
        grpc.StatusCode.PERMISSION_DENIED: lambda _, words, __: OpenAIError(
            403, words or "The account may not do this", "permission_error", code="permission_denied"
        ),
        grpc.StatusCode.NOT_FOUND: lambda *_: OpenAIError(404, "There is no such job", code="not_found"),
        grpc.StatusCode.UNAVAILABLE: _unavailable,
        grpc.StatusCode.CANCELLED: _unavailable,
        grpc.StatusCode.DEADLINE_EXCEEDED: lambda *_: timeout("The service did not answer in time"),
    }
)
