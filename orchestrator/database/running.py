"""Commands of the operator that work on the database."""

import argparse
import asyncio
from collections.abc import Awaitable, Callable

from orchestrator.config import Settings
from orchestrator.database.pool import Database

Work = Callable[[Database, argparse.Namespace], Awaitable[None]]


def running(work: Work) -> Callable[[Settings, argparse.Namespace], int]:
    """The command that opens the database, does that work, and closes it; its exit status is 0."""

    async def on_database(settings: Settings, arguments: argparse.Namespace) -> None:
        database = Database(settings.database_url)
        await database.open()
        try:
            await work(database, arguments)
        finally:
            await database.close()

    def run(settings: Settings, arguments: argparse.Namespace) -> int:
        asyncio.run(on_database(settings, arguments))
        return 0

    return run
