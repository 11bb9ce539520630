"""An account, as the rest of the service sees it."""

from dataclasses import dataclass
from enum import StrEnum

from orchestrator.database.pool import Row

ANONYMOUS = "anonymous"
"""Account of everybody where keys are not asked for."""

COLUMNS = (
    "a.id, a.name, a.email, a.max_active, a.requests_per_minute, a.safety, a.credits IS NOT NULL AS credits_counted"
)
"""What to_account reads, of accounts a; and key_prefix, of a key."""


class SafetyPolicy(StrEnum):
    """When the safety filter checks an account's pictures."""

    AS_ASKED = "as_asked"
    DEFAULT = "default"
    REQUIRED = "required"


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
        safety: when the safety filter checks its pictures.
        key_prefix: first characters of the key of this call; None without one.
    """

    id: int
    name: str
    email: str = ""
    max_active: int | None = None
    requests_per_minute: int | None = None
    credits_counted: bool = False
    safety: SafetyPolicy = SafetyPolicy.AS_ASKED
    key_prefix: str | None = None

    @property
    def is_limited(self) -> bool:
        """Whether the database has to be asked before it may do anything."""
        return self.max_active is not None or self.requests_per_minute is not None or self.credits_counted


def to_account(row: Row) -> Account:
    """The account of a row of COLUMNS and key_prefix."""
    return Account(
        id=row["id"],
        name=row["name"],
        email=row["email"],
        max_active=row["max_active"],
        requests_per_minute=row["requests_per_minute"],
        credits_counted=row["credits_counted"],
        safety=SafetyPolicy(row["safety"]),
        key_prefix=row["key_prefix"],
    )
