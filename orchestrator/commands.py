"""The command line: `python -m orchestrator` serves, `python -m orchestrator GROUP ...` is for its operator.

A group is a module with `HELP` and `add(parser)`, which describes its arguments, subcommands perhaps, and sets `run`
for each by `parser.set_defaults(run=...)`: a `Run`, which takes the settings and what was parsed, and answers the exit
status.
"""

import argparse
from collections.abc import Callable, Sequence

from orchestrator.accounts import account_command as accounts
from orchestrator.accounts import key_command as keys
from orchestrator.accounts import preset_command as presets
from orchestrator.accounts import usage_command as usage
from orchestrator.config import Settings
from orchestrator.database import migrate_command as migrate
from orchestrator.results import storage_command as storages
from orchestrator.webhooks import webhook_command as webhooks

Run = Callable[[Settings, argparse.Namespace], int]

GROUPS: dict[str, tuple[str, Callable[[argparse.ArgumentParser], None]]] = {
    "migrate": (migrate.HELP, migrate.add),
    "accounts": (accounts.HELP, accounts.add),
    "keys": (keys.HELP, keys.add),
    "presets": (presets.HELP, presets.add),
    "usage": (usage.HELP, usage.add),
    "storages": (storages.HELP, storages.add),
    "webhooks": (webhooks.HELP, webhooks.add),
}


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line; `run` is None where it is to serve. Ends the process where it cannot be read."""
    parser = argparse.ArgumentParser(
        prog="python -m orchestrator",
        description="Without a command: serve until SIGTERM. Settings are IMAGEGEN_* variables (docs/settings.md).",
    )
    parser.set_defaults(run=None)
    commands = parser.add_subparsers(metavar="COMMAND")
    for name, (text, add) in GROUPS.items():
        add(commands.add_parser(name, help=text, description=text))
    return parser.parse_args(arguments)
