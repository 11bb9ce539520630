"""Storages as the tests give them to accounts."""

import pytest

from orchestrator.database.pool import Database
from orchestrator.errors import InvalidRequestError
from orchestrator.results.buckets import S3Location
from orchestrator.results.storages import PLACES, Storages

ALICE, BOB = 2, 3
LIMIT = 1_000_000
FIELD = "edit.image"


async def give(database: Database, account: int, name: str, place: S3Location, kind: str = "s3") -> None:
    """Configure a storage."""
    sql = "INSERT INTO imagegen.storages VALUES (%(account)s, %(name)s, %(kind)s, %(config)s::jsonb)"
    config = PLACES.dump_json(place).decode()
    await database.run(sql, {"account": account, "name": name, "kind": kind, "config": config})


async def refusal(storages: Storages, url: str, account: int = ALICE) -> str:
    """What is said of a URL that is not read; of the right field."""
    with pytest.raises(InvalidRequestError) as caught:
        await storages.read(account, url, FIELD)
    (violation,) = caught.value.violations
    assert violation.field == FIELD
    return violation.description
