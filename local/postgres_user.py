"""PostgreSQL for root: it refuses to run as root, so it runs as another user, from folders which that user can enter.

Root's own folders are often closed to others (/root has mode 0700). They are not opened, and the server is given no
right of root's to pass them: its programs are copied, and its data kept, in /var/lib/imagegen. What is there for a
temporary state folder that is gone is removed when the next one is created.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

from local.errors import HostError
from local.folders import hash_path
from local.processes import as_user

SHARED = Path("/var/lib/imagegen")
_OF = "of"  # file in a data folder's parent: the state folder that it belongs to


def find_user() -> tuple[int, int] | None:
    """Return user and group for root's server: `postgres`, or `nobody` where there is none; None if we are not root.

    Raises:
        HostError: there is neither.
    """
    if os.geteuid():
        return None
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            user = pwd.getpwnam(name)
            return user.pw_uid, user.pw_gid
    raise HostError("PostgreSQL does not run as root, and has neither user `postgres` nor `nobody`: use another")


def make_data(folder: Path, state_dir: Path, user: tuple[int, int] | None) -> Path:
    """Make an empty data folder that the user can use; returns where it really is.

    Args:
        folder: to create `data` in: a folder, or a link to one elsewhere.
        state_dir: of the stack, absolute.
        user: that the server runs as; None: this one.
    """
    data = folder / "data"
    data.mkdir(mode=0o700)
    if user is None:
        return data
    folder.chmod(0o711)
    if not can_enter(folder, user):
        data.rmdir()
        data.symlink_to(_make_elsewhere(state_dir))
    os.chown(data, *user)
    return data.resolve()


def can_enter(path: Path, user: tuple[int, int] | None) -> bool:
    """Whether the user may enter a folder, or run a program, all folders above it included."""
    command = ["test", "-x", str(path)]
    return user is None or subprocess.run(command, check=False, cwd="/", **as_user(user)).returncode == 0


def share_programs(wheel: Path, libraries: Path, version: str) -> Path:
    """Copy the server's programs to where every user can run them, unless they are there; returns the folder.

    Args:
        wheel: folder of the programs: bin, lib and share are in it.
        libraries: the folder of shared libraries that the programs find two folders above their own.
        version: of both.
    """
    target = _open(SHARED) / f"postgresql-{version}"
    programs = target / wheel.parent.name / wheel.name
    if not target.is_dir():
        fresh = SHARED / f".{target.name}.{os.getpid()}"
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.copytree(wheel, fresh / wheel.parent.name / wheel.name, symlinks=True)
        shutil.copytree(libraries, fresh / libraries.name, symlinks=True)
        for path in (fresh, *fresh.rglob("*")):
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
        with suppress(OSError):  # another process was first
            fresh.rename(target)
        shutil.rmtree(fresh, ignore_errors=True)
    return programs


def _make_elsewhere(state_dir: Path) -> Path:
    """Make an empty data folder in the shared one, in place of what a former stack of this state folder had."""
    _remove_orphans()
    folder = _open(SHARED) / hash_path(state_dir)
    shutil.rmtree(folder, ignore_errors=True)
    (_open(folder) / _OF).write_text(str(state_dir), encoding="utf-8", errors="surrogateescape")
    (folder / "data").mkdir(mode=0o700)
    return folder / "data"


def _remove_orphans() -> None:
    """Remove data of temporary state folders that are gone; another that is gone may have been moved."""
    for note in SHARED.glob(f"*/{_OF}"):
        state_dir = Path(note.read_text(encoding="utf-8", errors="surrogateescape"))
        if Path(tempfile.gettempdir()) in state_dir.parents and not state_dir.is_dir():
            shutil.rmtree(note.parent, ignore_errors=True)


def _open(folder: Path) -> Path:
    """Make a folder that everybody may pass, and only root change.

    Raises:
        HostError: it cannot be created.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o711)
    except OSError as error:
        raise HostError(
            f"PostgreSQL does not run as root, and {folder}, for its files, cannot be created ({error.strerror}): set "
            "IMAGEGEN_STATE_DIR to a folder that every user can enter, or IMAGEGEN_DATABASE_URL to a database"
        ) from error
    return folder
