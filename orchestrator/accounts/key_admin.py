"""What an operator does to keys. Every change notifies all servers, in its transaction."""

from collections.abc import Sequence

from orchestrator.accounts import keys
from orchestrator.accounts.admin import NOTIFY, list_accounts
from orchestrator.database.pool import Database, Row
from orchestrator.errors import NotFoundError, PreconditionError

_ADD = f"""
INSERT INTO imagegen.api_keys (account_id, digest, prefix)
SELECT id, %(digest)s, %(prefix)s FROM imagegen.accounts WHERE name = %(name)s
ON CONFLICT (digest) DO NOTHING RETURNING id, prefix, {NOTIFY}
"""  # noqa: S608 - of constants

_FIND = """
SELECT k.id, k.prefix, k.revoked_at, a.name FROM imagegen.api_keys k JOIN imagegen.accounts a ON a.id = k.account_id
WHERE k.digest = %(digest)s
"""

_LIST = """
SELECT k.id, a.name AS account, k.prefix, k.created_at, k.revoked_at
FROM imagegen.api_keys k JOIN imagegen.accounts a ON a.id = k.account_id
WHERE %(name)s::text IS NULL OR a.name = %(name)s ORDER BY a.name, k.id
"""

_MATCH = """
SELECT id, revoked_at FROM imagegen.api_keys
WHERE prefix = %(given)s OR id::text = %(given)s
"""

_REVOKE = f"""
UPDATE imagegen.api_keys SET revoked_at = now() WHERE id = %(id)s AND revoked_at IS NULL RETURNING {NOTIFY}
"""  # noqa: S608 - of constants


async def add(database: Database, account: str, key: str) -> tuple[int, str]:
    """Let a key open an account. The same key again is the same; its id and prefix come back.

    Raises:
        NotFoundError: there is no such account.
        PreconditionError: the key is weak, revoked, or another account's. The message does not show it.
    """
    keys.check(key)
    await list_accounts(database, account)
    digest = keys.digest(key)
    rows = await database.run(_ADD, {"name": account, "digest": digest, "prefix": keys.prefix(key)})
    if not rows:
        rows = await database.run(_FIND, {"digest": digest})
        if rows[0]["name"] != account:
            raise PreconditionError("the key is another account's")
        if rows[0]["revoked_at"] is not None:
            raise PreconditionError("the key has been revoked")
    return rows[0]["id"], rows[0]["prefix"]


async def list_keys(database: Database, account: str | None = None) -> Sequence[Row]:
    """All keys, or an account's: id, account, prefix, created_at, revoked_at.

    Raises:
        NotFoundError: there is no such account.
    """
    if account is not None:
        await list_accounts(database, account)
    return await database.run(_LIST, {"name": account})


async def revoke(database: Database, given: str) -> int:
    """Revoke the key of a prefix or id, at once on all servers; its id comes back. A revoked one is no error.

    Raises:
        NotFoundError: there is none.
        PreconditionError: several have the prefix.
    """
    rows = await database.run(_MATCH, {"given": given})
    if not rows:
        raise NotFoundError("there is no key of this prefix or id")
    if len(rows) > 1:
        raise PreconditionError("several keys have this prefix: give the id")
    await database.run(_REVOKE, {"id": rows[0]["id"]})
    return int(rows[0]["id"])
