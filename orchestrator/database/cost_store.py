"""Keeps measured costs in the database: read once it answers, written every SAVE_SECONDS."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from orchestrator import metrics
from orchestrator.cancellation import cancel_and_wait
from orchestrator.database.pool import Database
from orchestrator.errors import DatabaseUnavailableError
from orchestrator.scheduling.costs import Cost, CostModel

SAVE_SECONDS = 15.0
"""Between two writes; the changes of that time are lost where the process is killed."""
KEEP_DAYS = 30
"""Costs that nobody measured for this long are forgotten: Tritons in a cluster change their addresses."""

_LOAD = """
WITH old AS (DELETE FROM imagegen.network_costs WHERE measured_at < now() - make_interval(days => %(days)s))
SELECT engine, model, shape, rows, seconds FROM imagegen.network_costs
WHERE measured_at >= now() - make_interval(days => %(days)s)
"""

# In the order of the key: two servers that write the same rows wait for each other in one order.
_SAVE = """
INSERT INTO imagegen.network_costs (engine, model, shape, rows, seconds)
SELECT engine, model, shape::integer[], rows, seconds
FROM unnest(%(engines)s::text[], %(models)s::text[], %(shapes)s::text[], %(rows)s::integer[], %(seconds)s::float8[])
    AS new (engine, model, shape, rows, seconds)
ORDER BY 1, 2, 3, 4
ON CONFLICT (engine, model, shape, rows) DO UPDATE SET seconds = excluded.seconds, measured_at = now()
"""

log = structlog.get_logger()


class CostKeeper:
    """`start`, then `close` once."""

    def __init__(self, database: Database, costs: CostModel) -> None:
        self._database, self._costs = database, costs
        self._is_loaded = asyncio.Event()
        self._keeping: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin, without waiting for the database."""
        self._keeping = asyncio.create_task(self._keep(), name="keep measured costs")

    async def close(self) -> None:
        """Write what has changed, if the database answers, and stop."""
        await cancel_and_wait(self._keeping)
        if self._is_loaded.is_set():
            await self._try(self.save)

    async def loaded(self, seconds: float) -> None:
        """Wait for what was stored, for this long at most."""
        try:
            async with asyncio.timeout(seconds):
                await self._is_loaded.wait()
        except TimeoutError:
            log.warning("costs_not_loaded")

    async def load(self) -> None:
        """Read what was stored. DatabaseUnavailableError: the database does not answer."""
        rows = await self._database.run(_LOAD, {"days": KEEP_DAYS})
        costs = [Cost(r["engine"], r["model"], tuple(r["shape"]), r["rows"], r["seconds"]) for r in rows]
        self._costs.load(costs)
        _show(costs)
        self._is_loaded.set()

    async def save(self) -> None:
        """Write what has changed. DatabaseUnavailableError: the database does not answer; it is written later."""
        changed = self._costs.take_changed()
        if not changed:
            return
        columns = {
            "engines": [each.engine for each in changed],
            "models": [each.model for each in changed],
            "shapes": [f"{{{','.join(map(str, each.shape))}}}" for each in changed],
            "rows": [each.rows for each in changed],
            "seconds": [each.seconds for each in changed],
        }
        _show(changed)
        try:
            await self._database.run(_SAVE, columns)
        except DatabaseUnavailableError:
            self._costs.put_back(changed)
            raise

    async def _keep(self) -> None:
        while True:
            if not self._is_loaded.is_set():
                await self._try(self.load)
            else:
                await self._try(self.save)
            await asyncio.sleep(SAVE_SECONDS if self._is_loaded.is_set() else 1.0)

    async def _try(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except DatabaseUnavailableError:
            pass  # it is logged where it was noticed, and tried again
        except Exception:
            log.exception("keeping_costs_failed")


def _show(costs: list[Cost]) -> None:
    for each in costs:
        shape = "x".join(map(str, each.shape))
        metrics.NETWORK_SECONDS.labels(each.engine, each.model, shape, each.rows).set(each.seconds)
