"""`python -m orchestrator presets`: the operator's, for presets of accounts."""

import argparse
from pathlib import Path

from orchestrator.accounts import presets
from orchestrator.accounts.printing import print_rows
from orchestrator.database.pool import Database
from orchestrator.database.running import running
from orchestrator.errors import PreconditionError

HELP = "Presets of accounts: parameters that their requests name by one word."


def add(parser: argparse.ArgumentParser) -> None:
    """Describe its subcommands: set, list, remove."""
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    setting = commands.add_parser("set", help="give an account a preset, in place of the one of that name, if any")
    setting.add_argument("account", metavar="ACCOUNT")
    setting.add_argument("name", metavar="NAME", help="1 to 64 characters of a-z 0-9 _")
    setting.add_argument("file", type=Path, metavar="FILE", help="JSON object of parameters (docs/rest.md)")
    setting.set_defaults(run=running(_set))
    listing = commands.add_parser("list", help="list presets, of all accounts or of one")
    listing.add_argument("account", nargs="?", metavar="ACCOUNT")
    listing.add_argument("--json", action="store_true", help="answer in JSON")
    listing.set_defaults(run=running(_list))
    removing = commands.add_parser("remove", help="take a preset from an account")
    removing.add_argument("account", metavar="ACCOUNT")
    removing.add_argument("name", metavar="NAME")
    removing.set_defaults(run=running(_remove))


async def _set(database: Database, arguments: argparse.Namespace) -> None:
    try:
        text = arguments.file.read_text(encoding="utf-8")
    except OSError as error:
        raise PreconditionError(f"{arguments.file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise PreconditionError(f"{arguments.file}: it is not text in UTF-8") from None
    await presets.put(database, arguments.account, arguments.name, text)
    print(f"{arguments.account} has preset {arguments.name}")  # noqa: T201 - for the operator


async def _list(database: Database, arguments: argparse.Namespace) -> None:
    rows = await presets.names(database, arguments.account)
    print_rows(rows, ("account", "name", "bytes", "updated_at"), as_json=arguments.json)


async def _remove(database: Database, arguments: argparse.Namespace) -> None:
    await presets.remove(database, arguments.account, arguments.name)
    print(f"{arguments.account} has no preset {arguments.name} any more")  # noqa: T201 - for the operator
