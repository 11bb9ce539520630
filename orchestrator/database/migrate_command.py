"""`python -m orchestrator migrate`."""

import argparse

from orchestrator.config import Settings
from orchestrator.database.migrate import migrate

HELP = "Bring the database up to date: apply the migrations that it lacks. Do it before a new version is started."


def add(parser: argparse.ArgumentParser) -> None:
    """Describe its arguments: it has none."""
    parser.set_defaults(run=_run)


def _run(settings: Settings, _: argparse.Namespace) -> int:
    applied = migrate(settings.database_url)
    for name in applied:
        print(f"applied {name}")  # noqa: T201 - for the operator
    if not applied:
        print("nothing to apply")  # noqa: T201 - the same
    return 0
