"""`python -m orchestrator accounts`: the operator's, for accounts and their limits."""

import argparse
from collections.abc import Callable
from decimal import Decimal, InvalidOperation

from orchestrator.accounts import admin, webhook_secrets
from orchestrator.accounts.account import SafetyPolicy
from orchestrator.accounts.printing import print_rows
from orchestrator.accounts.usage_command import parse_time
from orchestrator.config import ANY_PORT
from orchestrator.database.pool import Database
from orchestrator.database.running import Work, running
from orchestrator.errors import PreconditionError
from orchestrator.web.hosts import parse_hosts
from orchestrator.web.urls import UrlError, parse

HELP = "Accounts and what each may do."

_EVENTS = ("complete", "failed")
"""The events that a webhook can be sent for."""
_COLUMNS = (
    "name",
    "email",
    "disabled",
    "keys",
    "active",
    "max_active",
    "stored_bytes",
    "max_stored_bytes",
    "requests_per_minute",
    "credits",
    "source_hosts",
    "safety",
    "created_at",
)


def add(parser: argparse.ArgumentParser) -> None:
    """Describe its subcommands: create, list, set, disable, enable, usage, webhook-secret."""
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    creating = _add(commands, "create", _create, "create an account; without limits where none are given")
    creating.add_argument("--exist-ok", action="store_true", help="no error if it exists; what is given is set")
    _add_values(creating)
    listing = commands.add_parser("list", help="list accounts, or one")
    listing.add_argument("name", nargs="?", metavar="NAME")
    _finish(listing, _list)
    _add_values(_add(commands, "set", _set, "change what is given, keep the rest"))
    _add(commands, "disable", _disable, "refuse its keys, at once on all servers; its jobs end as they would")
    _add(commands, "enable", _enable, "accept its keys again")
    using = _add(commands, "usage", _usage, "the pictures that were generated for it")
    using.add_argument("--since", type=parse_time, help="ISO 8601 date or time; UTC where it names no zone")
    hooking = _add(commands, "webhook", _webhook, "the webhook of its jobs whose request names none")
    hooking.add_argument("url", nargs="?", metavar="URL", help="left out: none")
    hooking.add_argument("--events", type=_events, default=["complete"], help="complete (default), failed, or both")
    signing = _add(commands, "webhook-secret", _webhook_secret, "show the secret that its webhooks are signed with")
    signing.add_argument("--rotate", action="store_true", help="replace it by a new one first")
    signing.add_argument(
        "--overlap-hours",
        type=_hours,
        default=24.0,
        metavar="HOURS",
        help="for how long the old one signs as well, next to the new one (24; 0: not at all)",
    )


def _add(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, work: Work, text: str
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=text)
    parser.add_argument("name", metavar="NAME")
    _finish(parser, work)
    return parser


def _finish(parser: argparse.ArgumentParser, work: Work) -> None:
    parser.add_argument("--json", action="store_true", help="answer in JSON")
    parser.set_defaults(run=running(work))


def _add_values(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--email")
    policies = [policy.value for policy in SafetyPolicy]
    parser.add_argument("--safety", choices=policies, help="when the safety filter checks its pictures")
    for name, (cast, text) in _LIMITS.items():
        option = name.replace("_", "-")
        either = parser.add_mutually_exclusive_group()
        either.add_argument(f"--{option}", type=cast, metavar="N", help=f"{text}: limited to N")
        either.add_argument(f"--no-{option}", action="store_true", help=f"{text}: not limited")


async def _create(database: Database, arguments: argparse.Namespace) -> None:
    await admin.create(database, arguments.name, exist_ok=arguments.exist_ok)
    if values := _values(arguments):
        await admin.change(database, arguments.name, values)
    await _list(database, arguments)


async def _set(database: Database, arguments: argparse.Namespace) -> None:
    values = _values(arguments)
    if not values:
        raise SystemExit("orchestrator: accounts set: nothing to set was given; see --help")
    await admin.change(database, arguments.name, values)
    await _list(database, arguments)


async def _disable(database: Database, arguments: argparse.Namespace) -> None:
    await admin.change(database, arguments.name, {"disabled": True})
    await _list(database, arguments)


async def _enable(database: Database, arguments: argparse.Namespace) -> None:
    await admin.change(database, arguments.name, {"disabled": False})
    await _list(database, arguments)


async def _list(database: Database, arguments: argparse.Namespace) -> None:
    print_rows(await admin.list_accounts(database, arguments.name), _COLUMNS, as_json=arguments.json)


async def _usage(database: Database, arguments: argparse.Namespace) -> None:
    rows = await admin.usage(database, arguments.name, arguments.since)
    print_rows(rows, ("task", "family", "pictures", "credits", "last"), as_json=arguments.json)


async def _webhook(database: Database, arguments: argparse.Namespace) -> None:
    values = {"webhook_url": arguments.url, "webhook_events": arguments.events}
    if arguments.url is not None:
        try:
            parse(arguments.url, ports=ANY_PORT)
        except UrlError as error:
            raise PreconditionError(f"{arguments.url}: {error}") from None
    await admin.change(database, arguments.name, values)
    rows = await admin.list_accounts(database, arguments.name)
    print_rows(rows, ("name", "webhook_url", "webhook_events"), as_json=arguments.json)


async def _webhook_secret(database: Database, arguments: argparse.Namespace) -> None:
    overlap = arguments.overlap_hours * 3600
    key = await admin.webhook_secret(database, arguments.name, rotate=arguments.rotate, overlap_seconds=overlap)
    secret = webhook_secrets.encode(key)
    print_rows([{"webhook_secret": secret}], ("webhook_secret",), as_json=arguments.json)


def _values(arguments: argparse.Namespace) -> dict[str, object]:
    given = {name: getattr(arguments, name) for name in ("email", "safety", *_LIMITS)}
    values = {name: value for name, value in given.items() if value is not None}
    return values | {name: None for name in _LIMITS if getattr(arguments, f"no_{name}")}


def _events(raw: str) -> list[str]:
    words = [word.strip().lower() for word in raw.split(",") if word.strip()]
    if not words or not set(words) <= set(_EVENTS):
        raise argparse.ArgumentTypeError(f"give {', '.join(_EVENTS)}, with commas between")
    return list(dict.fromkeys(words))


def _count(raw: str) -> int:
    if not (raw.isascii() and raw.isdigit() and 1 <= int(raw[:9]) <= 1_000_000 and len(raw) < 9):
        raise argparse.ArgumentTypeError("give an integer from 1 to 1000000")
    return int(raw)


def _hours(raw: str) -> float:
    try:
        hours = float(raw)
    except ValueError:
        hours = float("nan")
    if not 0 <= hours <= 24 * 366:
        raise argparse.ArgumentTypeError("give hours, from 0 to 8784")
    return hours


def _bytes(raw: str) -> int:
    if not (raw.isascii() and raw.isdigit() and len(raw) < 16 and int(raw) > 0):
        raise argparse.ArgumentTypeError("give a number of bytes from 1 to 999999999999999")
    return int(raw)


def _credits(raw: str) -> Decimal:
    try:
        amount = Decimal(raw)
    except InvalidOperation:
        amount = Decimal("NaN")
    if not (amount.is_finite() and 0 <= amount <= 10**12 and amount == round(amount, 3)):
        raise argparse.ArgumentTypeError("give a number from 0 to 1000000000000, of three decimals at most")
    return amount


def _hosts(raw: str) -> list[str]:
    try:
        return list(parse_hosts(raw))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


_LIMITS: dict[str, tuple[Callable[[str], object], str]] = {
    "max_active": (_count, "jobs that wait and run at a time"),
    "max_stored_bytes": (_bytes, "bytes of stored pictures"),
    "requests_per_minute": (_count, "requests in a minute"),
    "credits": (_credits, "credits that it has"),
    "source_hosts": (_hosts, "hosts that its pictures may be fetched from, as pictures.example,*.cdn.example"),
}
