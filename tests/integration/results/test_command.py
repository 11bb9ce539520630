"""`python -m orchestrator storages`: add, list and remove; no secret is printed."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.database.pool import Database
from orchestrator.errors import InvalidRequestError
from orchestrator.results.storages import Storages
from tests import operator_commands
from tests.integration.results.s3 import HASTY, Server
from tests.integration.results.store_harness import PICTURE

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(database: Database) -> Run:
    """Runs a command of the group on the test's database."""

    def command(*arguments: str) -> subprocess.CompletedProcess[str]:
        return operator_commands.run("storages", *arguments, IMAGEGEN_DATABASE_URL=database.url)

    return command


@pytest.fixture
def secret(tmp_path: Path) -> str:
    """A file with a secret key."""
    file = tmp_path / "secret-key"
    file.write_text("very secret key\n")
    return str(file)


async def test_a_storage_from_its_making_to_its_end(run: Run, database: Database, server: Server, secret: str) -> None:
    rest = ["--endpoint", server.url, "--access-key-id", "AKIAKEY", "--secret-access-key-file", secret]
    made = run("add", "anonymous", "shop", "--url", "s3://pictures/for/all/", *rest)
    assert (made.returncode, made.stdout) == (0, "anonymous has storage shop\n"), made.stderr

    storages = Storages(database, 1_000_000, timeouts=HASTY)
    await storages.write(1, "storage://shop/a.png", PICTURE, "image/png")
    assert server.list_keys() == ["for/all/a.png"]
    server.clear()

    again = run("add", "anonymous", "shop", "--url", "s3://pictures", *rest)
    assert again.returncode == 1
    assert again.stderr == "orchestrator: anonymous has a storage shop already; remove it first\n"

    listed = run("list")
    assert listed.stdout.split("\t") == [
        *("anonymous", "shop", "s3", "s3://pictures/for/all", server.url, "us-east-1", "AKIAKEY\n"),
    ]
    assert run("list", "anonymous").stdout == listed.stdout

    removed = run("remove", "anonymous", "shop")
    assert (removed.returncode, removed.stdout) == (0, "anonymous has no storage shop any more\n")
    with pytest.raises(InvalidRequestError, match="names the storage shop, which the account does not have"):
        await storages.check(1, "storage://shop/a.png", "edit.image")
    assert run("remove", "anonymous", "shop").stderr == "orchestrator: anonymous has no storage shop\n"
    assert run("list").stdout == ""
    assert not any("very secret" in said.stdout + said.stderr for said in (made, again, listed, removed))


def test_without_an_endpoint_it_is_aws_and_never_the_servers_own(run: Run, secret: str) -> None:
    keys = ["--access-key-id", "AKIAKEY", "--secret-access-key-file", secret]
    assert run("add", "anonymous", "shop", "--url", "s3://pictures", "--region", "eu-central-1", *keys).returncode == 0
    assert "\thttps://s3.eu-central-1.amazonaws.com\teu-central-1\t" in run("list").stdout


@pytest.mark.parametrize(
    ("changes", "status", "said"),
    [
        ({"account": "nobody"}, 1, "there is no account nobody"),
        ({"name": "a/b"}, 2, "must be 1 to 64 characters"),
        ({"--url": "file:///etc"}, 2, "no other kind is served"),
        ({"--url": "/etc"}, 2, "no other kind is served"),
        ({"--url": "s3://A"}, 2, "give s3:// and the bucket's name"),
        ({"--url": "s3://pictures/../x"}, 1, "s3://pictures/../x"),
        ({"--endpoint": "127.0.0.1:9000"}, 2, "give an http or https URL"),
        ({"--endpoint": "http://a b"}, 2, "give an http or https URL"),
        ({"--secret-access-key-file": "/no/such/file"}, 1, "/no/such/file: No such file"),
        ({"--secret-access-key-file": "/dev/null"}, 1, "/dev/null: its first line is empty"),
        ({"--secret-access-key-file": sys.executable}, 1, "it is not text"),
    ],
)
def test_what_is_wrong_is_reported(run: Run, secret: str, changes: dict[str, str], status: int, said: str) -> None:
    given = {
        "account": "anonymous",
        "name": "shop",
        "--url": "s3://pictures",
        "--endpoint": "http://127.0.0.1:1",
        "--access-key-id": "AKIAKEY",
        "--secret-access-key-file": secret,
        **changes,
    }
    options = [part for name, value in given.items() if name.startswith("--") for part in (name, value)]
    answer = run("add", given["account"], given["name"], *options)
    assert (answer.returncode, answer.stdout) == (status, ""), answer.stderr
    assert said in answer.stderr
    assert "Traceback" not in answer.stderr
    assert run("list").stdout == ""


def test_other_accounts_are_not_listed(run: Run) -> None:
    assert run("list", "nobody").stderr == "orchestrator: there is no account nobody\n"
