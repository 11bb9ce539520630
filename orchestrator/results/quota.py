"""How many bytes of pictures may be stored: of an account, and in all.

Pictures whose time is over do not count, swept or not. What is stored is read once a second at most; pictures that are
generated at that moment may pass a limit by their own size.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestrator import metrics
from orchestrator.database.pool import Database
from orchestrator.errors import ResultsFullError, ResultStoreUnavailableError

FRESH_SECONDS = 1.0
"""How long a total that was read is used."""
MAX_RETRY_SECONDS = 3600.0
"""Longest RetryInfo of a refused client."""

_STORED = """
WITH over AS (
    SELECT account_id, sum(size) AS bytes FROM imagegen.results
    WHERE expires_at <= now() AND size IS NOT NULL AND media_type LIKE 'image/%%' GROUP BY account_id
), stored AS (
    SELECT a.id, s.bytes - coalesce(over.bytes, 0) AS bytes, coalesce(a.max_stored_bytes, %(most)s::bigint) AS most
    FROM imagegen.stored_bytes s JOIN imagegen.accounts a ON a.id = s.account_id
    LEFT JOIN over ON over.account_id = s.account_id
)
SELECT coalesce(sum(bytes), 0)::bigint AS total,
       coalesce(jsonb_object_agg(id, jsonb_build_array(bytes, most)) FILTER (WHERE bytes >= most), '{}') AS at_limit
FROM stored
"""

_NEXT = """
SELECT extract(epoch FROM min(expires_at) - now())::float8 AS seconds FROM imagegen.results
WHERE expires_at > now() AND size IS NOT NULL AND (account_id = %(account)s OR %(account)s IS NULL)
"""


@dataclass(slots=True)
class Quota:
    """The limits, and what counts against them.

    Attributes:
        database: knows what is stored.
        max_bytes: of all accounts together.
        max_account_bytes: of an account that has no limit of its own (accounts.max_stored_bytes).
    """

    database: Database
    max_bytes: int
    max_account_bytes: int
    _read_at: float = field(default=float("-inf"), init=False)
    _total: int = field(default=0, init=False)
    _full: Mapping[str, Any] = field(default_factory=dict, init=False)

    async def check(self, account_id: int) -> None:
        """Look whether an account may have another picture stored.

        Raises:
            ResultsFullError: it has as many bytes stored as it may.
            ResultStoreUnavailableError: all accounts together have.
            DatabaseUnavailableError: nobody knows.
        """
        await self._read()
        if (found := self._full.get(str(account_id))) is not None:
            bytes_, most = found
            raise ResultsFullError(
                f"the account has {bytes_} bytes of images stored, and may have {most}: "
                "delete jobs that it does not need any more, or wait until images expire",
                retry_after=await self._next(account_id),
            )
        if self._total >= self.max_bytes:
            raise ResultStoreUnavailableError(
                f"the result store is full: {self._total} of {self.max_bytes} bytes", retry_after=await self._next(None)
            )

    async def _read(self) -> None:
        if time.monotonic() - self._read_at < FRESH_SECONDS:
            return
        (row,) = await self.database.run(_STORED, {"most": self.max_account_bytes})
        self._total, self._full, self._read_at = row["total"], row["at_limit"], time.monotonic()
        metrics.RESULTS_STORED.set(self._total)

    async def _next(self, account_id: int | None) -> float:
        """Seconds until a picture expires, of the account or of any."""
        (row,) = await self.database.run(_NEXT, {"account": account_id})
        return min(max(row["seconds"] or 1.0, 1.0), MAX_RETRY_SECONDS)
