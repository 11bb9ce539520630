"""`python -m model_tools catalogue`: published checkpoints that `get` fetches and adds."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from model_tools.catalogue import entries
from model_tools.checkpoints.errors import CheckpointError

if TYPE_CHECKING:
    from model_tools.catalogue.entries import Entry

COLUMNS = ("name", "parameters", "download", "memory", "licence", "what it is")


def main(words: list[str]) -> int:
    """Print the catalogue as a table, one entry in full, or all as JSON.

    Returns:
        0; 1 after an error, with one line that says it.
    """
    parser = argparse.ArgumentParser(
        prog="python -m model_tools catalogue", description="List published checkpoints that `get` fetches and adds."
    )
    parser.add_argument("name", nargs="?", help="show all that is known about one of them")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.add_argument("--file", type=Path, default=entries.CATALOGUE, help="another catalogue")
    asked = parser.parse_args(words)
    try:
        found = [entries.find(asked.name, asked.file)] if asked.name else list(entries.load(asked.file).values())
    except CheckpointError as error:
        print(f"catalogue: {error}", file=sys.stderr)
        return 1
    if asked.json:
        print(json.dumps([dataclasses.asdict(entry) for entry in found], indent=2))
    elif asked.name:
        print("\n".join(f"{key:<11} {_text(value)}" for key, value in dataclasses.asdict(found[0]).items() if value))
    else:
        print("\n".join(table(found)))
        print("\nFetch, verify and add one: python -m model_tools get NAME")
    return 0


def table(found: list[Entry]) -> list[str]:
    """Lines of a table with a row for each entry."""
    rows = [COLUMNS, *(_row(entry) for entry in found)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _row(entry: Entry) -> tuple[str, ...]:
    terms = [entry.license, *([] if entry.commercial else ["no commercial use"]), *(["gated"] if entry.gated else [])]
    sizes = (f"{entry.parameters:g} B", f"{entry.download:g} GB", f"{entry.memory:g} GB")
    return (entry.name, *sizes, ", ".join(terms), f"{entry.title}: {entry.about}")


def _text(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {each}" for name, each in value.items())
    return ", ".join(value) if isinstance(value, tuple) else str(value)
