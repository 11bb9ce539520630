"""API keys: hashes in a file, accounts by key."""

import hashlib
from pathlib import Path

import pytest

from orchestrator.errors import ApiKeyMissingError, ApiKeyUnknownError, SettingsError
from orchestrator.jobs.accounts import ANONYMOUS, Accounts


def hashed(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def load(tmp_path: Path, text: str) -> Accounts:
    path = tmp_path / "keys"
    path.write_text(text, "utf-8")
    return Accounts.load(path)


def test_each_key_has_its_account(tmp_path: Path) -> None:
    accounts = load(tmp_path, f"# keys\n\n{hashed('k-alice')} alice\n  {hashed('k-bob')}\tbob  \n  # end\n")
    assert accounts.authenticate("k-alice") == "alice"
    assert accounts.authenticate("k-bob") == "bob"


def test_an_account_may_have_two_keys(tmp_path: Path) -> None:
    """So that one can be changed while the other works."""
    accounts = load(tmp_path, f"{hashed('old')} alice\n{hashed('new')} alice\n")
    assert accounts.authenticate("old") == accounts.authenticate("new") == "alice"


@pytest.mark.parametrize("key", ["K-alice", "k-alice ", "k-alic", hashed("k-alice"), "ключ", "\udcff", "x" * 100_000])
def test_another_key_is_unknown(key: str, tmp_path: Path) -> None:
    with pytest.raises(ApiKeyUnknownError) as caught:
        load(tmp_path, f"{hashed('k-alice')} alice").authenticate(key)
    assert key not in str(caught.value)


@pytest.mark.parametrize("key", [None, ""])
def test_no_key_is_missing(key: str | None, tmp_path: Path) -> None:
    with pytest.raises(ApiKeyMissingError, match="x-api-key"):
        load(tmp_path, f"{hashed('')} nobody").authenticate(key)


def test_an_empty_file_lets_nobody_in(tmp_path: Path) -> None:
    with pytest.raises(ApiKeyUnknownError):
        load(tmp_path, "").authenticate("x")


@pytest.mark.parametrize("key", [None, "", "anything"])
def test_without_a_file_everybody_is_anonymous(key: str | None) -> None:
    assert Accounts.load(None).authenticate(key) == ANONYMOUS


@pytest.mark.parametrize(
    "line",
    ["secret-plain-key alice", hashed("x"), f"{hashed('x')} a b", f"{hashed('x')[1:]} a", f"{hashed('x').upper()} a"],
)
def test_a_wrong_line_is_named_by_number_and_not_repeated(line: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"^IMAGEGEN_API_KEYS_FILE='.*/keys', line 2: ") as caught:
        load(tmp_path, f"# first\n{line}\n")
    assert line.split(maxsplit=1)[0] not in str(caught.value)


def test_one_key_for_two_accounts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="line 2: this key is alice's already"):
        load(tmp_path, f"{hashed('x')} alice\n{hashed('x')} bob\n")


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(SettingsError, match=r"^IMAGEGEN_API_KEYS_FILE="):
            Accounts.load(path)
    path = tmp_path / "binary"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match=r"^IMAGEGEN_API_KEYS_FILE="):
        Accounts.load(path)
