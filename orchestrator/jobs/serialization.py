"""Artifacts, errors and events as JSON of the database, and back."""

from dataclasses import dataclass, replace

from pydantic import TypeAdapter

from orchestrator import errors
from orchestrator.errors import (
    ImagegenError,
    InvalidRequestError,
    PreconditionError,
    RetryableError,
    TooManyJobsError,
    Violation,
)
from orchestrator.generation.events import Artifact, Event, Preview, Progress, Started


@dataclass(frozen=True, slots=True, kw_only=True)
class _StoredError:
    """An error of the tree, by the name of its class."""

    kind: str
    message: str
    violations: tuple[Violation, ...] = ()
    retry_after: float | None = None
    limit: int | None = None
    active: int | None = None


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event as a row of imagegen.events: its kind, the rest of it as JSON, and a preview's JPEG."""

    kind: str
    payload: str
    data: bytes | None


@dataclass(frozen=True, slots=True)
class _StoredPreview:
    step: int


_ARTIFACT = TypeAdapter(Artifact)
_ERROR = TypeAdapter(_StoredError)
_STARTED, _PROGRESS, _PREVIEW = TypeAdapter(Started), TypeAdapter(Progress), TypeAdapter(_StoredPreview)

_ERRORS = {
    kind.__name__: kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, ImagegenError)
}


def dump_artifact(artifact: Artifact) -> str:
    """JSON of an artifact without its bytes, which are in the result store."""
    return _ARTIFACT.dump_json(replace(artifact, data=None)).decode()


def load_artifact(text: str) -> Artifact:
    """The artifact of dump_artifact."""
    return _ARTIFACT.validate_json(text)


def dump_error(error: ImagegenError) -> str:
    """JSON of an error. Its cause and its traceback are for the log of the process where it happened."""
    stored = _StoredError(
        kind=type(error).__name__,
        message=str(error),
        violations=error.violations,
        retry_after=error.retry_after if isinstance(error, RetryableError) else None,
        limit=error.limit if isinstance(error, TooManyJobsError) else None,
        active=error.active if isinstance(error, TooManyJobsError) else None,
    )
    return _ERROR.dump_json(stored, exclude_defaults=True).decode()


def load_error(text: str) -> ImagegenError:
    """The error of dump_error. A class that this version does not know comes as ImagegenError."""
    stored = _ERROR.validate_json(text)
    kind = _ERRORS.get(stored.kind, ImagegenError)
    if kind is InvalidRequestError:
        return InvalidRequestError(*stored.violations)
    if kind is PreconditionError and stored.violations:
        return PreconditionError(stored.violations[0])
    if kind is TooManyJobsError:
        return TooManyJobsError(stored.limit or 0, stored.active or 0)
    if issubclass(kind, RetryableError) and stored.retry_after is not None:
        return kind(stored.message, retry_after=stored.retry_after)
    return kind(stored.message)


def dump_event(event: Event) -> StoredEvent | None:
    """The row of an event; None without one: places in the queue are counted again, an artifact is the job's end."""
    match event:
        case Started():
            return StoredEvent("started", _STARTED.dump_json(event).decode(), None)
        case Progress():
            return StoredEvent("progress", _PROGRESS.dump_json(event).decode(), None)
        case Preview():
            return StoredEvent("preview", _PREVIEW.dump_json(_StoredPreview(event.step)).decode(), event.jpeg)
        case _:
            return None


def load_event(stored: StoredEvent) -> Event | None:
    """The event of a row; None for a kind that this version does not know."""
    match stored.kind:
        case "started":
            return _STARTED.validate_json(stored.payload)
        case "progress":
            return _PROGRESS.validate_json(stored.payload)
        case "preview":
            return Preview(stored.data or b"", _PREVIEW.validate_json(stored.payload).step)
        case _:
            return None
