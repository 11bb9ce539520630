"""Accounts in a database of their own."""

from collections.abc import AsyncIterator

import psycopg
import pytest

from orchestrator.database.pool import Database
from tests.database import new_url


@pytest.fixture
async def database() -> AsyncIterator[Database]:
    """A fresh, migrated database, with connections enough for races."""
    opened = Database(new_url(), 32)
    await opened.open()
    yield opened
    await opened.close()


@pytest.fixture(scope="module")
def url_of_one_account() -> str:
    """A database with the account `rated`."""
    url = new_url()
    with psycopg.connect(url) as connection:
        connection.execute("INSERT INTO imagegen.accounts (name) VALUES ('rated')")
    return url
