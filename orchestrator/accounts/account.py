"""An account, as the rest of the service sees it."""

from dataclasses import dataclass

ANONYMOUS = "anonymous"
"""Account of everybody where keys are not asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Who uses the service.

    Attributes:
        id: in the database.
        name: unique; for logs.
        email: may be empty.
        max_active: jobs that may wait or run at a time; None for no limit.
        requests_per_minute: None for no limit.
        credits_counted: whether pictures cost it credits.
        key_prefix: first characters of the key of this call; None without one.
    """

    id: int
    name: str
    email: str = ""
    max_active: int | None = None
    requests_per_minute: int | None = None
    credits_counted: bool = False
    key_prefix: str | None = None
