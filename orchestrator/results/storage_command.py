"""`python -m orchestrator storages`: the operator's, for the storages of accounts."""

import argparse
from pathlib import Path
from typing import NoReturn

from orchestrator.config import read_results_url, read_s3_endpoint
from orchestrator.database.pool import Database
from orchestrator.database.running import running
from orchestrator.errors import NotFoundError, PreconditionError
from orchestrator.params import is_storage_name
from orchestrator.results.buckets import Bucket, S3Location
from orchestrator.results.faults import RefusedError
from orchestrator.results.location import parse_location
from orchestrator.results.storages import PLACES, S3

HELP = "Storages of accounts: what storage://NAME/PATH means in their requests."

_ACCOUNT = "SELECT id FROM imagegen.accounts WHERE name = %(account)s"

_ADD = """
    INSERT INTO imagegen.storages (account_id, name, kind, config)
    SELECT id, %(name)s, %(kind)s, %(config)s::jsonb FROM imagegen.accounts WHERE name = %(account)s
    ON CONFLICT DO NOTHING
    RETURNING name"""

_LIST = """
    SELECT account.name AS account, storage.name, kind, config
    FROM imagegen.storages AS storage JOIN imagegen.accounts AS account ON account.id = account_id
    WHERE %(account)s::text IS NULL OR account.name = %(account)s
    ORDER BY account.name, storage.name"""

_REMOVE = """
    DELETE FROM imagegen.storages USING imagegen.accounts AS account
    WHERE account.id = account_id AND account.name = %(account)s AND storages.name = %(name)s
    RETURNING storages.name"""


def add(parser: argparse.ArgumentParser) -> None:
    """Describe its subcommands: add, list, remove."""
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    adding = commands.add_parser("add", help="give an account a storage in S3")
    adding.add_argument("account", help="name of the account")
    adding.add_argument("name", type=_name, help="name of the storage: 1 to 64 characters of A-Z a-z 0-9 . _ -")
    adding.add_argument("--url", type=_url, required=True, metavar="s3://BUCKET/PREFIX")
    adding.add_argument("--endpoint", type=_endpoint, help="http or https URL of the S3 (default: AWS's of the region)")
    adding.add_argument("--region", default="us-east-1", help="default: %(default)s")
    adding.add_argument("--access-key-id", required=True)
    adding.add_argument("--secret-access-key-file", type=Path, required=True, help="its first line is the secret key")
    adding.set_defaults(run=running(_add))
    listing = commands.add_parser("list", help="list storages, without their secrets")
    listing.add_argument("account", nargs="?", help="of this account alone")
    listing.set_defaults(run=running(_list))
    removing = commands.add_parser("remove", help="take a storage from an account; the objects in it stay")
    removing.add_argument("account")
    removing.add_argument("name")
    removing.set_defaults(run=running(_remove))


async def _add(database: Database, arguments: argparse.Namespace) -> None:
    keys = arguments.access_key_id, _secret(arguments.secret_access_key_file)
    endpoint = arguments.endpoint or f"https://s3.{arguments.region}.amazonaws.com"
    where = parse_location(arguments.url, endpoint, arguments.region, keys)
    try:
        Bucket.s3(where)
    except RefusedError as error:
        raise PreconditionError(f"{arguments.url}: {error}") from None
    config = PLACES.dump_json(where).decode()
    row = {"account": arguments.account, "name": arguments.name, "kind": S3, "config": config}
    if await database.run(_ADD, row):
        print(f"{arguments.account} has storage {arguments.name}")  # noqa: T201 - for the operator
        return
    if not await database.run(_ACCOUNT, row):
        _refuse_account(arguments.account)
    raise PreconditionError(f"{arguments.account} has a storage {arguments.name} already; remove it first")


async def _list(database: Database, arguments: argparse.Namespace) -> None:
    wanted = {"account": arguments.account}
    if arguments.account is not None and not await database.run(_ACCOUNT, wanted):
        _refuse_account(arguments.account)
    for row in await database.run(_LIST, wanted):
        print(f"{row['account']}\t{row['name']}\t{row['kind']}\t{_describe(PLACES.validate_python(row['config']))}")  # noqa: T201 - for the operator


async def _remove(database: Database, arguments: argparse.Namespace) -> None:
    row = {"account": arguments.account, "name": arguments.name}
    if not await database.run(_REMOVE, row):
        raise NotFoundError(f"{arguments.account} has no storage {arguments.name}")
    print(f"{arguments.account} has no storage {arguments.name} any more")  # noqa: T201 - for the operator


def _describe(where: S3Location) -> str:
    """A place without its secret key."""
    key_id = where.keys[0] if where.keys else ""
    return f"s3://{where.bucket}/{where.prefix}\t{where.endpoint}\t{where.region}\t{key_id}"


def _refuse_account(name: str) -> NoReturn:
    raise NotFoundError(f"there is no account {name}")


def _secret(file: Path) -> str:
    try:
        lines = file.read_text("utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = (
            error.strerror if isinstance(error, OSError) else "it is not text"
        )  # the other's message shows the bytes
        raise PreconditionError(f"{file}: {reason}") from None
    if not (secret := lines[0].strip()):
        raise PreconditionError(f"{file}: its first line is empty")
    return secret


def _url(raw: str) -> str:
    try:
        if read_results_url(raw).startswith("s3://"):
            return raw
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    raise argparse.ArgumentTypeError("give s3://BUCKET/PREFIX; no other kind is served")


def _endpoint(raw: str) -> str:
    try:
        return read_s3_endpoint(raw)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _name(raw: str) -> str:
    if not is_storage_name(raw):
        raise argparse.ArgumentTypeError("must be 1 to 64 characters of A-Z a-z 0-9 . _ -")
    return raw
