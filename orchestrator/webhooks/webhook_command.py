"""`python -m orchestrator webhooks`: deliveries of an account, and sending one again."""

import argparse

from orchestrator.accounts import admin
from orchestrator.accounts.printing import print_rows
from orchestrator.database.pool import Database
from orchestrator.database.running import running
from orchestrator.webhooks.deliveries import Deliveries, Delivery

HELP = "Webhooks of accounts: list deliveries and their outcome, send one again."

_COLUMNS = ("id", "job", "state", "attempts", "last_status", "last_error", "next_at", "url")


def add(parser: argparse.ArgumentParser) -> None:
    """Describe its subcommands."""
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    listing = commands.add_parser("list", help="deliveries of an account, newest first")
    listing.add_argument("name", help="the account")
    listing.add_argument("--state", choices=("pending", "delivered", "failed"), help="in this state only")
    listing.add_argument("--limit", type=int, default=100, help="how many at most (100)")
    listing.set_defaults(run=running(_list))
    resending = commands.add_parser("resend", help="send a delivery again, now")
    resending.add_argument("name", help="the account")
    resending.add_argument("delivery", help="the delivery's id")
    resending.set_defaults(run=running(_resend))
    for each in (listing, resending):
        each.add_argument("--json", action="store_true", help="print JSON")


async def _list(database: Database, arguments: argparse.Namespace) -> None:
    account_id = await admin.account_id(database, arguments.name)
    found = await Deliveries(database).list_deliveries(account_id, arguments.limit, state=arguments.state)
    print_rows([_row(each) for each in found], _COLUMNS, as_json=arguments.json)


async def _resend(database: Database, arguments: argparse.Namespace) -> None:
    account_id = await admin.account_id(database, arguments.name)
    sent = await Deliveries(database).resend(account_id, arguments.delivery)
    print_rows([_row(sent)], _COLUMNS, as_json=arguments.json)


def _row(delivery: Delivery) -> dict[str, object]:
    state = delivery.state
    return {
        "id": delivery.id,
        "job": delivery.job_id,
        "state": state.state,
        "attempts": state.attempts,
        "last_status": state.last_status,
        "last_error": state.last_error,
        "next_at": state.next_at,
        "url": delivery.url,
    }
