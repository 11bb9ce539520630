"""Accounts and keys for tests, made as an operator makes them."""

from orchestrator.accounts import admin, key_admin, keys
from orchestrator.database.pool import Database


async def new_key(url: str, name: str, **limits: object) -> str:
    """A key of an account, which is made if it is not there; `limits` are columns of accounts."""
    database, key = Database(url), keys.make()
    await database.open()
    try:
        await admin.create(database, name, exist_ok=True)
        if limits:
            await admin.change(database, name, limits)
        await key_admin.add(database, name, key)
    finally:
        await database.close()
    return key
