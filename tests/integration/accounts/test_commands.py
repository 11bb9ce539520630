"""The operator's command line, as he runs it."""

import asyncio
import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from orchestrator.accounts import keys
from orchestrator.accounts.authentication import Accounts
from orchestrator.database.pool import Database
from orchestrator.errors import ApiKeyUnknownError
from tests import operator_commands
from tests.database import new_url

ROOT = Path(__file__).parents[3]


class Shell:
    """Runs commands on one database."""

    def __init__(self, url: str) -> None:
        """Of a migrated database."""
        self.url = url

    def run(self, *arguments: str | Path, status: int = 0) -> subprocess.CompletedProcess[str]:
        """Run a command that ends with that status."""
        done = operator_commands.run(*map(str, arguments), IMAGEGEN_DATABASE_URL=self.url, IMAGEGEN_LOG_LEVEL="debug")
        assert done.returncode == status, done.stderr
        assert "Traceback" not in done.stderr
        return done

    def json(self, *arguments: str | Path) -> Any:
        """What a command answers to scripts."""
        return json.loads(self.run(*arguments, "--json").stdout)

    def opens(self, key: str) -> str | None:
        """The account that a key opens."""

        async def read() -> str | None:
            database = Database(self.url, 2)
            await database.open()
            try:
                return (await Accounts(database, anonymous=False).authenticate(key)).name
            except ApiKeyUnknownError:
                return None
            finally:
                await database.close()

        return asyncio.run(read())


@pytest.fixture(scope="module")
def shell() -> Shell:
    """Commands on a database of this file's."""
    return Shell(new_url())


def test_it_is_a_program(shell: Shell) -> None:
    environment = {**os.environ, "IMAGEGEN_DATABASE_URL": shell.url}
    for arguments, status, output, errors in (
        (("accounts", "list", "--json"), 0, '[{"name": "anonymous"', ""),
        (("accounts", "list", "nobody"), 1, "", "orchestrator: there is no account nobody\n"),
        (("accounts", "set", "anonymous"), 1, "", "orchestrator: accounts set: nothing to set was given; see --help\n"),
    ):
        command = [sys.executable, "-m", "orchestrator", *arguments]
        done = subprocess.run(  # noqa: S603 - our own program
            command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
        )
        assert (done.returncode, done.stderr) == (status, errors)
        assert done.stdout.startswith(output)


def test_an_account_from_its_making_to_its_end(shell: Shell) -> None:
    made = shell.json("accounts", "create", "anna", "--email", "a@example.org", "--credits", "100", "--max-active", "4")
    assert (made[0]["name"], made[0]["credits"], made[0]["max_active"]) == ("anna", "100.000", 4)
    (now,) = shell.json("accounts", "set", "anna", "--no-credits", "--requests-per-minute", "60")
    assert (now["credits"], now["max_active"], now["requests_per_minute"]) == (None, 4, 60), "the rest is kept"
    assert shell.json("accounts", "disable", "anna")[0]["disabled"] is True
    assert shell.json("accounts", "enable", "anna")[0]["disabled"] is False
    assert "is an account anna already" in shell.run("accounts", "create", "anna", status=1).stderr
    shell.run("accounts", "create", "anna", "--exist-ok")
    table = shell.run("accounts", "list").stdout.splitlines()
    assert table[0].split()[:2] == ["name", "email"]
    assert [line.split()[0] for line in table[1:]] == ["anna", "anonymous"]


def test_source_hosts(shell: Shell) -> None:
    shell.run("accounts", "create", "shop", "--source-hosts", "Pictures.example, *.cdn.example")
    assert shell.json("accounts", "list", "shop")[0]["source_hosts"] == ["pictures.example", "*.cdn.example"]
    assert "pictures.example,*.cdn.example" in shell.run("accounts", "list", "shop").stdout
    assert shell.json("accounts", "set", "shop", "--no-source-hosts")[0]["source_hosts"] is None


def test_usage(shell: Shell) -> None:
    shell.run("accounts", "create", "used")

    async def note() -> None:
        database = Database(shell.url, 2)
        await database.open()
        await database.run(
            "INSERT INTO imagegen.usage SELECT n::text, id, 'edit', 'starter', 0.1, '2026-01-01'::timestamptz"
            " + n * interval '1 day' FROM imagegen.accounts, generate_series(0, 9) n WHERE name = 'used'"
        )
        await database.close()

    asyncio.run(note())
    (row,) = shell.json("accounts", "usage", "used")
    assert (row["task"], row["family"], row["pictures"], row["credits"]) == ("edit", "starter", 10, "1.000")
    (row,) = shell.json("accounts", "usage", "used", "--since", "2026-01-08")
    assert (row["pictures"], row["credits"]) == (3, "0.300")


def test_a_key_from_its_making_to_its_end(shell: Shell) -> None:
    shell.run("accounts", "create", "ben")
    done = shell.run("keys", "create", "ben")
    key = done.stdout.strip()
    assert keys._MADE.fullmatch(key)
    assert done.stderr == ""
    assert shell.opens(key) == "ben"
    listed = shell.run("keys", "list", "ben").stdout
    assert key[:11] in listed
    assert key[11:] not in listed
    shell.run("keys", "revoke", key[:11])
    assert shell.opens(key) is None
    shell.run("keys", "revoke", key[:11])
    assert shell.json("keys", "list", "ben")[0]["revoked_at"] is not None
    assert "no key of this prefix or id" in shell.run("keys", "revoke", "ig_nothing", status=1).stderr
    second = shell.json("keys", "create", "ben")
    assert shell.opens(second["key"]) == "ben"
    shell.run("keys", "revoke", str(second["id"]))
    assert shell.opens(second["key"]) is None


def test_a_key_in_a_file_is_created_or_taken(shell: Shell, tmp_path: Path) -> None:
    shell.run("accounts", "create", "carl")
    made = tmp_path / "made"
    done = shell.run("keys", "create", "carl", "--file", made)
    key = made.read_text().strip()
    assert stat.S_IMODE(made.stat().st_mode) == 0o600
    assert key[11:] not in done.stdout + done.stderr
    assert shell.opens(key) == "carl"
    shell.run("keys", "create", "carl", "--file", made)
    assert len(shell.json("keys", "list", "carl")) == 1, "the same key is the same"
    given = tmp_path / "given"
    own = "0123456789abcdef0123456789abcdef"
    given.write_text(f"  {own}\n")
    shell.run("keys", "create", "carl", "--file", given)
    assert shell.opens(own) == "carl"
    assert given.read_text() == f"  {own}\n"


@pytest.mark.parametrize("key", ["short", "a" * 40, "0123456789abcdef 0123456789abcdef", "", "ä" * 40])
def test_a_weak_key_is_refused_and_not_shown(shell: Shell, tmp_path: Path, key: str) -> None:
    path = tmp_path / "weak"
    path.write_text(f"{key}\n", "utf-8")
    said = shell.run("keys", "create", "anonymous", "--file", path, status=1)
    assert not key or key not in said.stdout + said.stderr


def test_no_file_is_left_where_the_key_opens_nothing(shell: Shell, tmp_path: Path) -> None:
    said = shell.run("keys", "create", "nobody", "--file", tmp_path / "key", status=1)
    assert "there is no account nobody" in said.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_webhook_secret_is_shown_and_changed(shell: Shell) -> None:
    shell.run("accounts", "create", "dora")
    first = shell.json("accounts", "webhook-secret", "dora")[0]["webhook_secret"]
    assert first.startswith("whsec_")
    assert shell.json("accounts", "webhook-secret", "dora")[0]["webhook_secret"] == first
    second = shell.json("accounts", "webhook-secret", "dora", "--rotate")[0]["webhook_secret"]
    assert second not in {first, ""}


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("accounts", "list", "nobody"), 1, "there is no account nobody"),
        (("accounts", "set", "anonymous"), 1, "nothing to set"),
        (("accounts", "set", "anonymous", "--credits", "-1"), 2, "give a number from 0"),
        (("accounts", "set", "anonymous", "--credits", "0.0001"), 2, "three decimals"),
        (("accounts", "set", "anonymous", "--credits", "nan"), 2, "give a number"),
        (("accounts", "set", "anonymous", "--max-active", "0"), 2, "from 1 to 1000000"),
        (("accounts", "set", "anonymous", "--max-active", "1", "--no-max-active"), 2, "not allowed with"),
        (("accounts", "set", "anonymous", "--source-hosts", "http://a.example/"), 2, "is not a host: give a name"),
        (("accounts", "set", "anonymous", "--source-hosts", ","), 2, "give 1 to 100 hosts"),
        (("accounts", "create", "a b"), 1, "1 to 64 characters"),
        (("accounts", "usage", "anonymous", "--since", "soon"), 2, "ISO 8601"),
    ],
)
def test_what_is_wrong_is_said_in_words(shell: Shell, arguments: tuple[str, ...], status: int, words: str) -> None:
    assert words in shell.run(*arguments, status=status).stderr
