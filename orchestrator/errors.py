"""Everything that can go wrong, as one tree. Imports nothing; the edges own the tables to gRPC and HTTP.

ImagegenError
├── InvalidRequestError          the request is wrong; each violation names a field
├── UnsupportedTaskError         a task that this build or family does not serve
├── ApiKeyMissingError           no API key
├── ApiKeyUnknownError           an API key that no account has
├── NotFoundError                no such job or result
├── PreconditionError            the request is right in form, and cannot be met
├── RetryableError               the same request may succeed after retry_after seconds
│   ├── QueueFullError           more waits than may wait
│   ├── TooManyJobsError         the account has as many jobs as it may have at a time
│   ├── RateLimitedError         the account has sent as many requests as it may
│   ├── DatabaseUnavailableError the database does not answer
│   ├── ResultStoreUnavailableError  the result store, or a storage of the account, does not answer
│   ├── ShuttingDownError        this server takes no new work
│   └── EngineUnavailableError   Triton, or a model in it, does not answer
├── NotEnoughCreditsError        the account cannot pay for it
├── PoisonJobError               a job under which its workers died
├── EngineFaultError             Triton answered with an error, or with a wrong tensor
├── FamilyConfigError            families.toml or a model folder is wrong (at start)
├── SettingsError                an environment variable is wrong (at start)
└── CancelledByClientError       the client stopped the work
"""

from dataclasses import dataclass


class ImagegenError(Exception):
    """Root of the tree. Its message is written for the client, unless the class says otherwise."""


@dataclass(frozen=True, slots=True)
class Violation:
    """One wrong field: its path in GenerateRequest ("size.width") and what is wrong with it."""

    field: str
    description: str


class InvalidRequestError(ImagegenError):
    """The request is wrong. `violations` lists every wrong field that was found."""

    def __init__(self, *violations: Violation) -> None:
        super().__init__("; ".join(f"{v.field}: {v.description}" for v in violations))
        self.violations = violations


class UnsupportedTaskError(ImagegenError):
    """A task that this build or this family does not serve."""


class ApiKeyMissingError(ImagegenError):
    """No API key came with the call."""


class ApiKeyUnknownError(ImagegenError):
    """The API key belongs to no account."""


class NotFoundError(ImagegenError):
    """No such job or result, or not this account's."""


class PreconditionError(ImagegenError):
    """The request is right in form, and cannot be met."""


class RetryableError(ImagegenError):
    """The same request may succeed later. `retry_after` is in seconds."""

    def __init__(self, message: str, *, retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class QueueFullError(RetryableError):
    """More requests wait than may wait."""


class TooManyJobsError(RetryableError):
    """The account has as many jobs as it may have at a time: `active` of `limit`."""

    def __init__(self, limit: int, active: int) -> None:
        super().__init__(f"the account has {active} jobs that wait or run, and may have {limit} at a time")
        self.limit, self.active = limit, active


class RateLimitedError(RetryableError):
    """The account has sent as many requests as it may in a minute."""


class DatabaseUnavailableError(RetryableError):
    """The database does not answer."""


class ResultStoreUnavailableError(RetryableError):
    """The result store, or a storage of the account, does not answer."""


class ShuttingDownError(RetryableError):
    """This server is stopping and takes no new work."""


class EngineUnavailableError(RetryableError):
    """Triton, or a model in it, does not answer."""


class NotEnoughCreditsError(ImagegenError):
    """The account cannot pay for what it asks for."""


class PoisonJobError(ImagegenError):
    """Workers died under the job as often as they may."""


class EngineFaultError(ImagegenError):
    """Triton answered with an error, or with a wrong tensor. The message is for the log, not for the client."""


class FamilyConfigError(ImagegenError):
    """families.toml or a model folder is wrong. The message is for the operator."""


class SettingsError(ImagegenError):
    """An environment variable is wrong. The message is for the operator and names the variable."""


class CancelledByClientError(ImagegenError):
    """The client stopped the work."""
