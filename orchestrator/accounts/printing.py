"""How the operator's commands answer: a table for people, JSON for scripts."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal


def print_rows(rows: Iterable[Mapping[str, object]], columns: Sequence[str], *, as_json: bool) -> None:
    """Print columns of rows: one JSON array, or a line of names and a line for each row, aligned; "-" for nothing."""
    chosen = [{column: row[column] for column in columns} for row in rows]
    if as_json:
        print(json.dumps(chosen, default=_plain))  # noqa: T201 - for the operator
        return
    table = [[column.replace("_", " ") for column in columns]]
    table += [[_text(value) for value in row.values()] for row in chosen]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for line in table:
        print("  ".join(map(str.ljust, line, widths)).rstrip())  # noqa: T201 - the same


def _text(value: object) -> str:
    if value is None or value == "":
        return "-"
    return ",".join(map(str, value)) if isinstance(value, list) else str(_plain(value))


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds")
    return str(value) if isinstance(value, Decimal) else value  # exact, as a float is not
