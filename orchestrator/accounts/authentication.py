"""Who calls: API keys, looked up in the database and remembered for a while."""

import hmac
import time
from collections.abc import Callable

from cachetools import TTLCache

from orchestrator.accounts import keys
from orchestrator.accounts.account import Account
from orchestrator.accounts.lookups import NOBODY, Lookups
from orchestrator.database.pool import Database
from orchestrator.errors import ApiKeyMissingError, ApiKeyUnknownError

KNOWN_SECONDS = 30.0
"""For which a key is remembered: a revoked one opens nothing after that, even where no notification came."""
UNKNOWN_SECONDS = 5.0
"""For which it is remembered that a key is nobody's."""
MAX_REMEMBERED = 10_000
"""Keys of either sort that are remembered, the newest; about 3 MB."""


class Accounts:
    """Accounts by their keys.

    A call is answered from memory for KNOWN_SECONDS, also while the database is unreachable. `forget` drops the memory:
    have it called on every notification of database.listen.ACCOUNTS.
    """

    def __init__(self, database: Database, *, anonymous: bool, clock: Callable[[], float] = time.monotonic) -> None:
        """Nothing is read yet.

        Args:
            database: of the keys.
            anonymous: whether calls without a key belong to the account `anonymous`; else they are refused.
            clock: seconds, for how long something was remembered.
        """
        self._lookups, self._anonymous = Lookups(database), anonymous
        self._known: TTLCache[bytes, tuple[bytes, Account]] = TTLCache(MAX_REMEMBERED, KNOWN_SECONDS, clock)
        self._unknown: TTLCache[bytes, bool] = TTLCache(MAX_REMEMBERED, UNKNOWN_SECONDS, clock)
        self._changes = 0

    async def authenticate(self, key: str | None) -> Account:
        """The account of a key.

        Raises:
            ApiKeyMissingError: no key was given, and one is needed.
            ApiKeyUnknownError: the key is nobody's, or revoked, or its account disabled.
            DatabaseUnavailableError: the key is not in memory, and the database does not answer.
            QueueFullError: too many unknown keys come at once.
        """
        if not key:
            return await self._nobody()
        if len(key) > keys.MAX_LENGTH:
            raise _unknown()
        account = await self._find(keys.digest(key))
        if account is None:
            raise _unknown()
        return account

    def forget(self, _payload: str | None = None) -> None:
        """Keys or accounts have changed, or may have: look everything up again."""
        self._changes += 1
        self._known.clear()
        self._unknown.clear()
        self._lookups.forget()

    async def close(self) -> None:
        """Give up what is looked up."""
        await self._lookups.close()

    async def _nobody(self) -> Account:
        account = await self._find(NOBODY) if self._anonymous else None
        if account is None:
            raise ApiKeyMissingError("no API key; send one as x-api-key")
        return account

    async def _find(self, digest: bytes) -> Account | None:
        # What the comparison of a dictionary's keys leaks by its time is bits of a SHA-256, from which no key follows;
        # the whole is compared in constant time nevertheless.
        known = self._known.get(digest)
        if known is not None and hmac.compare_digest(known[0], digest):
            return known[1]
        if digest in self._unknown:
            return None
        changes = self._changes
        account = await self._lookups.find(digest)
        if changes == self._changes:  # else it may be old already
            if account is None:
                self._unknown[digest] = True
            else:
                self._known[digest] = digest, account
        return account


def _unknown() -> ApiKeyUnknownError:
    return ApiKeyUnknownError("the API key is not known")
