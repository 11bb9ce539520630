"""Bytes of stored pictures: counted right whatever happens to them, and refused beyond the limits."""

import pytest

from orchestrator.errors import ResultsFullError, ResultStoreUnavailableError
from orchestrator.params import ImageFormat
from orchestrator.results.quota import Quota
from tests.integration.results.store_harness import PICTURE, StoreHarness

MANY = 10**12


async def counted(harness: StoreHarness) -> dict[int, int]:
    """Bytes of each account, as the triggers count them."""
    rows = await harness.database.run("SELECT account_id, bytes FROM imagegen.stored_bytes")
    return {row["account_id"]: row["bytes"] for row in rows}


async def test_what_is_written_deleted_and_swept_is_counted(folder_harness: StoreHarness) -> None:
    harness = folder_harness
    await harness.database.run("INSERT INTO imagegen.accounts (name) VALUES ('other')")
    (other,) = await harness.database.run("SELECT id FROM imagegen.accounts WHERE name = 'other'")
    await harness.note()
    assert await counted(harness) == {}, "nothing is there yet"
    first, second = await harness.write(), await harness.write(b"123")
    await harness.store.write(other["id"], b"4567", ImageFormat.PNG)
    await harness.store.put(second, b"12", ImageFormat.PNG)
    assert await counted(harness) == {1: len(PICTURE) + 2, other["id"]: 4}
    await harness.store.delete(first)
    assert await counted(harness) == {1: 2, other["id"]: 4}
    await harness.age(86_400)
    await harness.store.sweep()
    assert await counted(harness) == {1: 0, other["id"]: 0}


async def test_an_account_at_its_limit_is_refused_until_pictures_expire(folder_harness: StoreHarness) -> None:
    harness = folder_harness
    await harness.write()
    await Quota(harness.database, MANY, len(PICTURE) + 1).check(1)
    with pytest.raises(
        ResultsFullError, match=f"has {len(PICTURE)} bytes of images stored, and may have 100"
    ) as caught:
        await Quota(harness.database, MANY, 100).check(1)
    assert 3500 <= caught.value.retry_after <= 3600
    await harness.database.run("INSERT INTO imagegen.accounts (name) VALUES ('other')")
    (other,) = await harness.database.run("SELECT id FROM imagegen.accounts WHERE name = 'other'")
    await Quota(harness.database, MANY, 100).check(other["id"])
    await harness.age(3600)
    await Quota(harness.database, MANY, 100).check(1)
    assert harness.lying() != [], "not swept yet, and not counted any more"


async def test_an_accounts_own_limit_goes_before_the_servers(folder_harness: StoreHarness) -> None:
    await folder_harness.write()
    await folder_harness.database.run("UPDATE imagegen.accounts SET max_stored_bytes = 10 WHERE id = 1")
    with pytest.raises(ResultsFullError, match="may have 10:"):
        await Quota(folder_harness.database, MANY, MANY).check(1)
    await folder_harness.database.run("UPDATE imagegen.accounts SET max_stored_bytes = 999999999 WHERE id = 1")
    await Quota(folder_harness.database, MANY, 10).check(1)


async def test_a_full_store_is_an_outage(folder_harness: StoreHarness) -> None:
    """Jobs wait for it: it is nobody's own fault."""
    await folder_harness.write()
    with pytest.raises(ResultStoreUnavailableError, match="the result store is full") as caught:
        await Quota(folder_harness.database, len(PICTURE), MANY).check(1)
    assert caught.value.retry_after > 1
    await folder_harness.age(3600)
    await Quota(folder_harness.database, len(PICTURE), MANY).check(1)
