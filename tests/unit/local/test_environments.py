"""Environments made once, and again when their lock changes."""

import sys
from pathlib import Path

import pytest

from local import environments
from local.environments import Environment, ensure
from local.errors import EnvironmentSetupError


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Environment:
    """An environment called test, of one lock, in a folder of its own."""
    lock = tmp_path / "test.txt"
    lock.write_text("one==1 \\\n    --hash=sha256:00\n")
    environment = Environment(tmp_path / "env", (lock,), lambda: sys.executable)
    monkeypatch.setitem(environments.ENVIRONMENTS, "test", environment)
    return environment


@pytest.fixture
def done(environment: Environment, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was done, in order, where making and filling do nothing."""
    done: list[str] = []

    def create(_: Environment) -> None:
        done.append("create")
        environment.python.parent.mkdir(exist_ok=True)
        environment.python.symlink_to(sys.executable)

    monkeypatch.setattr(environments, "_create", create)
    monkeypatch.setattr(environments, "_install", lambda _: done.append("install"))
    return done


def test_it_is_made_once(environment: Environment, done: list[str]) -> None:
    assert ensure("test") is environment
    assert ensure("test") is environment
    assert done == ["create", "install"]


def test_a_changed_lock_is_installed_over_it(environment: Environment, done: list[str]) -> None:
    ensure("test")
    environment.locks[0].write_text("two==2\n")
    ensure("test")
    assert done == ["create", "install", "install"]


def test_it_is_made_anew_where_its_python_has_gone(environment: Environment, done: list[str]) -> None:
    ensure("test")
    environment.python.unlink()
    ensure("test")
    assert done == ["create", "install", "create", "install"]


def test_a_failed_install_is_tried_again(
    environment: Environment, done: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Environment) -> None:
        raise EnvironmentSetupError("no network")

    with monkeypatch.context() as patch:
        patch.setattr(environments, "_install", fail)
        with pytest.raises(EnvironmentSetupError):
            ensure("test")
    ensure("test")
    assert environment.folder.is_dir()
    assert done == ["create", "install"]


@pytest.mark.usefixtures("environment")
def test_what_pip_says_is_shown(tmp_path: Path) -> None:
    """A real environment, and a lock that pip cannot read, so that it asks nobody for anything."""
    (tmp_path / "test.txt").write_text("-r gone.txt\n")
    with pytest.raises(EnvironmentSetupError, match=r"(?s)pip could not fill env:.*gone\.txt"):
        ensure("test")


def test_a_python_that_cannot_make_environments_is_reported(
    environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = Environment(environment.folder, environment.locks, lambda: "/bin/false")
    monkeypatch.setitem(environments.ENVIRONMENTS, "test", broken)
    with pytest.raises(EnvironmentSetupError, match=r"env cannot be made .*python3-venv"):
        ensure("test")


def test_the_locks_name_nobody_to_fetch_from() -> None:
    for environment in environments.ENVIRONMENTS.values():
        for lock in environment.locks:
            assert "://" not in lock.read_text()
            assert "index-url" not in lock.read_text()
