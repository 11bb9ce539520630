"""Answers that are errors, as exceptions. Their JSON is flat: `message`, where named `code`, and for jobs more.

The words and codes are those of the documented REST API; where it gives none, they are ours.
"""

from collections.abc import Mapping

from gateway import sentences


class ApiError(Exception):
    """An answer that is not 200.

    Attributes:
        status: HTTP status.
        body: the whole JSON object.
        headers: to send along.
    """

    def __init__(
        self,
        status: int,
        message: str,
        code: str | None = None,
        /,
        *,
        headers: Mapping[str, str] | None = None,
        **more: str,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.body: dict[str, str] = {"message": message, **({"code": code} if code else {}), **more}
        self.headers = dict(headers or {})


class BadRequestError(ApiError):
    """HTTP 400: the request is wrong. The message names the field as the client wrote it."""

    def __init__(self, message: str, code: str | None = "BAD_REQUEST") -> None:
        super().__init__(400, message, code)


def picture_required() -> BadRequestError:
    """The documented answer to a request that has neither a picture nor a prompt. It carries no code."""
    return BadRequestError(sentences.NO_PICTURE, code=None)


class KeyMissingError(ApiError):
    """The documented answer to a request without a key."""

    def __init__(self) -> None:
        super().__init__(403, sentences.NO_KEY)


class KeyUnknownError(ApiError):
    """The documented answer to a key that no account has."""

    def __init__(self) -> None:
        super().__init__(404, sentences.UNKNOWN_KEY)


def job_not_found() -> ApiError:
    """The documented answer to a job that this account does not have."""
    return ApiError(404, sentences.UNKNOWN_JOB)


def job_failed(job_id: str, message: str) -> ApiError:
    """The documented answer to a job that ended without a picture, on POST and on GET alike."""
    return ApiError(500, message or sentences.FAILED, status="failed", job=job_id)


def job_refused(job_id: str, message: str) -> ApiError:
    """The answer of process_result to a job that found its request wrong: once its pictures had been decoded."""
    return ApiError(400, message, "BAD_REQUEST", status="failed", job=job_id)


def internal(request_id: str) -> ApiError:
    """The answer to what nobody expected: no inner words leave the house, the request id leads to them in the log."""
    return ApiError(500, f"Something went wrong here. Request id: {request_id}", "INTERNAL_ERROR")


def unavailable(message: str, retry_after: int, **more: str) -> ApiError:
    """HTTP 503 with Retry-After (seconds): the same request may succeed later."""
    return ApiError(503, message, "SERVICE_UNAVAILABLE", headers={"Retry-After": str(retry_after)}, **more)
