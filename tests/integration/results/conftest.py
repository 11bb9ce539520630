"""A result store on a database of its own, in a folder and in S3."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from orchestrator.database.pool import Database
from orchestrator.results.buckets import Bucket
from orchestrator.results.storages import Storages
from orchestrator.results.store import ResultStore
from tests.database import new_url
from tests.integration.results import s3
from tests.integration.results.lent import LIMIT
from tests.integration.results.shelf import URL, Shelf


@pytest.fixture(scope="session")
def server() -> Iterator[s3.Server]:
    """An S3 server for all tests of this process."""
    with s3.running() as running:
        yield running


@pytest.fixture
async def database() -> AsyncIterator[Database]:
    """A fresh one."""
    opened = Database(new_url())
    await opened.open()
    yield opened
    await opened.close()


@pytest.fixture
def folder_shelf(database: Database, tmp_path: Path) -> Shelf:
    """A store in a folder, and a listing of what is there."""
    bucket = Bucket.local(tmp_path / "pictures")
    return Shelf(database, bucket, ResultStore(database, bucket, public_url=URL, seconds=3600.0), tmp_path)


@pytest.fixture
def s3_shelf(database: Database, server: s3.Server) -> Iterator[Shelf]:
    """A store in S3, its links presigned, and a listing of what is there."""
    bucket = Bucket.s3(server.place(), s3.HASTY)
    store = ResultStore(database, bucket, public_url=URL, seconds=3600.0, presigned=True)
    yield Shelf(database, bucket, store, server)
    server.clear()


@pytest.fixture(params=["folder_shelf", "s3_shelf"])
def shelf(request: pytest.FixtureRequest) -> Shelf:
    """A store of either kind."""
    found: Shelf = request.getfixturevalue(request.param)
    return found


@pytest.fixture
async def storages(database: Database) -> Storages:
    """Those of two accounts, and none yet."""
    await database.run("INSERT INTO imagegen.accounts (name) VALUES ('alice'), ('bob')")
    return Storages(database, LIMIT, seconds=5.0, timeouts=s3.HASTY)


@pytest.fixture
def mine(server: s3.Server) -> Iterator[s3.Server]:
    """The S3 server, empty afterwards."""
    yield server
    server.clear()
