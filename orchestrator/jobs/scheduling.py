"""The order of jobs as the database keeps it, and how busy their queue is.

The order (scheduling/order.py) is kept as a 32-bit integer, the highest first: the start tag less the head start of the
class, in tenths of seconds, turned round.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from orchestrator.database.pool import Database
from orchestrator.errors import QueueFullError
from orchestrator.params import Priority
from orchestrator.scheduling.order import HEAD_START

EPOCH = 1_767_225_600.0
"""2026-01-01 00:00 UTC, Unix seconds: where the integers begin."""

_HIGHEST, _LOWEST = 2**31 - 1, -(2**31)

MAX_AGE_SECONDS, MAX_AGE_WHEN_FULL_SECONDS = 1.0, 0.1
"""How old statistics may be: in general, and where they refuse a job."""

_FIRST_SECONDS, _LEAST_SECONDS = 1.0, 0.1
_MIN_RETRY_AFTER, _MAX_RETRY_AFTER = 1.0, 60.0

_STATS = """
WITH recent AS (
    SELECT cost, extract(epoch FROM ended_at - started_at)::float8 AS seconds FROM (
        SELECT * FROM imagegen.jobs WHERE ended_at IS NOT NULL ORDER BY ended_at DESC LIMIT 100
    ) AS ended WHERE state = 'succeeded'
)
SELECT (SELECT count(*) FROM (SELECT FROM imagegen.jobs WHERE state = 'queued' LIMIT %(most)s) AS line) AS queued,
       (SELECT count(*) FROM imagegen.jobs WHERE state = 'running') AS running,
       (SELECT coalesce(sum(held_bytes), 0)::bigint FROM imagegen.jobs
        WHERE state IN ('queued', 'running') AND held_bytes > 0) AS held_bytes,
       (SELECT coalesce(extract(epoch FROM clock_timestamp() - min(started_at)), 0)::float8 FROM imagegen.jobs
        WHERE state = 'running') AS longest,
       (SELECT avg(seconds) FROM recent) AS seconds,
       (SELECT sum(cost) / nullif(sum(seconds), 0) FROM recent) AS speed,
       (SELECT coalesce(jsonb_object_agg(family, work), '{}') FROM (
            SELECT family, jsonb_build_array(count(*), sum(cost)) AS work
            FROM imagegen.jobs WHERE state = 'queued' GROUP BY family
        ) AS by_family) AS work
"""


def rank(tag: float, priority: Priority) -> int:
    """The order as a 32-bit integer, of which the highest starts first. Lasts until 2039."""
    return min(max(_HIGHEST - round((tag - HEAD_START[priority] - EPOCH) * 10), _LOWEST), _HIGHEST)


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueStats:
    """How busy the queue is.

    Attributes:
        queued, running: jobs; queued ones are counted up to the most that may wait.
        held_bytes: of the pictures that came with the requests of both.
        longest: seconds for which the oldest attempt has run; 0 where none runs.
        seconds: mean length of the last jobs; 1 where there were none.
        speed: their work in a second, in the unit of Plan.cost; None where there were none.
        work: by family, the jobs that wait and their cost.
    """

    queued: int = 0
    running: int = 0
    held_bytes: int = 0
    longest: float = 0.0
    seconds: float = _FIRST_SECONDS
    speed: float | None = None
    work: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def estimate(self, cost: float) -> float:
        """Seconds that a job of that cost will run for. At least 0.1, so that no job is free in the order."""
        return max(cost / self.speed if self.speed else self.seconds, _LEAST_SECONDS)

    def backlogs(self) -> dict[str, float]:
        """Seconds that the waiting jobs of each family need one after another; families without any are left out.

        It does not depend on how many jobs run at once, so that a scaler may divide it by what one Triton can do.
        """
        return {
            family: cost / self.speed if self.speed else jobs * self.seconds
            for family, (jobs, cost) in self.work.items()
        }

    def wait(self, position: int) -> float:
        """Seconds until a job with `position` jobs before it starts; those that run count as half done on average."""
        return (position + self.running / 2) * self.seconds / max(1, self.running)

    @property
    def backlog(self) -> float:
        """Seconds until a job starts that comes now; 0 where none waits."""
        return self.wait(self.queued) if self.queued else 0.0

    @property
    def retry_after(self) -> float:
        """Seconds after which about one more job has left the queue."""
        return min(max(_MIN_RETRY_AFTER, self.seconds / max(1, self.running)), _MAX_RETRY_AFTER)


class QueueStatsCache:
    """The newest statistics, and the room that is left in the queue."""

    def __init__(self, database: Database, *, max_queued: int, max_held_bytes: int) -> None:
        """Nothing is read yet.

        Args:
            database: of the jobs.
            max_queued: jobs that may wait, in all.
            max_held_bytes: of pictures that come with the requests of jobs that wait or run, in all.
        """
        self._database, self._max_queued, self._max_held_bytes = database, max_queued, max_held_bytes
        self._stats, self._read_at = QueueStats(), -MAX_AGE_SECONDS
        self._entered, self._entered_bytes = 0, 0  # by this process since then, those being submitted among them
        self._pending = 0  # of these, being submitted

    async def read(self, max_age: float = MAX_AGE_SECONDS) -> QueueStats:
        """Statistics not older than `max_age` seconds.

        Raises:
            DatabaseUnavailableError: the database does not answer.
        """
        before, now = self._read_at, time.monotonic()
        if now - before < max_age:
            return self._stats
        self._read_at = now  # those who come meanwhile take the old ones
        try:
            (row,) = await self._database.run(_STATS, {"most": self._max_queued})
        except BaseException:
            self._read_at = before
            raise
        self._stats = QueueStats(**{**row, "seconds": row["seconds"] or _FIRST_SECONDS})
        self._entered, self._entered_bytes = self._pending, 0
        return self._stats

    async def enter(self, held_bytes: int = 0) -> QueueStats:
        """Take room for one job; `leave` reports what became of it.

        Counted by all that this process submits, and by statistics that are up to a second old: servers that fill the
        queue at the same time may pass the limits by what they submit in that second.

        Raises:
            QueueFullError: as many wait as may, or they hold as many bytes.
            DatabaseUnavailableError: the database does not answer.
        """
        stats = await self.check(held_bytes)
        self._pending += 1
        self._entered += 1
        self._entered_bytes += held_bytes
        return stats

    async def check(self, held_bytes: int = 0) -> QueueStats:
        """As `enter`, without taking the room."""
        reason = self._refusal(await self.read(), held_bytes)
        if reason is not None:
            reason = self._refusal(await self.read(MAX_AGE_WHEN_FULL_SECONDS), held_bytes)
        if reason is not None:
            raise QueueFullError(reason, retry_after=self._stats.retry_after)
        return self._stats

    def leave(self, held_bytes: int = 0, *, queued: bool) -> None:
        """Report that a job that had entered is in the queue now, or is not."""
        self._pending -= 1
        if not queued:
            self._entered = max(0, self._entered - 1)
            self._entered_bytes = max(0, self._entered_bytes - held_bytes)

    def _refusal(self, stats: QueueStats, held_bytes: int) -> str | None:
        if stats.queued + self._entered >= self._max_queued:
            return f"{self._max_queued} jobs are already waiting; retry later"
        held = stats.held_bytes + self._entered_bytes
        if held_bytes and held and held + held_bytes > self._max_held_bytes:  # alone, one of any size may come
            return (
                f"inline images of pending jobs hold {held} bytes, and the server's limit is {self._max_held_bytes}:"
                " retry later, or send images by URL"
            )
        return None
