"""What an account may ask for: jobs at a time, requests in a minute, credits. All in the caller's transaction.

The account's row is the lock: who enters holds it until the transaction ends, so no two see the same free place. Who
locks a job or a lease as well does that first.
"""

from dataclasses import dataclass
from decimal import Decimal

from orchestrator.database.pool import Connection, Row
from orchestrator.errors import (
    ApiKeyUnknownError,
    ImagegenError,
    NotEnoughCreditsError,
    RateLimitedError,
    TooManyJobsError,
)

# A statement of its own: the next one then sees what those committed that this one waited for. Weaker than FOR UPDATE,
# which would also block every insert that refers to the account.
_LOCK = "SELECT FROM imagegen.accounts WHERE id = %(account_id)s FOR NO KEY UPDATE"

# Rate: the generic cell rate algorithm as virtual scheduling (ITU-T I.371, annex A). TAT is the theoretical arrival
# time, T the increment, a minute divided by the rate; a request conforms if TAT <= now + tau. tau = (rate - 1) T, so
# that a whole minute's requests may come at once. now() is when the transaction began.
_ENTER = """
WITH account AS (
    SELECT id, fair_tag, credits, max_active, requests_per_minute, disabled,
           greatest(rate_tat, now()) AS tat,
           interval '1 minute' / requests_per_minute AS t,
           %(price)s::numeric(16, 3) AS price,
           CASE WHEN max_active IS NOT NULL THEN
               (SELECT count(*) FROM imagegen.jobs j WHERE j.account_id = a.id AND j.state IN ('queued', 'running'))
               + (SELECT count(*) FROM imagegen.leases l WHERE l.account_id = a.id AND l.expires_at > now())
           END AS active
    FROM imagegen.accounts a WHERE id = %(account_id)s
), judged AS (
    SELECT *,
           coalesce(credits < price, false) AS is_poor,
           coalesce(active >= max_active, false) AS is_busy,
           coalesce(greatest(extract(epoch FROM tat - t * (requests_per_minute - 1) - now()), 0), 0)::float8 AS early
    FROM account
), entered AS (
    UPDATE imagegen.accounts a
    SET credits = a.credits - judged.price, rate_tat = coalesce(judged.tat + judged.t, a.rate_tat)
    FROM judged
    WHERE a.id = judged.id AND NOT (judged.disabled OR judged.is_poor OR judged.is_busy OR judged.early > 0)
      AND (a.credits IS NOT NULL OR a.requests_per_minute IS NOT NULL)
)
SELECT fair_tag, disabled, is_poor, is_busy, early, active, max_active, requests_per_minute, credits, price,
       CASE WHEN credits IS NULL THEN 0 ELSE price END AS taken
FROM judged
"""

_REFUND = "UPDATE imagegen.accounts SET credits = credits + %(price)s WHERE id = %(account_id)s AND credits IS NOT NULL"


@dataclass(frozen=True, slots=True)
class Entered:
    """What came of entering.

    Attributes:
        fair_tag: finish tag of the account's last job (jobs/fairness.py), Unix seconds.
        taken: credits that were taken; 0 where they are not counted.
    """

    fair_tag: float
    taken: Decimal


async def enter(connection: Connection, account_id: int, price: Decimal) -> Entered:
    """Lock the account until the transaction ends, and take what one picture costs it: a request, and `price` credits.

    The place among its jobs is taken by the row that the caller then writes, of a job or a lease. A refusal changes
    nothing. Where several limits refuse, the one is named that waiting helps least.

    Args:
        connection: in a transaction of isolation level READ COMMITTED.
        account_id: of the account.
        price: 0 or more; rounded to thousandths.

    Raises:
        NotEnoughCreditsError: it has fewer than `price`.
        TooManyJobsError: as many of its jobs wait and run as may.
        RateLimitedError: too soon; `retry_after` is exact.
        ApiKeyUnknownError: the account is disabled, or gone.
    """
    keys = {"account_id": account_id, "price": price}
    await connection.execute(_LOCK, keys)
    row = await (await connection.execute(_ENTER, keys)).fetchone()
    if row is None:
        raise ApiKeyUnknownError("the API key is not known")
    if (refusal := _refusal(row)) is not None:
        raise refusal
    return Entered(row["fair_tag"], row["taken"])


async def set_fair_tag(connection: Connection, account_id: int, tag: float) -> None:
    """Note the finish tag of the account's last job, Unix seconds. The caller has entered."""
    await connection.execute("UPDATE imagegen.accounts SET fair_tag = %s WHERE id = %s", (tag, account_id))


async def refund(connection: Connection, account_id: int, price: Decimal) -> None:
    """Give back what `enter` took. Where credits are not counted any more, nothing happens."""
    if price:
        await connection.execute(_REFUND, {"account_id": account_id, "price": price})


def _refusal(row: Row) -> ImagegenError | None:
    if row["disabled"]:
        return ApiKeyUnknownError("the API key is not known")
    if row["is_poor"]:
        return NotEnoughCreditsError(f"a picture costs {row['price']} credits, and the account has {row['credits']}")
    if row["is_busy"]:
        return TooManyJobsError(row["max_active"], row["active"])
    if row["early"] > 0:
        allowed = f"the account may send {row['requests_per_minute']} requests in a minute"
        return RateLimitedError(allowed, retry_after=row["early"])
    return None
