"""`python -m orchestrator usage`: the operator's, to bill accounts and to see what GPUs are used for."""

import argparse
import csv
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime

from orchestrator.accounts import usage_report
from orchestrator.accounts.printing import print_rows
from orchestrator.accounts.usage_report import Period, Usage
from orchestrator.database.pool import Database
from orchestrator.database.running import running

HELP = "Pictures, credits and seconds of Tritons, by account, family and period."

_COLUMNS = ("period", "account", "family", "pictures", "credits", "engine_seconds")


def add(parser: argparse.ArgumentParser) -> None:
    """Describe its arguments."""
    parser.add_argument("--account", metavar="NAME", help="of this account alone")
    parser.add_argument("--since", type=parse_time, help="ISO 8601 date or time; UTC where it names no zone")
    parser.add_argument("--until", type=parse_time, help="as --since; it is the first moment that does not count")
    parser.add_argument("--by", type=Period, choices=list(Period), default=Period.MONTH, help="default: month, in UTC")
    parser.add_argument("--format", choices=("table", "csv", "json"), default="table")
    parser.set_defaults(run=running(_print))


def parse_time(raw: str) -> datetime:
    """A time that an operator gives.

    Raises:
        argparse.ArgumentTypeError: it is not in the format of ISO 8601.
    """
    try:
        moment = datetime.fromisoformat(raw)
    except ValueError:
        raise argparse.ArgumentTypeError("give a date or time of ISO 8601, as 2026-11-25T10:00:00Z") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


async def _print(database: Database, arguments: argparse.Namespace) -> None:
    found = await usage_report.read(
        database, arguments.by, account=arguments.account, since=arguments.since, until=arguments.until
    )
    if arguments.format == "csv":
        _print_csv(found)
    elif arguments.format == "json":
        print(json.dumps([asdict(each) | {"credits": str(each.credits)} for each in found]))  # noqa: T201 - for scripts
    else:
        rows = [asdict(each) | {"engine_seconds": f"{sum(each.engine_seconds.values()):.1f}"} for each in found]
        print_rows(rows, _COLUMNS, as_json=False)


def _print_csv(found: Sequence[Usage]) -> None:
    """One column for each group of Tritons, after that of all of them together."""
    groups = sorted({group for each in found for group in each.engine_seconds})
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow([*_COLUMNS, *(f"engine_seconds {group}" for group in groups)])
    for each in found:
        seconds = [sum(each.engine_seconds.values()), *(each.engine_seconds.get(group, 0.0) for group in groups)]
        facts = (each.period, each.account, each.family, each.pictures, each.credits)
        writer.writerow([*map(_as_text, facts), *(f"{value:.3f}" for value in seconds)])


def _as_text(value: object) -> str:
    """A cell that no spreadsheet takes for a formula: names of accounts may begin with - and @."""
    text = str(value)
    return f"'{text}" if text[:1] in {"=", "+", "-", "@"} else text
