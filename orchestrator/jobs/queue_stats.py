"""How busy the queue of durable jobs is: looked at once a second at most, whatever asks."""

import time
from dataclasses import dataclass

from orchestrator.database.pool import Database, Row
from orchestrator.errors import QueueFullError

LOOK_SECONDS, FULL_SECONDS = 1.0, 0.1
"""How old a look may be: in general, and where it says that the queue is full."""

_FIRST_SECONDS, _LEAST_SECONDS = 1.0, 0.1
_MIN_RETRY_AFTER, _MAX_RETRY_AFTER = 1.0, 60.0

_LOOK = """
WITH recent AS (
    SELECT cost, extract(epoch FROM ended_at - started_at)::float8 AS seconds FROM (
        SELECT * FROM imagegen.jobs WHERE ended_at IS NOT NULL ORDER BY ended_at DESC LIMIT 100
    ) AS ended WHERE state = 'succeeded'
)
SELECT (SELECT count(*) FROM (SELECT FROM imagegen.jobs WHERE state = 'queued' LIMIT %(most)s) AS line) AS queued,
       (SELECT count(*) FROM imagegen.jobs WHERE state = 'running') AS running,
       (SELECT avg(seconds) FROM recent) AS seconds,
       (SELECT sum(cost) / nullif(sum(seconds), 0) FROM recent) AS speed
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueStats:
    """What was seen.

    Attributes:
        queued, running: jobs; queued ones are counted up to the most that may wait.
        seconds: mean length of the last jobs; 1 where there were none.
        speed: their work in a second, in the unit of Plan.cost; None where there were none.
    """

    queued: int = 0
    running: int = 0
    seconds: float = _FIRST_SECONDS
    speed: float | None = None

    def estimate(self, cost: float) -> float:
        """Seconds that a job of that cost will run for. At least 0.1, so that no job is free in the order."""
        return max(cost / self.speed if self.speed else self.seconds, _LEAST_SECONDS)

    def wait(self, position: int) -> float:
        """Seconds until a job starts before which so many start; those that run are taken as half done on average."""
        return (position + self.running / 2) * self.seconds / max(1, self.running)


class QueueStatsCache:
    """The newest look, and the room that is left in the queue."""

    def __init__(self, database: Database, max_queued: int) -> None:
        self._database, self._max_queued = database, max_queued
        self._look, self._looked_at = QueueStats(), -LOOK_SECONDS
        self._since, self._pending = (
            0,
            0,
        )  # jobs of this process that came after the look; those that are being submitted

    async def look(self, max_age: float = LOOK_SECONDS) -> QueueStats:
        """A look that is not older than so many seconds.

        Raises:
            DatabaseUnavailableError: the database does not answer.
        """
        before, now = self._looked_at, time.monotonic()
        if now - before < max_age:
            return self._look
        self._looked_at = now  # those who come while this one looks take the old look
        try:
            (row,) = await self._database.run(_LOOK, {"most": self._max_queued})
        except BaseException:
            self._looked_at = before
            raise
        self._look, self._since = _to_look(row), 0
        return self._look

    async def enter(self) -> QueueStats:
        """Take room for one job; `leave` says what became of it.

        Counted by all that this process submits and a look that is up to a second old: servers that fill the
        queue at the same time may pass the limit by what they submit in that second.

        Raises:
            QueueFullError: as many wait as may.
            DatabaseUnavailableError: the database does not answer.
        """
        look = await self.look()
        if self._is_full(look):
            look = await self.look(FULL_SECONDS)
        if self._is_full(look):
            soon = look.seconds / max(1, look.running)
            raise QueueFullError(
                f"{self._max_queued} jobs wait already", retry_after=min(max(_MIN_RETRY_AFTER, soon), _MAX_RETRY_AFTER)
            )
        self._pending += 1
        return look

    def leave(self, *, queued: bool) -> None:
        """Note that a job that had entered is in the queue now, or is not."""
        self._pending -= 1
        self._since += queued

    def _is_full(self, look: QueueStats) -> bool:
        return look.queued + self._since + self._pending >= self._max_queued


def _to_look(row: Row) -> QueueStats:
    return QueueStats(
        queued=row["queued"],
        running=row["running"],
        seconds=row["seconds"] or _FIRST_SECONDS,
        speed=row["speed"],
    )
