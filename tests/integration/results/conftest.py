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
from tests.integration.results.account_storages import LIMIT
from tests.integration.results.store_harness import URL, StoreHarness


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
def folder_harness(database: Database, tmp_path: Path) -> StoreHarness:
    """A store in a folder, and a listing of what is there."""
    bucket = Bucket.local(tmp_path / "pictures")
    return StoreHarness(database, bucket, ResultStore(database, bucket, public_url=URL, seconds=3600.0), tmp_path)


@pytest.fixture
def s3_harness(database: Database, server: s3.Server) -> Iterator[StoreHarness]:
    """A store in S3, its links presigned, and a listing of what is there."""
    bucket = Bucket.s3(server.place(), s3.HASTY)
    store = ResultStore(database, bucket, public_url=URL, seconds=3600.0, presigned=True)
    yield StoreHarness(database, bucket, store, server)
    server.clear()


@pytest.fixture(params=["folder_harness", "s3_harness"])
def harness(request: pytest.FixtureRequest) -> StoreHarness:
    """A store of either kind."""
    found: StoreHarness = request.getfixturevalue(request.param)
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
