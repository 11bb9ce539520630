"""The current status of an account."""

from dataclasses import dataclass
from decimal import Decimal

from orchestrator.accounts.account import COLUMNS, Account, to_account
from orchestrator.database.pool import Database
from orchestrator.errors import ApiKeyUnknownError

_READ = f"""
SELECT {COLUMNS}, %(key_prefix)s::text AS key_prefix, a.credits, a.webhook_secret, a.webhook_url,
       ARRAY(SELECT p.name FROM imagegen.presets p WHERE p.account_id = a.id ORDER BY p.name) AS presets,
       (SELECT count(*) FROM imagegen.jobs j WHERE j.account_id = a.id AND j.state IN ('queued', 'running'))
       + (SELECT count(*) FROM imagegen.leases l WHERE l.account_id = a.id AND l.expires_at > now()) AS active
FROM imagegen.accounts a WHERE a.id = %(account_id)s AND NOT a.disabled
"""  # noqa: S608 - of constants


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountStatus:
    """What changes about an account, and its secret.

    Attributes:
        account: as it is now.
        credits: that are left; None where they are not counted.
        active: its jobs that wait and run. Generate streams count where the account is limited.
        webhook_secret: key of its webhooks' signatures.
        webhook_url: the webhook of jobs whose request names none.
        presets: names of its own.
    """

    account: Account
    credits: Decimal | None
    active: int
    webhook_secret: bytes
    webhook_url: str | None = None
    presets: tuple[str, ...] = ()


async def read(database: Database, account: Account) -> AccountStatus:
    """Read the status of an account.

    Raises:
        ApiKeyUnknownError: it was disabled meanwhile.
        DatabaseUnavailableError: the database does not answer.
    """
    rows = await database.run(_READ, {"account_id": account.id, "key_prefix": account.key_prefix})
    if not rows:
        raise ApiKeyUnknownError("the API key is not known")
    row = rows[0]
    return AccountStatus(
        account=to_account(row),
        credits=row["credits"],
        active=row["active"],
        webhook_secret=bytes(row["webhook_secret"]),
        webhook_url=row["webhook_url"],
        presets=tuple(row["presets"]),
    )
