"""Everything that can go wrong, as one tree. Imports nothing; the edges own the tables to gRPC and HTTP.

ImagegenError
├── InvalidRequestError          the request is wrong; each violation names a field
├── UnsupportedTaskError         a task that this build or family does not serve
├── ApiKeyMissingError           no API key
├── ApiKeyUnknownError           an API key that no account has
├── NotFoundError                no such job or result
├── PreconditionError            the request is right in form, and cannot be met
├── FilteredError                the safety filter stopped the picture
├── RetryableError               the same request may succeed after retry_after seconds
│   ├── QueueFullError           more waits than may wait
│   ├── DeadlineUnreachableError the picture would be finished after the request's deadline
│   ├── TooManyJobsError         the account has as many jobs as it may have at a time
│   ├── RateLimitedError         the account has sent as many requests as it may
│   ├── ResultsFullError         the account has as many bytes of pictures stored as it may
│   ├── DatabaseUnavailableError the database does not answer
│   ├── ResultStoreUnavailableError  the result store, or a storage of the account, does not answer
│   ├── ShuttingDownError        this server takes no new work
│   ├── SignerUnavailableError   what signs manifests does not answer
│   └── EngineUnavailableError   Triton, or a model in it, does not answer
├── MessageLateError             the message did not arrive in time
├── CorruptResultError           a stored picture is not what was stored
├── NotEnoughCreditsError        the account cannot pay for it
├── PoisonJobError               a job that crashes the process that runs it
├── AttemptTimeoutError          a job that runs longer than it may, again and again
├── EngineFaultError             Triton answered with an error, or with a wrong tensor
│   └── EngineRefusedError       a model does not take the tensors of this request; others are not concerned
├── FamilyConfigError            families.toml or a model folder is wrong (at start)
└── CancelledByClientError       the client stopped the work
    └── AttemptLostError         the job was cancelled, or another process has it
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from dataclasses import field as default
from enum import StrEnum

MAX_VIOLATIONS = 16
"""Wrong fields that an error names."""
MAX_ECHO = 100
"""Characters of a client's own text that an error repeats."""
MAX_TEXT = 300
"""Characters of a description."""

# As repr writes one; its end may be cut off.
_QUOTED = re.compile(r"""(?<!\w)(?P<quote>['"])(?P<text>(?:\\.|(?!(?P=quote)).)*)(?:(?P=quote)|\Z)""", re.DOTALL)
_WORD = re.compile(rf"(\S{{{MAX_ECHO}}})\S+")


class Reason(StrEnum):
    """What kind of fault a violation is; ViolationReason in the schema says what each means."""

    UNSPECIFIED = "unspecified"
    REQUIRED = "required"
    BELOW_MINIMUM = "below_minimum"
    ABOVE_MAXIMUM = "above_maximum"
    TOO_MANY_PIXELS = "too_many_pixels"
    UNIDENTIFIED_IMAGE = "unidentified_image"
    NOT_IN_PICTURE = "not_in_picture"
    STORAGE_UNKNOWN = "storage_unknown"
    STORAGE_CREDENTIALS = "storage_credentials"
    STORAGE_PERMISSION = "storage_permission"
    STORAGE_MISSING = "storage_missing"
    STORAGE_FOLDER = "storage_folder"
    STORAGE_PATH_REQUIRED = "storage_path_required"
    STORAGE_TOKEN = "storage_token"  # noqa: S105 - the name of a fault
    STORAGE_NOT_IMAGE = "storage_not_image"


@dataclass(frozen=True, slots=True)
class Violation:
    """One wrong field.

    Attributes:
        field: its path in GenerateRequest ("size.width").
        description: what is wrong and what is accepted; continues a sentence that begins with the field's name.
        reason: what kind of fault it is.
        limits: what the field takes: "minimum", "maximum", "max_pixels".
    """

    field: str
    description: str
    reason: Reason = Reason.UNSPECIFIED
    limits: Mapping[str, float] = default(default_factory=dict, hash=False)

    def within(self, parent: str) -> "Violation":
        """The same, its path continued from a message around it."""
        return replace(self, field=f"{parent}.{self.field}")


class ImagegenError(Exception):
    """Root of the tree. Its message is written for the client, unless the class says otherwise.

    Attributes:
        violations: the request's fields that are wrong; empty where the request is not at fault.
    """

    violations: tuple[Violation, ...] = ()


def _listed(violations: tuple[Violation, ...]) -> str:
    return "; ".join(f"{v.field}: {v.description}" for v in violations)


class InvalidRequestError(ImagegenError):
    """The request is wrong. `violations` lists the wrong fields that were found, MAX_VIOLATIONS at most."""

    def __init__(self, *violations: Violation) -> None:
        self.violations = tuple(_shorten(violation) for violation in violations[:MAX_VIOLATIONS])
        more = len(violations) - len(self.violations)
        listed = _listed(self.violations)
        super().__init__(f"{listed}; and {more} more fields" if more else listed)


class UnsupportedTaskError(ImagegenError):
    """A task that this build or this family does not serve."""


class ApiKeyMissingError(ImagegenError):
    """No API key came with the call."""


class ApiKeyUnknownError(ImagegenError):
    """The API key belongs to no account."""


class NotFoundError(ImagegenError):
    """No such job or result, or not this account's."""


class PreconditionError(ImagegenError):
    """The request is right in form, and cannot be met: because of a field, or, of a command, for a reason in words."""

    def __init__(self, said: Violation | str) -> None:
        self.violations = (_shorten(said),) if isinstance(said, Violation) else ()
        super().__init__(said if isinstance(said, str) else _listed(self.violations))


class FilteredError(ImagegenError):
    """The safety filter stopped the picture, and the request names none in its place."""


class RetryableError(ImagegenError):
    """The same request may succeed later. `retry_after` is in seconds."""

    def __init__(self, message: str, *, retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class QueueFullError(RetryableError):
    """More requests wait than may wait."""


class DeadlineUnreachableError(RetryableError):
    """The picture would be finished after the request's deadline."""


class TooManyJobsError(RetryableError):
    """The account has as many jobs as it may have at a time: `active` of `limit`."""

    def __init__(self, limit: int, active: int) -> None:
        super().__init__(f"the account has {active} jobs that wait or run, and may have {limit} at a time")
        self.limit, self.active = limit, active


class RateLimitedError(RetryableError):
    """The account has sent as many requests as it may in a minute."""


class ResultsFullError(RetryableError):
    """The account has as many bytes of pictures stored as it may."""


class DatabaseUnavailableError(RetryableError):
    """The database does not answer."""


class ResultStoreUnavailableError(RetryableError):
    """The result store, or a storage of the account, does not answer."""


class ShuttingDownError(RetryableError):
    """This server is stopping and takes no new work."""


class SignerUnavailableError(RetryableError):
    """What signs manifests, or stamps them with a time, does not answer."""


class EngineUnavailableError(RetryableError):
    """Triton, or a model in it, does not answer."""


class MessageLateError(ImagegenError):
    """The message of a call did not arrive in time."""


class CorruptResultError(ImagegenError):
    """A stored picture is not the one that was stored: bytes are others, or missing."""


class NotEnoughCreditsError(ImagegenError):
    """The account cannot pay for what it asks for."""


class PoisonJobError(ImagegenError):
    """Processes crashed while they ran the job and nothing else, as often as they may."""


class AttemptTimeoutError(ImagegenError):
    """An attempt at the job ran longer than it may."""


class EngineFaultError(ImagegenError):
    """Triton answered with an error, or with a wrong tensor. The message is for the log, not for the client."""


class EngineRefusedError(EngineFaultError):
    """A model does not take the tensors of this request (INVALID_ARGUMENT). The engine works for other requests."""


class FamilyConfigError(ImagegenError):
    """families.toml or a model folder is wrong. The message is for the operator."""


class CancelledByClientError(ImagegenError):
    """The client stopped the work."""


class AttemptLostError(CancelledByClientError):
    """The job is not this attempt's any more: it was cancelled, or another process has it."""

    def __init__(self, message: str = "the job no longer belongs to this attempt") -> None:
        super().__init__(message)


def ended_by_client(error: BaseException) -> bool:
    """Whether work ended because of what its client did or asked for, and not of a fault here."""
    stopped = isinstance(error, CancelledByClientError) and not isinstance(error, AttemptLostError)
    return stopped or isinstance(error, InvalidRequestError | PreconditionError)


def shorten(text: str) -> str:
    """A text for a client, bounded: MAX_ECHO characters of each quotation and each word, MAX_TEXT in all."""
    if len(text) <= MAX_ECHO:
        return text
    cut = _WORD.sub(r"\1…", _QUOTED.sub(_shorten_quotation, text[: 2 * MAX_TEXT]))
    return cut if len(cut) <= MAX_TEXT else f"{cut[: MAX_TEXT - 1]}…"


def _shorten(violation: Violation) -> Violation:
    return replace(violation, field=shorten(violation.field), description=shorten(violation.description))


def _shorten_quotation(found: re.Match[str]) -> str:
    quote, text = found["quote"], found["text"]
    return found[0] if len(text) <= MAX_ECHO else f"{quote}{text[:MAX_ECHO]}…{quote}"
