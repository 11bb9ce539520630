"""Webhooks leave the outbox: each is tried until its receiver takes it, or for about a day.

A row of imagegen.deliveries is written by the transaction that ends its job. Whoever claims a row pushes its next try
ahead by more than a try can take: if the process dies meanwhile, the row is tried again. So a receiver may get a
webhook more than once, always under the same id.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress

import structlog

from orchestrator import metrics
from orchestrator.cancellation import cancel_and_wait
from orchestrator.database.listen import DELIVERIES, Listener
from orchestrator.database.patience import retry_until_available
from orchestrator.database.pool import Database, Row
from orchestrator.errors import DatabaseUnavailableError, ImagegenError
from orchestrator.jobs.records import COLUMNS, JobRecord, to_record
from orchestrator.web.posting import Answer, Poster, PostError
from orchestrator.web.urls import shown
from orchestrator.webhooks.message import make_body, next_wait, sign

POST_SECONDS = 10.0
"""For a receiver to answer."""
LEASE_SECONDS = 30.0
"""After which a delivery that was claimed may be claimed by another."""
POLL_SECONDS = 1.0
"""Between two looks for deliveries that are due; those of jobs that end are told at once."""
AT_ONCE, AT_ONCE_PER_HOST = 16, 4
"""Deliveries under way. A host that has its number gets no more, so that a slow one holds up no other."""

_GONE = 410

_HOST = "substring(url FROM '^[^/]*//([^/?#]*)')"

_CLAIM = f"""
WITH due AS (
    SELECT id FROM imagegen.deliveries
    WHERE state = 'pending' AND next_at <= now()
      AND {_HOST} <> ALL(%(busy)s::text[])
    ORDER BY next_at LIMIT %(most)s FOR UPDATE SKIP LOCKED
), d AS (
    UPDATE imagegen.deliveries AS delivery
    SET attempts = attempts + 1, next_at = now() + make_interval(secs => %(lease)s)
    FROM due WHERE delivery.id = due.id
    RETURNING delivery.*
)
SELECT {COLUMNS}, d.id AS delivery_id, d.url, {_HOST} AS host, d.data, a.webhook_secret
FROM d JOIN imagegen.jobs j ON j.id = d.job_id JOIN imagegen.accounts a ON a.id = d.account_id
"""  # noqa: S608 - of constants

# Only by the try that is the newest: one whose lease ran out says nothing.
_SETTLE = """
UPDATE imagegen.deliveries
SET state = %(state)s, last_status = %(status)s, last_error = %(error)s,
    next_at = now() + make_interval(secs => %(wait)s),
    delivered_at = CASE WHEN %(state)s = 'delivered' THEN now() END
WHERE id = %(id)s AND attempts = %(attempts)s AND state = 'pending'
"""

log = structlog.get_logger()

Explain = Callable[[ImagegenError, str], str]
"""What a client is told of an error, and of which request."""


class Deliverer:
    """Sends webhooks. Any number may work on a database. `start`, then `close` once."""

    def __init__(
        self,
        database: Database,
        listener: Listener,
        poster: Poster,
        link: Callable[[JobRecord], str | None],
        explain: Explain,
    ) -> None:
        """Nothing is sent yet.

        Args:
            database: has the outbox.
            listener: hears of new deliveries.
            poster: sends them; closed with this.
            link: where a job's picture can be fetched; None if it has none.
            explain: says why.
        """
        self._database, self._poster, self._link, self._explain = database, poster, link, explain
        self._unsubscribe = listener.subscribe(DELIVERIES, lambda _: self._news.set())
        self._news = asyncio.Event()
        self._hosts: Counter[str] = Counter()
        self._sending: set[asyncio.Task[None]] = set()
        self._working: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin."""
        self._working = asyncio.create_task(self._work(), name="deliver webhooks")

    async def close(self) -> None:
        """Stop. What is under way is broken off, and tried again by another."""
        self._unsubscribe()
        await cancel_and_wait(self._working, *self._sending)
        await self._poster.close()

    async def _work(self) -> None:
        while True:
            self._news.clear()
            try:
                for row in await self._claim():
                    self._begin(row)
            except DatabaseUnavailableError:
                pass  # it is logged where it was noticed, and tried again soon
            except Exception:
                log.exception("claiming_webhooks_failed")
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS):
                    await self._news.wait()

    async def _claim(self) -> Sequence[Row]:
        busy = [host for host, count in self._hosts.items() if count >= AT_ONCE_PER_HOST]
        most = min(AT_ONCE_PER_HOST, AT_ONCE - len(self._sending))
        if most <= 0:
            return []
        return await self._database.run(_CLAIM, {"busy": busy, "most": most, "lease": LEASE_SECONDS})

    def _begin(self, row: Row) -> None:
        host = row["host"]
        self._hosts[host] += 1
        task = asyncio.create_task(self._deliver(row), name=f"webhook {row['delivery_id']}")
        self._sending.add(task)

        def end(_: asyncio.Task[None]) -> None:
            self._sending.discard(task)
            self._hosts[host] -= 1
            self._hosts += Counter()  # forgets those at 0
            self._news.set()  # there is room for another

        task.add_done_callback(end)

    async def _deliver(self, row: Row) -> None:
        """One try, and what came of it."""
        status: int | None = None
        error: str | None = None
        wait: float | None = 0.0
        try:
            answer = await self._send(row)
            status = answer.status
            if not 200 <= status < 300:
                error = f"the receiver answered with status {status}"
                wait = None if status == _GONE else next_wait(row["tries"], answer.retry_after)
        except PostError as failed:
            error, wait = str(failed), next_wait(row["tries"], None)
            log.info("webhook_unanswered", job_id=row["id"], reason=failed.detail)
        except Exception:  # of this row only
            log.exception("webhook_crashed", job_id=row["id"])
            error, wait = "internal error", next_wait(row["tries"], None)
        state = "delivered" if error is None else "failed" if wait is None else "pending"
        outcome = "retried" if state == "pending" else state
        metrics.WEBHOOKS.labels(outcome).inc()
        log.info("webhook", outcome=outcome, job_id=row["id"], url=shown(row["url"]), tries=row["tries"], error=error)
        settled = {"state": state, "status": status, "error": error, "wait": wait or 0.0}
        keys = {"id": row["delivery_id"], "attempts": row["tries"]}
        await retry_until_available(lambda: self._database.run(_SETTLE, settled | keys))

    async def _send(self, row: Row) -> Answer:
        record = to_record(row)
        failure = None
        if record.error is not None:
            failure = self._explain(record.error, record.request_id)
        body = make_body(record.id, row["data"], self._link(record), failure)
        headers = sign(bytes(row["webhook_secret"]), row["delivery_id"], int(time.time()), body)
        return await self._poster.post(row["url"], headers, body)
