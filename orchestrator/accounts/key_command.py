"""`python -m orchestrator keys`: the operator's, for API keys. A key is shown when it is created, and never again."""

import argparse
import json
import os
from pathlib import Path

from orchestrator.accounts import key_admin, keys
from orchestrator.accounts.printing import print_rows
from orchestrator.database.pool import Database
from orchestrator.database.running import running
from orchestrator.errors import PreconditionError

HELP = "API keys of accounts."

_COLUMNS = ("id", "account", "prefix", "created_at", "revoked_at")


def add(parser: argparse.ArgumentParser) -> None:
    """Describe its subcommands: create, list, revoke."""
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    creating = commands.add_parser("create", help="create a key and print it once, or write it to a file")
    creating.add_argument("account", metavar="ACCOUNT")
    creating.add_argument(
        "--file",
        type=Path,
        help="if the file exists, the key in its first line is used (repeating this is no error); "
        "else the new key is written there, readable by its owner only, and not printed",
    )
    creating.set_defaults(run=running(_create))
    listing = commands.add_parser("list", help="list keys by their first characters")
    listing.add_argument("account", nargs="?", metavar="ACCOUNT")
    listing.set_defaults(run=running(_list))
    revoking = commands.add_parser("revoke", help="revoke a key, at once on all servers")
    revoking.add_argument("key", metavar="PREFIX_OR_ID", help="as `keys list` shows it")
    revoking.set_defaults(run=running(_revoke))
    for command in (creating, listing, revoking):
        command.add_argument("--json", action="store_true", help="answer in JSON")


async def _create(database: Database, arguments: argparse.Namespace) -> None:
    path = arguments.file
    given = _read(path) if path is not None and path.exists() else None
    key = given or keys.make()
    if path is not None and given is None:
        _write(path, key)  # first: a key that opens something is not lost
    try:
        number, prefix = await key_admin.add(database, arguments.account, key)
    except BaseException:
        if path is not None and given is None:
            path.unlink()  # it opens nothing
        raise
    answer = {"id": number, "account": arguments.account, "prefix": prefix}
    if path is None:
        answer["key"] = key
    if arguments.json:
        print(json.dumps(answer))  # noqa: T201 - for the operator
    elif path is None:
        print(key)  # noqa: T201 - this once
    else:
        print(f"{arguments.account} has the key {prefix}… of {path}")  # noqa: T201 - for the operator


async def _list(database: Database, arguments: argparse.Namespace) -> None:
    print_rows(await key_admin.list_keys(database, arguments.account), _COLUMNS, as_json=arguments.json)


async def _revoke(database: Database, arguments: argparse.Namespace) -> None:
    number = await key_admin.revoke(database, arguments.key)
    print(json.dumps({"id": number}) if arguments.json else f"key {number} is revoked")  # noqa: T201 - for the operator


def _read(path: Path) -> str:
    try:
        lines = path.read_text("utf-8").splitlines()
    except OSError as error:
        raise PreconditionError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:  # whose message shows the bytes
        raise PreconditionError(f"{path}: it is not text") from None
    if not lines or not lines[0].strip():
        raise PreconditionError(f"{path}: its first line is empty")
    return lines[0].strip()


def _write(path: Path, key: str) -> None:
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise PreconditionError(f"{path}: {error.strerror}") from None
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(f"{key}\n")
