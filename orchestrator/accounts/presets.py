"""Presets of accounts: parameters of the REST API under a name. What they mean is the gateway's matter."""

import json
import re
from collections.abc import Mapping, Sequence

from orchestrator.accounts.admin import account_id
from orchestrator.database.pool import Database, Row
from orchestrator.errors import NotFoundError, PreconditionError

MAX_BYTES = 64 * 1024
"""Of a preset's JSON."""
NAME = re.compile(r"[a-z0-9_]{1,64}")
_NOT_IN_PRESETS = ("preset", "url", "target", "webhooks")
"""What one request alone can say."""

_FIND = "SELECT document::text AS document FROM imagegen.presets WHERE account_id = %(account_id)s AND name = %(name)s"
_LIST = """
SELECT a.name AS account, p.name, octet_length(p.document::text) AS bytes, p.updated_at
FROM imagegen.presets p JOIN imagegen.accounts a ON a.id = p.account_id
WHERE %(account)s::text IS NULL OR a.name = %(account)s ORDER BY a.name, p.name
"""
_SET = """
INSERT INTO imagegen.presets (account_id, name, document) VALUES (%(account_id)s, %(name)s, %(document)s::jsonb)
ON CONFLICT (account_id, name) DO UPDATE SET document = excluded.document, updated_at = now()
"""
_REMOVE = "DELETE FROM imagegen.presets WHERE account_id = %(account_id)s AND name = %(name)s RETURNING name"


async def find(database: Database, account: int, name: str) -> str:
    """The JSON of an account's preset.

    Raises:
        NotFoundError: it has none of that name.
        DatabaseUnavailableError: the database does not answer.
    """
    is_name = NAME.fullmatch(name) is not None
    rows = await database.run(_FIND, {"account_id": account, "name": name}) if is_name else []
    if not rows:
        raise NotFoundError("the account has no preset of that name")
    return str(rows[0]["document"])


async def names(database: Database, account: str | None) -> Sequence[Row]:
    """All presets, or those of an account: account, name, bytes, updated_at.

    Raises:
        NotFoundError: there is no such account.
    """
    if account is not None:
        await account_id(database, account)
    return await database.run(_LIST, {"account": account})


async def put(database: Database, account: str, name: str, text: str) -> None:
    """Give an account a preset, in place of the one of that name.

    Raises:
        NotFoundError: there is no such account.
        PreconditionError: the name or the JSON has another form.
    """
    if not NAME.fullmatch(name):
        raise PreconditionError("a preset's name is 1 to 64 characters of a-z 0-9 _")
    if fault := _fault(text):
        raise PreconditionError(f"preset {name}: {fault}")
    number = await account_id(database, account)
    await database.run(_SET, {"account_id": number, "name": name, "document": text})


async def remove(database: Database, account: str, name: str) -> None:
    """Take a preset from an account.

    Raises:
        NotFoundError: there is no such account, or it has no such preset.
    """
    if not await database.run(_REMOVE, {"account_id": await account_id(database, account), "name": name}):
        raise NotFoundError(f"{account} has no preset {name}")


def _fault(text: str) -> str | None:
    if len(text.encode()) > MAX_BYTES:
        return f"it has more than {MAX_BYTES} bytes"
    if "\\u0000" in text:
        return "it has a NUL character"
    try:
        document = json.loads(text)
    except ValueError as error:
        return f"it is not JSON: {error}"
    if not isinstance(document, Mapping):
        return "it must be a JSON object of parameters"
    return next((f"it may not have {name}" for name in _NOT_IN_PRESETS if name in document), None)
