"""Presets of accounts: the operator's command, and what an account's caller gets of them."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from imagegen.v1 import accounts_pb2 as pb
from imagegen.v1 import accounts_pb2_grpc
from imagegen.v1.generation_pb2 import Marks
from orchestrator.accounts import presets
from orchestrator.accounts.authentication import Accounts
from orchestrator.api.accounts import AccountServicer
from orchestrator.api.auth import EdgeInterceptor
from orchestrator.database.pool import Database
from orchestrator.errors import NotFoundError, PreconditionError
from tests.accounts import new_key
from tests.database import new_url
from tests.integration.accounts.test_commands import Shell

STYLE = {"width": 800, "enhancements": ["light"], "text": "ä ☃"}


def test_an_operator_sets_lists_and_removes_them(tmp_path: Path) -> None:
    shell, file = Shell(new_url()), tmp_path / "style.json"
    file.write_text(json.dumps(STYLE), "utf-8")
    shell.run("accounts", "create", "shop")
    assert shell.run("presets", "set", "shop", "style", file).stdout == "shop has preset style\n"
    file.write_text("{}", "utf-8")
    shell.run("presets", "set", "shop", "style", file)  # in its place
    (row,) = shell.json("presets", "list", "shop")
    assert (row["account"], row["name"], row["bytes"]) == ("shop", "style", 2)
    shell.run("presets", "remove", "shop", "style")
    assert shell.json("presets", "list") == []
    for arguments, said in (
        (("remove", "shop", "style"), "shop has no preset style"),
        (("set", "nobody", "style", file), "there is no account nobody"),
        (("set", "shop", "Style/1", file), "a-z 0-9 _"),
        (("set", "shop", "style", tmp_path / "none.json"), "No such file"),
        (("list", "nobody"), "there is no account nobody"),
    ):
        assert said in shell.run("presets", *arguments, status=1).stderr


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[]", "must be a JSON object"),
        ("{", "not JSON"),
        ('{"url": "https://a.example"}', "may not have url"),
        ('{"webhooks": {}}', "may not have webhooks"),
        ('{"width": "\\u0000"}', "NUL"),
        (json.dumps({"description": "x" * 70_000}), "more than 65536 bytes"),
    ],
)
async def test_what_is_not_a_preset_is_refused(database: Database, text: str, said: str) -> None:
    await new_key(database.url, "shop")
    with pytest.raises(PreconditionError, match=said):
        await presets.put(database, "shop", "style", text)
    assert await presets.names(database, "shop") == []


@pytest.fixture
async def accounts(database: Database) -> AsyncIterator[accounts_pb2_grpc.AccountServiceStub]:
    server = grpc.aio.server(interceptors=[EdgeInterceptor(Accounts(database, anonymous=True), 1 << 20)])
    accounts_pb2_grpc.add_AccountServiceServicer_to_server(AccountServicer(database, Marks()), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield accounts_pb2_grpc.AccountServiceStub(channel)
    await server.stop(0)


async def test_an_account_gets_its_own_alone(
    database: Database, accounts: accounts_pb2_grpc.AccountServiceStub
) -> None:
    keys = {name: await new_key(database.url, name) for name in ("shop", "other")}
    await presets.put(database, "shop", "style", json.dumps(STYLE))
    ask: Any = accounts.GetPreset  # the stub's type is the synchronous one's
    request = pb.GetPresetRequest(name="style")
    found = await ask(request, metadata=[("x-api-key", keys["shop"])])
    assert (found.name, json.loads(found.document)) == ("style", STYLE)
    for name in ("style", "none", "x" * 100, "../style"):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await ask(pb.GetPresetRequest(name=name), metadata=[("x-api-key", keys["other"])])
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    whole: Any = accounts.GetAccount
    assert list((await whole(pb.GetAccountRequest(), metadata=[("x-api-key", keys["shop"])])).presets) == ["style"]


async def test_a_preset_that_is_gone_is_not_found(database: Database) -> None:
    await new_key(database.url, "shop")
    await presets.put(database, "shop", "style", "{}")
    (row,) = await presets.names(database, "shop")
    assert row["name"] == "style"
    await presets.remove(database, "shop", "style")
    with pytest.raises(NotFoundError):
        await presets.find(database, 1, "style")
