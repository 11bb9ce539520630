"""Seconds of Tritons by account, family and group of Tritons: counted as they are used, and kept in the database."""

import asyncio
from collections import Counter
from datetime import UTC, datetime

import structlog

from orchestrator import metrics
from orchestrator.cancellation import cancel_and_wait
from orchestrator.database.pool import Database
from orchestrator.errors import DatabaseUnavailableError

SAVE_SECONDS = 15.0
"""Between two writes; what was used in that time is lost to the database where the process is killed."""

Key = tuple[int, datetime, str, str]

# In the order of the key: two servers that write the same rows wait for each other in one order.
_SAVE = """
INSERT INTO imagegen.engine_usage (account_id, hour, family, engines, seconds)
SELECT account_id, hour, family, engines, seconds
FROM unnest(%(accounts)s::bigint[], %(hours)s::timestamptz[], %(families)s::text[], %(engines)s::text[],
            %(seconds)s::float8[]) AS new (account_id, hour, family, engines, seconds)
ORDER BY 1, 2, 3, 4
ON CONFLICT (account_id, hour, family, engines) DO UPDATE SET seconds = engine_usage.seconds + excluded.seconds
"""

log = structlog.get_logger()


class EngineUsage:
    """`start`, then `close` once. Lives in one event loop."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._unsaved: Counter[Key] = Counter()
        self._saving: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to write, without waiting for the database."""
        self._saving = asyncio.create_task(self._save_loop(), name="save engine usage")

    async def close(self) -> None:
        """Write what is not written yet, if the database answers, and stop."""
        await cancel_and_wait(self._saving)
        await self._try()

    def add(self, account_id: int, account: str, family: str, engines: str, seconds: float) -> None:
        """Note that Tritons of a group worked for an account."""
        metrics.ENGINE_SECONDS.labels(account, family, engines).inc(seconds)
        hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
        self._unsaved[account_id, hour, family, engines] += seconds  # type: ignore[assignment]  # a Counter of float

    async def save(self) -> None:
        """Write what was used since the last time. DatabaseUnavailableError: it is written later."""
        if not self._unsaved:
            return
        unsaved, self._unsaved = self._unsaved, Counter()
        columns = list(zip(*unsaved, strict=True))
        names = ("accounts", "hours", "families", "engines")
        values = dict(zip(names, map(list, columns), strict=True)) | {"seconds": list(unsaved.values())}
        try:
            await self._database.run(_SAVE, values)
        except BaseException:
            self._unsaved.update(unsaved)
            raise

    async def _save_loop(self) -> None:
        while True:
            await asyncio.sleep(SAVE_SECONDS)
            await self._try()

    async def _try(self) -> None:
        try:
            await self.save()
        except DatabaseUnavailableError:
            pass  # it is logged where it was noticed, and tried again
        except Exception:
            log.exception("saving_engine_usage_failed")
