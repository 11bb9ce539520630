"""Storages of accounts over a real S3: only what is the account's, within its prefix and the size; in clear words."""

import re
import time
import tracemalloc
from dataclasses import replace
from functools import partial

import pytest

from orchestrator.database.pool import Database
from orchestrator.errors import InvalidRequestError, ResultStoreUnavailableError
from orchestrator.params import Edit, ImageSource, Limits, OutputParams, RequestParams
from orchestrator.results.sources import Sources, source_hosts
from orchestrator.results.storages import Storages
from orchestrator.web.hosts import Hosts
from tests.integration.results import endpoints
from tests.integration.results.account_storages import ALICE, BOB, FIELD, LIMIT, give, refusal
from tests.integration.results.s3 import BUCKET, Server
from tests.integration.results.store_harness import PICTURE


async def test_what_is_written_is_read_by_its_path(database: Database, mine: Server, storages: Storages) -> None:
    await give(database, ALICE, "shop", mine.place(prefix="for/alice"))
    url = "storage://shop/2026/a red apple.png"
    for data in (b"first", PICTURE):  # what is there is replaced
        await storages.write(ALICE, url, data, "image/png")
        assert await storages.read(ALICE, url, FIELD) == data
    assert mine.list_keys() == ["for/alice/2026/a red apple.png"]
    head = mine.client.head_object(Bucket=BUCKET, Key="for/alice/2026/a red apple.png")
    assert head["ContentType"] == "image/png"


async def test_a_storage_may_have_no_prefix(database: Database, mine: Server, storages: Storages) -> None:
    await give(database, ALICE, "shop", mine.place(prefix=""))
    await storages.write(ALICE, "STORAGE://shop/a.png", PICTURE, "image/png")
    assert mine.list_keys() == ["a.png"]


@pytest.mark.promise(
    "storages of other accounts",
    "a name is looked up within the account",
    "orchestrator/results/storages.py",
)
async def test_storages_are_the_accounts_own(database: Database, mine: Server, storages: Storages) -> None:
    await give(database, ALICE, "shop", mine.place(prefix="alice"))
    await give(database, BOB, "shop", mine.place(prefix="bob"))
    await give(database, BOB, "bobs", mine.place(prefix="bob"))
    await storages.write(BOB, "storage://shop/a.png", b"of bob", "image/png")
    assert "nothing under this path" in await refusal(storages, "storage://shop/a.png")
    assert (await refusal(storages, "storage://bobs/a.png")).startswith("names the storage bobs, which")
    assert await storages.read(BOB, "storage://shop/a.png", FIELD) == b"of bob"


async def test_what_is_not_configured_is_refused_at_submit(database: Database, storages: Storages) -> None:
    await give(database, ALICE, "old", endpoints.place("http://127.0.0.1:1"), kind="dropbox")
    for url, said in (
        ("storage://shop/a.png", "names the storage shop, which the account does not have; it has old"),
        ("storage://old/a.png", "storage old is of kind dropbox, which this server does not serve; it serves s3"),
    ):
        with pytest.raises(InvalidRequestError, match=rf"^{FIELD}: {re.escape(said)}$"):
            await storages.check(ALICE, url, FIELD)
        with pytest.raises(InvalidRequestError, match=rf"^output.target: {re.escape(said)}$"):
            await storages.write(ALICE, url, PICTURE, "image/png")
        assert await refusal(storages, url) == said


async def test_submit_does_not_ask_the_storage_itself(database: Database, storages: Storages) -> None:
    with endpoints.hanging() as url:
        await give(database, ALICE, "slow", endpoints.place(url))
        started = time.monotonic()
        await storages.check(ALICE, "storage://slow/a.png", FIELD)
        assert time.monotonic() - started < 0.5


async def test_a_place_that_is_changed_is_taken_at_once(database: Database, mine: Server, storages: Storages) -> None:
    await give(database, ALICE, "shop", mine.place(prefix="old"))
    await storages.write(ALICE, "storage://shop/a.png", b"old", "image/png")
    await database.run("DELETE FROM imagegen.storages")
    await give(database, ALICE, "shop", mine.place(prefix="new"))
    assert "nothing under this path" in await refusal(storages, "storage://shop/a.png")


async def test_a_refusal_names_the_field_alone(database: Database, mine: Server, storages: Storages) -> None:
    await give(database, ALICE, "shop", mine.place())
    await give(database, ALICE, "lost", mine.place("no-such-bucket"))
    assert await refusal(storages, "storage://shop/x") == "is not there: storage shop has nothing under this path"
    assert await refusal(storages, "storage://lost/x") == "cannot be read: storage lost refuses it"
    with pytest.raises(InvalidRequestError, match=r"^output.target: cannot be written: storage lost refuses it$"):
        await storages.write(ALICE, "storage://lost/x", PICTURE, "image/png")
    with mine.strict():
        assert await refusal(storages, "storage://shop/x") == "cannot be read: storage shop refuses it"
        with pytest.raises(InvalidRequestError, match=r"^output.target: cannot be written: storage shop refuses it$"):
            await storages.write(ALICE, "storage://shop/x", PICTURE, "image/png")


async def test_what_s3_finds_wrong_is_refused_and_not_tried_for_hours(database: Database, storages: Storages) -> None:
    """Another region, say: S3 redirects, or answers 400."""
    for status in (b"301 Moved Permanently", b"400 Bad Request"):
        head = b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        async with endpoints.answering(head, 0) as (url, _):
            await database.run("DELETE FROM imagegen.storages")
            await give(database, ALICE, "shop", endpoints.place(url))
            assert await refusal(storages, "storage://shop/x") == "cannot be read: storage shop refuses it"


@pytest.mark.parametrize("status", [b"500 Internal Server Error", b"503 Slow Down", b"429 Too Many Requests"])
async def test_a_storage_in_trouble_is_to_be_asked_again(database: Database, storages: Storages, status: bytes) -> None:
    head = b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    async with endpoints.answering(head, 0) as (url, _):
        await give(database, ALICE, "shop", endpoints.place(url))
        with pytest.raises(ResultStoreUnavailableError, match=r"^storage shop does not answer$"):
            await storages.read(ALICE, "storage://shop/x", FIELD)


async def test_a_storage_that_hangs_is_given_up(database: Database) -> None:
    storages = Storages(database, LIMIT, seconds=0.5)
    with endpoints.hanging() as url:
        await give(database, 1, "shop", endpoints.place(url))
        started = time.monotonic()
        with pytest.raises(ResultStoreUnavailableError, match=r"^storage shop does not answer$"):
            await storages.read(1, "storage://shop/x", FIELD)
        with pytest.raises(ResultStoreUnavailableError, match=r"^storage shop does not answer$"):
            await storages.write(1, "storage://shop/x", PICTURE, "image/png")
        assert time.monotonic() - started < 3


@pytest.mark.parametrize("over", [0, 1])
async def test_the_limit_is_to_the_byte(database: Database, mine: Server, storages: Storages, over: int) -> None:
    await give(database, ALICE, "shop", mine.place())
    await storages.write(ALICE, "storage://shop/x", bytes(LIMIT + over), "image/png")
    if over:
        assert await refusal(storages, "storage://shop/x") == f"is larger than {LIMIT} bytes"
    else:
        assert len(await storages.read(ALICE, "storage://shop/x", FIELD)) == LIMIT


async def test_a_huge_object_costs_no_memory(database: Database, storages: Storages) -> None:
    """100 MB are refused by the size that S3 reports; hardly any of it is sent."""
    size = 100 * 1024 * 1024
    async with endpoints.answering(endpoints.HEAD % size, size) as (url, sent):
        await give(database, ALICE, "shop", endpoints.place(url))
        before = resident()
        tracemalloc.start()
        try:
            assert await refusal(storages, "storage://shop/x") == f"is larger than {LIMIT} bytes"
            assert tracemalloc.get_traced_memory()[1] < 2_000_000
        finally:
            tracemalloc.stop()
        assert resident() - before < 16 * 1024 * 1024
    assert sent.gave < size / 4  # what the sockets hold


@pytest.mark.promise(
    "the server's own S3 keys used by a client's storage",
    "a storage has its own keys or none",
    "orchestrator/results/storages.py",
)
async def test_keys_of_the_server_are_never_a_storages(
    database: Database, mine: Server, storages: Storages, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor its session's token, which would spoil the account's own keys."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIASERVER")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "server secret")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "server token")
    async with endpoints.recording() as (url, heads):
        await give(database, ALICE, "shop", replace(mine.place(), endpoint=url))
        await refusal(storages, "storage://shop/x")
    (head,) = heads
    assert b"Credential=AKIAKEY/" in head
    assert b"server" not in head.lower().replace(b"AKIASERVER", b"server")
    assert b"x-amz-security-token" not in head.lower()


async def test_sources_are_routed_and_checked(database: Database, mine: Server, storages: Storages) -> None:
    asked: list[tuple[str, str]] = []

    async def web(url: str, field: str, _hosts: Hosts | None) -> bytes:
        asked.append((url, field))
        return b"of the web"

    await give(database, ALICE, "shop", mine.place())
    await storages.write(ALICE, "storage://shop/a.png", PICTURE, "image/png")
    sources = Sources(web, storages, partial(source_hosts, database))
    assert await sources.fetch(ALICE, "storage://shop/a.png", FIELD) == PICTURE
    assert await sources.fetch(ALICE, "https://shop.example/storage://shop/a.png", FIELD) == b"of the web"
    assert asked == [("https://shop.example/storage://shop/a.png", FIELD)]

    def asking(url: str, target: str | None = None) -> RequestParams:
        output = OutputParams(target=target)
        return RequestParams(task=Edit(image=ImageSource(url=url)), limits=Limits(), output=output)

    await sources.check(ALICE, asking("https://shop.example/a.png"))
    await sources.check(ALICE, asking("storage://shop/a.png", "storage://shop/b.png"))
    with pytest.raises(InvalidRequestError, match=r"^edit.image.url: names the storage other, .* it has shop$"):
        await sources.check(ALICE, asking("Storage://other/a.png"))
    with pytest.raises(InvalidRequestError, match=r"^output.target: names the storage shop, .* it has none$"):
        await sources.check(BOB, asking("https://shop.example/a.png", "storage://shop/b.png"))

    await database.run(
        "UPDATE imagegen.accounts SET source_hosts = '{*.shop.example}' WHERE id = %(id)s", {"id": ALICE}
    )
    await sources.check(ALICE, asking("https://cdn.shop.example/a.png"))
    await sources.check(ALICE, asking("storage://shop/a.png"))
    await sources.check(BOB, asking("https://shop.example/a.png"))
    for url in ("https://shop.example/a.png", "http://evil.example/?.shop.example", "http://1.1.1.1/"):
        with pytest.raises(
            InvalidRequestError, match=r"^edit.image.url: leads to .*not one of the account's source hosts"
        ):
            await sources.check(ALICE, asking(url))


def resident() -> int:
    """Memory of this process, bytes."""
    with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123 - a file of the kernel's
        return int(file.read().split()[1]) * 4096
