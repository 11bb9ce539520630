"""Bytes of stored pictures: counted right whatever happens to them, and refused beyond the limits."""

import pytest

from orchestrator.errors import ResultsFullError, ResultStoreUnavailableError
from orchestrator.params import ImageFormat
from orchestrator.results.quota import Quota
from tests.integration.results.shelf import PICTURE, Shelf

MANY = 10**12


async def counted(shelf: Shelf) -> dict[int, int]:
    """Bytes of each account, as the triggers count them."""
    rows = await shelf.database.run("SELECT account_id, bytes FROM imagegen.stored_bytes")
    return {row["account_id"]: row["bytes"] for row in rows}


async def test_what_is_written_deleted_and_swept_is_counted(folder_shelf: Shelf) -> None:
    shelf = folder_shelf
    await shelf.database.run("INSERT INTO imagegen.accounts (name) VALUES ('other')")
    (other,) = await shelf.database.run("SELECT id FROM imagegen.accounts WHERE name = 'other'")
    await shelf.note()
    assert await counted(shelf) == {}, "nothing is there yet"
    first, second = await shelf.write(), await shelf.write(b"123")
    await shelf.store.write(other["id"], b"4567", ImageFormat.PNG)
    await shelf.store.put(second, b"12", ImageFormat.PNG)
    assert await counted(shelf) == {1: len(PICTURE) + 2, other["id"]: 4}
    await shelf.store.delete(first)
    assert await counted(shelf) == {1: 2, other["id"]: 4}
    await shelf.age(86_400)
    await shelf.store.sweep()
    assert await counted(shelf) == {1: 0, other["id"]: 0}


async def test_an_account_at_its_limit_is_refused_until_pictures_expire(folder_shelf: Shelf) -> None:
    shelf = folder_shelf
    await shelf.write()
    await Quota(shelf.database, MANY, len(PICTURE) + 1).check(1)
    with pytest.raises(
        ResultsFullError, match=f"has {len(PICTURE)} bytes of images stored, and may have 100"
    ) as caught:
        await Quota(shelf.database, MANY, 100).check(1)
    assert 3500 <= caught.value.retry_after <= 3600
    await shelf.database.run("INSERT INTO imagegen.accounts (name) VALUES ('other')")
    (other,) = await shelf.database.run("SELECT id FROM imagegen.accounts WHERE name = 'other'")
    await Quota(shelf.database, MANY, 100).check(other["id"])
    await shelf.age(3600)
    await Quota(shelf.database, MANY, 100).check(1)
    assert shelf.lying() != [], "not swept yet, and not counted any more"


async def test_an_accounts_own_limit_goes_before_the_servers(folder_shelf: Shelf) -> None:
    await folder_shelf.write()
    await folder_shelf.database.run("UPDATE imagegen.accounts SET max_stored_bytes = 10 WHERE id = 1")
    with pytest.raises(ResultsFullError, match="may have 10:"):
        await Quota(folder_shelf.database, MANY, MANY).check(1)
    await folder_shelf.database.run("UPDATE imagegen.accounts SET max_stored_bytes = 999999999 WHERE id = 1")
    await Quota(folder_shelf.database, MANY, 10).check(1)


async def test_a_full_store_is_an_outage(folder_shelf: Shelf) -> None:
    """Jobs wait for it: it is nobody's own fault."""
    await folder_shelf.write()
    with pytest.raises(ResultStoreUnavailableError, match="the result store is full") as caught:
        await Quota(folder_shelf.database, len(PICTURE), MANY).check(1)
    assert caught.value.retry_after > 1
    await folder_shelf.age(3600)
    await Quota(folder_shelf.database, len(PICTURE), MANY).check(1)
