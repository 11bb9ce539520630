"""The order of jobs as the database keeps it, and how busy their queue is.

The order (scheduling/order.py) is kept as a 32-bit integer, the highest first: the start tag less the head start of the
class, in tenths of seconds, turned round.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from orchestrator.database.pool import Database
from orchestrator.errors import QueueFullError
from orchestrator.generation.forecast import QueueForecast
from orchestrator.jobs.rows import WORK_SECONDS
from orchestrator.params import Priority
from orchestrator.scheduling.order import HEAD_START

EPOCH = 1_767_225_600.0
"""2026-01-01 00:00 UTC, Unix seconds: where the integers begin."""

_HIGHEST, _LOWEST = 2**31 - 1, -(2**31)

MAX_AGE_SECONDS, MAX_AGE_WHEN_FULL_SECONDS = 1.0, 0.1
"""How old statistics may be: in general, and where they refuse a job."""

_MIN_RETRY_AFTER, _MAX_RETRY_AFTER = 1.0, 60.0

# Of a running job at least a twentieth is taken to be left.
_STATS = f"""
WITH pace AS (
    SELECT coalesce(sum(work_seconds) / nullif(sum(extract(epoch FROM ended_at - started_at)::float8), 0), 1) AS pace
    FROM (SELECT * FROM imagegen.jobs WHERE ended_at IS NOT NULL ORDER BY ended_at DESC LIMIT 100) AS ended
    WHERE state = 'succeeded' AND work_seconds IS NOT NULL
), running AS (
    SELECT held_bytes, {WORK_SECONDS} AS work,
           extract(epoch FROM clock_timestamp() - started_at)::float8 AS age
    FROM imagegen.jobs WHERE state = 'running'
)
SELECT (SELECT count(*) FROM (SELECT FROM imagegen.jobs WHERE state = 'queued' LIMIT %(most)s) AS line) AS queued,
       (SELECT count(*) FROM running) AS running,
       (SELECT coalesce(sum(held_bytes), 0)::bigint FROM imagegen.jobs
        WHERE state IN ('queued', 'running') AND held_bytes > 0) AS held_bytes,
       (SELECT coalesce(max(age), 0)::float8 FROM running) AS longest,
       (SELECT pace FROM pace) AS pace,
       (SELECT coalesce(sum(greatest(work - pace * age, 0.05 * work)), 0)::float8 FROM running, pace) AS left,
       (SELECT coalesce(jsonb_object_agg(family, work), '{{}}') FROM (
            SELECT family, sum({WORK_SECONDS}) AS work
            FROM imagegen.jobs WHERE state = 'queued' GROUP BY family
        ) AS by_family) AS work
"""  # noqa: S608 - of constants


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
        pace, left: see QueueForecast.
        work: by family, seconds of work of the jobs that wait.
    """

    queued: int = 0
    running: int = 0
    held_bytes: int = 0
    longest: float = 0.0
    pace: float = 1.0
    left: float = 0.0
    work: Mapping[str, float] = field(default_factory=dict)

    @property
    def forecast(self) -> QueueForecast:
        """When jobs start and end."""
        return QueueForecast(pace=self.pace, running=self.running, left=self.left)

    def backlogs(self) -> dict[str, float]:
        """Seconds that the waiting jobs of each family need one after another; families without any are left out.

        It does not depend on how many jobs run at once, so that a scaler may divide it by what one Triton can do.
        """
        return {family: work / self.pace for family, work in self.work.items()}

    @property
    def backlog(self) -> float:
        """Seconds until a job starts that comes now; 0 where none waits."""
        return self.forecast.wait(sum(self.work.values())) if self.queued else 0.0

    @property
    def retry_after(self) -> float:
        """Seconds after which about one more job has left the queue."""
        running = max(1, self.running)
        return min(max(_MIN_RETRY_AFTER, self.forecast.run(self.left / running) / running), _MAX_RETRY_AFTER)


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
        self._stats = QueueStats(**row)
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
