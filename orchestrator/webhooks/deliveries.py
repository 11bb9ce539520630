"""Deliveries of webhooks as an account sees them: a list, and sending one again."""

from dataclasses import dataclass
from datetime import datetime

from orchestrator.database.pool import Database, Row
from orchestrator.errors import NotFoundError
from orchestrator.jobs.records import WebhookState

_COLUMNS = """
    d.id, d.job_id, d.url, d.created_at, d.state, d.attempts, d.last_status, d.last_error, d.next_at, d.delivered_at
"""

_LIST = f"""
SELECT {_COLUMNS} FROM imagegen.deliveries d
WHERE d.account_id = %(account_id)s
  AND (%(state)s::text IS NULL OR d.state = %(state)s)
  AND (%(created)s::timestamptz IS NULL OR (d.created_at, d.id) < (%(created)s, %(id)s))
ORDER BY d.created_at DESC, d.id DESC LIMIT %(page_size)s
"""  # noqa: S608 - of constants

# An attempt that is under way settles nothing any more: attempts_before is part of its guard (delivery.py).
_RESEND = f"""
UPDATE imagegen.deliveries d
SET state = 'pending', next_at = now(), delivered_at = NULL, attempts_before = d.attempts
WHERE d.id = %(id)s AND d.account_id = %(account_id)s
RETURNING {_COLUMNS}, pg_notify('imagegen_deliveries', '')
"""  # noqa: S608 - of constants


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A delivery: its id, the job that ended, where it is sent, since when, and what became of it."""

    id: str
    job_id: str
    url: str
    created: datetime
    state: WebhookState


class Deliveries:
    """The deliveries of accounts. All methods raise DatabaseUnavailableError while the database does not answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list_deliveries(
        self, account_id: int, page_size: int, after: tuple[datetime, str] | None = None, state: str | None = None
    ) -> list[Delivery]:
        """At most `page_size` deliveries of an account, newest first, those created before `after`: (created, id).

        `state` is pending, delivered or failed; None for any.
        """
        created, delivery_id = after or (None, None)
        keys = {"account_id": account_id, "page_size": page_size, "created": created, "id": delivery_id}
        return [_to_delivery(row) for row in await self._database.run(_LIST, keys | {"state": state})]

    async def resend(self, account_id: int, delivery_id: str) -> Delivery:
        """Send a delivery again, now, whatever became of it.

        Raises:
            NotFoundError: the account has none of that id.
        """
        rows = await self._database.run(_RESEND, {"account_id": account_id, "id": delivery_id})
        if not rows:
            raise NotFoundError("no such delivery")
        return _to_delivery(rows[0])


def _to_delivery(row: Row) -> Delivery:
    return Delivery(
        id=row["id"],
        job_id=row["job_id"],
        url=row["url"],
        created=row["created_at"],
        state=WebhookState(
            state=row["state"],
            attempts=row["attempts"],
            last_status=row["last_status"],
            last_error=row["last_error"],
            next_at=row["next_at"] if row["state"] == "pending" else None,
            delivered_at=row["delivered_at"],
        ),
    )
