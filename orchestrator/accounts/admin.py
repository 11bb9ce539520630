"""What an operator does to accounts. Every change notifies all servers, in its transaction."""

import re
import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime

from orchestrator.database.listen import ACCOUNTS
from orchestrator.database.pool import Database, Row
from orchestrator.errors import NotFoundError, PreconditionError

SETTABLE = (
    "email",
    "max_active",
    "max_stored_bytes",
    "requests_per_minute",
    "credits",
    "source_hosts",
    "safety",
    "disabled",
    "webhook_url",
    "webhook_events",
)
"""Columns that `change` may set."""
NAME = re.compile(r"[A-Za-z0-9._@-]{1,64}")
"""Form of an account's name."""

NOTIFY = f"pg_notify('{ACCOUNTS}', '')"
"""Selected by each statement that changes something. PostgreSQL sends it when the transaction commits."""

_CREATE = f"""
INSERT INTO imagegen.accounts (name, email) VALUES (%(name)s, %(email)s) ON CONFLICT (name) DO NOTHING
RETURNING id, {NOTIFY}
"""  # noqa: S608 - of constants

_LIST = """
SELECT a.name, a.email, a.disabled, a.created_at, a.max_active, a.max_stored_bytes, a.requests_per_minute,
       a.credits, a.source_hosts, a.safety, a.webhook_url, a.webhook_events,
       greatest(0, coalesce((SELECT bytes FROM imagegen.stored_bytes s WHERE s.account_id = a.id), 0)) AS stored_bytes,
       (SELECT count(*) FROM imagegen.api_keys k WHERE k.account_id = a.id AND k.revoked_at IS NULL) AS keys,
       (SELECT count(*) FROM imagegen.jobs j WHERE j.account_id = a.id AND j.state IN ('queued', 'running'))
       + (SELECT count(*) FROM imagegen.leases l WHERE l.account_id = a.id AND l.expires_at > now()) AS active
FROM imagegen.accounts a WHERE %(name)s::text IS NULL OR a.name = %(name)s ORDER BY a.name
"""

_USAGE = """
SELECT u.task, u.family, count(*) AS pictures, sum(u.price) AS credits, max(u.at) AS last
FROM imagegen.usage u JOIN imagegen.accounts a ON a.id = u.account_id
WHERE a.name = %(name)s AND (%(since)s::timestamptz IS NULL OR u.at >= %(since)s)
GROUP BY u.task, u.family ORDER BY u.task, u.family
"""

_SECRET = "SELECT webhook_secret FROM imagegen.accounts WHERE name = %(name)s"  # noqa: S105 - a statement
_ROTATE = """
UPDATE imagegen.accounts
SET webhook_secret = %(secret)s, webhook_secret_before = webhook_secret,
    webhook_secret_before_until = now() + make_interval(secs => %(overlap)s)
WHERE name = %(name)s RETURNING webhook_secret
"""


async def create(database: Database, name: str, *, email: str = "", exist_ok: bool = False) -> bool:
    """Create an account without limits. Returns whether it was created.

    Args:
        database: of the accounts.
        name: 1 to 64 characters of A-Z a-z 0-9 . _ @ -.
        email: kept where the account exists.
        exist_ok: whether it may exist already.

    Raises:
        PreconditionError: it exists, or the name has another form.
    """
    if not NAME.fullmatch(name):
        raise PreconditionError("an account's name is 1 to 64 characters of A-Z a-z 0-9 . _ @ -")
    created = bool(await database.run(_CREATE, {"name": name, "email": email}))
    if not created and not exist_ok:
        raise PreconditionError(f"there is an account {name} already")
    return created


async def change(database: Database, name: str, values: Mapping[str, object]) -> None:
    """Set columns of SETTABLE; None clears a limit.

    Raises:
        NotFoundError: there is no such account.
    """
    setters = ", ".join(f"{column} = %({column})s" for column in SETTABLE if column in values)
    sql = f"UPDATE imagegen.accounts SET {setters} WHERE name = %(account)s RETURNING {NOTIFY}"  # noqa: S608 - of constants
    if not await database.run(sql, {**values, "account": name}):
        raise _no_account(name)


async def list_accounts(database: Database, name: str | None = None) -> Sequence[Row]:
    """All accounts, or the one of that name: name, email, disabled, created_at, limits, credits, keys, active.

    Raises:
        NotFoundError: there is no such account.
    """
    rows = await database.run(_LIST, {"name": name})
    if name is not None and not rows:
        raise _no_account(name)
    return rows


async def usage(database: Database, name: str, since: datetime | None = None) -> Sequence[Row]:
    """What was generated for an account since then: task, family, pictures, credits, last.

    Raises:
        NotFoundError: there is no such account.
    """
    await list_accounts(database, name)
    return await database.run(_USAGE, {"name": name, "since": since})


async def webhook_secret(database: Database, name: str, *, rotate: bool = False, overlap_seconds: float = 0.0) -> bytes:
    """The secret of an account's webhooks, 32 bytes; a new one, if it is to be rotated.

    For `overlap_seconds` webhooks are then signed with the old one as well.

    Raises:
        NotFoundError: there is no such account.
    """
    new = {"secret": secrets.token_bytes(32), "overlap": overlap_seconds}
    rows = await database.run(_ROTATE if rotate else _SECRET, {"name": name, **new})
    if not rows:
        raise _no_account(name)
    return bytes(rows[0]["webhook_secret"])


async def account_id(database: Database, name: str) -> int:
    """The number of an account.

    Raises:
        NotFoundError: there is no such account.
    """
    rows = await database.run("SELECT id FROM imagegen.accounts WHERE name = %(name)s", {"name": name})
    if not rows:
        raise _no_account(name)
    return int(rows[0]["id"])


def _no_account(name: str) -> NotFoundError:
    return NotFoundError(f"there is no account {name}")
