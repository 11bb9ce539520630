"""What storage://NAME/PATH may name: no path leaves the prefix, and every path is taken as it is."""

import hypothesis
import hypothesis.strategies as st
import pytest

from orchestrator.database.pool import Database
from orchestrator.params import StorageUrl, StorageUrlError
from orchestrator.results.storages import Storages
from tests.integration.results.account_storages import ALICE, FIELD, give, refusal
from tests.integration.results.s3 import BUCKET, Server
from tests.integration.results.store_harness import PICTURE


@pytest.mark.parametrize(
    "url",
    [
        "storage://shop",
        "storage://shop/",
        "storage:///a.png",
        "storage://shop//etc/passwd",
        "storage://shop/../bob/a.png",
        "storage://shop/a/../../bob/a.png",
        "storage://shop/a/./b.png",
        "storage://shop/a/",
        "storage://sh op/a.png",
        "storage://../a.png/x\n",
        "storage://shop/a\x00b.png",
        "storage://shop/a\r\nHost: evil",
        "storage://user:pass@shop/a.png",
        f"storage://shop/{'a' * 1025}",
        "s3://shop/a.png",
        "",
    ],
)
async def test_a_url_of_another_form_is_refused(storages: Storages, url: str) -> None:
    assert (await refusal(storages, url)).startswith("must ")


@pytest.mark.parametrize(
    "path",
    ["%2e%2e/secret.png", "%2e%2e%2fsecret.png", "..%5csecret.png", "..\\secret.png", "a?x=1", "a#1", "~/ä", ".../x"],
)
async def test_paths_are_taken_as_they_are(database: Database, mine: Server, storages: Storages, path: str) -> None:
    """What a web server would read as another path is not one here."""
    mine.client.put_object(Bucket=BUCKET, Key="secret.png", Body=b"secret")
    await give(database, ALICE, "shop", mine.place(prefix="alice"))
    await storages.write(ALICE, f"storage://shop/{path}", PICTURE, "image/png")
    assert sorted(mine.list_keys()) == sorted(["secret.png", f"alice/{path}"])
    assert await storages.read(ALICE, f"storage://shop/{path}", FIELD) == PICTURE


@pytest.mark.promise(
    "paths out of a storage",
    "none leaves its prefix",
    "orchestrator/results/location.py",
)
@hypothesis.settings(
    max_examples=60, deadline=None, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture]
)
@hypothesis.given(path=st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=40))
async def test_no_path_leaves_the_prefix(database: Database, mine: Server, storages: Storages, path: str) -> None:
    url = f"storage://shop/{path}"
    await database.run("DELETE FROM imagegen.storages")
    await give(database, ALICE, "shop", mine.place(prefix="alice"))
    try:
        StorageUrl.parse(url)
    except StorageUrlError:
        assert (await refusal(storages, url)).startswith("must ")
        return
    await storages.write(ALICE, url, b"x", "image/png")
    assert mine.list_keys() == [f"alice/{path}"]
    mine.clear()
