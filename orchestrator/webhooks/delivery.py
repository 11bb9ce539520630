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
from orchestrator.jobs.records import JobRecord
from orchestrator.jobs.rows import COLUMNS, to_record
from orchestrator.web.posting import Answer, Poster, PostError
from orchestrator.web.urls import redacted
from orchestrator.webhooks.message import make_body, next_wait, sign

POST_SECONDS = 10.0
"""For a receiver to answer."""
LEASE_SECONDS = 30.0
"""After which a delivery that was claimed may be claimed by another."""
POLL_SECONDS = 1.0
"""Between two checks for deliveries that are due; those of jobs that end are notified at once."""
MAX_CONCURRENT, MAX_PER_ACCOUNT, MAX_PER_ADDRESS = 64, 8, 4
"""Deliveries under way: in all, of an account, and to a network address. Accounts take turns, and whoever has as many
as may gets no more: so neither an account with thousands nor a receiver that hangs holds up another."""
BUSY_SECONDS = 1.0
"""After which a delivery to an address that was busy is looked at again."""
MAX_HOSTS = 1000
"""Names of hosts whose address is remembered."""

_GONE = 410

_HOST = "substring(url FROM '^[^/]*//([^/?#]*)')"

# Accounts with something due by a loose index scan; of each the delivery that is due first, those that have the fewest
# under way first.
_CLAIM = f"""
WITH RECURSIVE accounts AS (
    (SELECT account_id FROM imagegen.deliveries WHERE state = 'pending' ORDER BY account_id LIMIT 1)
    UNION ALL
    SELECT (SELECT d.account_id FROM imagegen.deliveries d WHERE d.state = 'pending' AND d.account_id > a.account_id
            ORDER BY d.account_id LIMIT 1)
    FROM accounts a WHERE a.account_id IS NOT NULL
), turns AS (
    SELECT account_id, coalesce(under_way, 0) AS under_way
    FROM accounts LEFT JOIN unnest(%(accounts)s::bigint[], %(counts)s::integer[]) AS mine (id, under_way)
        ON id = account_id
    WHERE account_id IS NOT NULL AND coalesce(under_way, 0) < %(per_account)s
), due AS (
    SELECT next.id FROM turns, LATERAL (
        SELECT id, next_at FROM imagegen.deliveries
        WHERE account_id = turns.account_id AND state = 'pending' AND next_at <= now()
          AND {_HOST} <> ALL(%(busy)s::text[])
        ORDER BY next_at LIMIT 1 FOR UPDATE SKIP LOCKED
    ) AS next ORDER BY under_way, next_at LIMIT %(most)s
), d AS (
    UPDATE imagegen.deliveries AS delivery
    SET attempts = attempts + 1, next_at = now() + make_interval(secs => %(lease)s)
    FROM due WHERE delivery.id = due.id
    RETURNING delivery.*
)
SELECT {COLUMNS}, d.id AS delivery_id, d.url, {_HOST} AS host, d.data, d.attempts_before, a.webhook_secret,
       CASE WHEN a.webhook_secret_before_until > now() THEN a.webhook_secret_before END AS webhook_secret_before
FROM d JOIN imagegen.jobs j ON j.id = d.job_id JOIN imagegen.accounts a ON a.id = d.account_id
"""  # noqa: S608 - of constants

# Its address has the most allowed: this was not an attempt.
_POSTPONE = """
UPDATE imagegen.deliveries
SET attempts = attempts - 1, next_at = now() + make_interval(secs => %(wait)s)
WHERE id = %(id)s AND attempts = %(attempts)s AND attempts_before = %(before)s AND state = 'pending'
"""

# Only by the attempt that is the newest: one whose lease ran out says nothing, nor one before a resend.
_SETTLE = """
UPDATE imagegen.deliveries
SET state = %(state)s, last_status = %(status)s, last_error = %(error)s,
    next_at = now() + make_interval(secs => %(wait)s),
    delivered_at = CASE WHEN %(state)s = 'delivered' THEN now() END
WHERE id = %(id)s AND attempts = %(attempts)s AND attempts_before = %(before)s AND state = 'pending'
"""

log = structlog.get_logger()

Explain = Callable[[ImagegenError, str], str]
"""What a client learns of an error, and of which request."""


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
        self._accounts: Counter[int] = Counter()
        self._addresses: Counter[str] = Counter()
        self._located: dict[str, str] = {}  # the address that a host's name has led to
        self._sending: set[asyncio.Task[None]] = set()
        self._working: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin."""
        self._working = asyncio.create_task(self._work(), name="deliver webhooks")

    async def close(self) -> None:
        """Stop. What is under way is interrupted, and tried again by another."""
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
        most = MAX_CONCURRENT - len(self._sending)
        if most <= 0:
            return []
        busy = [host for host, address in self._located.items() if self._addresses[address] >= MAX_PER_ADDRESS]
        keys = {
            "accounts": list(self._accounts),
            "counts": list(self._accounts.values()),
            "per_account": MAX_PER_ACCOUNT,
            "busy": busy,
            "most": most,
            "lease": LEASE_SECONDS,
        }
        return await self._database.run(_CLAIM, keys)

    def _begin(self, row: Row) -> None:
        account_id = row["account_id"]
        self._accounts[account_id] += 1
        task = asyncio.create_task(self._deliver(row), name=f"webhook {row['delivery_id']}")
        self._sending.add(task)
        self._news.set()  # perhaps others are due

        def end(_: asyncio.Task[None]) -> None:
            self._sending.discard(task)
            self._accounts[account_id] -= 1
            self._accounts += Counter()  # forgets those at 0
            self._news.set()  # there is room for another

        task.add_done_callback(end)

    async def _deliver(self, row: Row) -> None:
        """Send it, unless its address has as many as may."""
        try:
            address = await self._poster.locate(row["url"])
        except PostError as failed:
            await self._settle(row, failed)
            return
        if len(self._located) >= MAX_HOSTS:
            self._located.clear()
        self._located[row["host"]] = address
        keys = {"id": row["delivery_id"], "attempts": row["tries"], "before": row["attempts_before"]}
        if self._addresses[address] >= MAX_PER_ADDRESS:
            await retry_until_available(lambda: self._database.run(_POSTPONE, keys | {"wait": BUSY_SECONDS}))
            return
        self._addresses[address] += 1
        try:
            await self._attempt(row)
        finally:
            self._addresses[address] -= 1
            self._addresses += Counter()

    async def _attempt(self, row: Row) -> None:
        """One attempt, and what came of it."""
        try:
            outcome: Answer | PostError = await self._send(row)
        except PostError as failed:
            outcome = failed
        except Exception:  # of this row only
            log.exception("webhook_crashed", job_id=row["id"])
            outcome = PostError("internal error")
        await self._settle(row, outcome)

    async def _settle(self, row: Row, outcome: Answer | PostError) -> None:
        """Note what came of an attempt."""
        number = row["tries"] - row["attempts_before"]
        status: int | None = None
        error: str | None = None
        wait: float | None = 0.0
        if isinstance(outcome, PostError):
            error, wait = str(outcome), next_wait(number, None)
            log.info("webhook_unanswered", job_id=row["id"], reason=outcome.detail)
        else:
            status = outcome.status
            if not 200 <= status < 300:
                error = f"the receiver answered with status {status}"
                wait = None if status == _GONE else next_wait(number, outcome.retry_after)
        state = "delivered" if error is None else "failed" if wait is None else "pending"
        counted = "retried" if state == "pending" else state
        metrics.WEBHOOKS.labels(counted).inc()
        log.info("webhook", outcome=counted, job_id=row["id"], url=redacted(row["url"]), tries=number, error=error)
        settled = {"state": state, "status": status, "error": error, "wait": wait or 0.0}
        keys = {"id": row["delivery_id"], "attempts": row["tries"], "before": row["attempts_before"]}
        await retry_until_available(lambda: self._database.run(_SETTLE, settled | keys))

    async def _send(self, row: Row) -> Answer:
        record = to_record(row)
        failure = None
        if record.error is not None:
            failure = self._explain(record.error, record.request_id)
        body = make_body(record.id, row["data"], self._link(record), failure)
        secrets = [bytes(row[name]) for name in ("webhook_secret", "webhook_secret_before") if row[name] is not None]
        headers = sign(secrets, row["delivery_id"], int(time.time()), body)
        return await self._poster.post(row["url"], headers, body)
