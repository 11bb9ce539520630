"""What accounts used in a time: pictures and credits, and the seconds of each group of Tritons."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from orchestrator.accounts import admin
from orchestrator.database.pool import Database


class Period(StrEnum):
    """By which times usage is added up, in UTC."""

    HOUR = "hour"
    DAY = "day"
    MONTH = "month"
    TOTAL = "total"


@dataclass(frozen=True, slots=True)
class Usage:
    """What an account used of a family in a period.

    Attributes:
        period: its beginning in UTC, ISO 8601; `total` where usage is not divided.
        account: name.
        family: name.
        pictures: that were charged.
        credits: that they cost.
        engine_seconds: by group of Tritons, also of work that ended without a picture.
    """

    period: str
    account: str
    family: str
    pictures: int
    credits: Decimal
    engine_seconds: Mapping[str, float]


_FORMATS = {
    Period.HOUR: 'YYYY-MM-DD"T"HH24:00"Z"',
    Period.DAY: "YYYY-MM-DD",
    Period.MONTH: "YYYY-MM",
    Period.TOTAL: '"total"',
}

_READ = """
WITH made AS (
    SELECT account_id, family, to_char(at AT TIME ZONE 'UTC', %(format)s) AS period,
           count(*) AS pictures, sum(price) AS credits
    FROM imagegen.usage
    WHERE at >= coalesce(%(since)s, '-infinity'::timestamptz) AND at < coalesce(%(until)s, 'infinity'::timestamptz)
    GROUP BY 1, 2, 3
), worked AS (
    SELECT account_id, family, period, jsonb_object_agg(engines, seconds) AS engine_seconds FROM (
        SELECT account_id, family, to_char(hour AT TIME ZONE 'UTC', %(format)s) AS period, engines,
               sum(seconds) AS seconds
        FROM imagegen.engine_usage
        WHERE hour >= coalesce(%(since)s, '-infinity'::timestamptz)
          AND hour < coalesce(%(until)s, 'infinity'::timestamptz)
        GROUP BY 1, 2, 3, 4
    ) AS groups GROUP BY 1, 2, 3
)
SELECT period, a.name AS account, family, coalesce(pictures, 0) AS pictures, coalesce(made.credits, 0) AS credits,
       coalesce(engine_seconds, '{}'::jsonb) AS engine_seconds
FROM made FULL JOIN worked USING (account_id, family, period) JOIN imagegen.accounts a ON a.id = account_id
WHERE %(account)s::text IS NULL OR a.name = %(account)s
ORDER BY period, account, family
"""


async def read(
    database: Database,
    period: Period,
    *,
    account: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> list[Usage]:
    """Usage from `since` until before `until`, by period, account and family.

    Seconds of Tritons are kept by the hour: an hour counts if it begins in that time.

    Raises:
        NotFoundError: there is no such account.
    """
    if account is not None:
        await admin.list_accounts(database, account)
    values = {"account": account, "since": since, "until": until, "format": _FORMATS[period]}
    return [Usage(**row) for row in await database.run(_READ, values)]
