"""The virtual environments at the repository's root, made from the locked requirements.

Each is made once, and brought up to date when its lock changes: the folder's .stamp says what it was made from.
Several processes may ask for one at the same time.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from local import host
from local.errors import EnvironmentSetupError
from local.progress import Bar
from local.settings import ROOT

_REQUIREMENT = re.compile(r"^[A-Za-z0-9][\w.-]*(\[[\w,-]+\])?==", re.MULTILINE)
# One for each requirement: from an index, from a folder of wheels, or there before.
_PIP_LINE = re.compile(r"(?:Collecting|Processing|Requirement already satisfied:) (?:\S*/)?(\S+)")
_SHOWN_LINES = 12  # of pip's output, where it fails


@dataclass(frozen=True)
class Environment:
    """A virtual environment.

    Attributes:
        folder: where it lies.
        locks: the locked requirement files that it holds; complete, so nothing is resolved at install time.
        find_python: gives the Python to make it with.
    """

    folder: Path
    locks: tuple[Path, ...]
    find_python: Callable[[], str]

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / "bin" / "python"


_LOCKS = ROOT / "requirements"
ENVIRONMENTS = {
    "service": Environment(
        ROOT / ".venv", (_LOCKS / "service.txt", _LOCKS / "c2pa.txt", _LOCKS / "dev.txt"), lambda: sys.executable
    ),
    "triton": Environment(ROOT / ".triton", (_LOCKS / "triton.txt",), host.find_python),
}


def ensure(name: str) -> Environment:
    """Make an environment of `ENVIRONMENTS`, or bring it up to date; at once where nothing is to do.

    Raises:
        EnvironmentSetupError: venv or pip failed; the message has the end of what they said.
        HostError: no Python here can be used for it.
    """
    environment = ENVIRONMENTS[name]
    stamp = environment.folder / ".stamp"
    wanted = _digest(environment.locks)
    with _locked(environment.folder):
        made = stamp.read_text(encoding="utf-8").split() if stamp.is_file() else []
        usable = environment.python.exists()  # a link: broken where its Python has gone
        if made == [wanted] and usable:
            stamp.touch()  # newer than the locks, for make
            return environment
        if not usable:
            _create(environment)
        _install(environment)
        stamp.write_text(wanted + "\n", encoding="utf-8")
    return environment


def _create(environment: Environment) -> None:
    command = [environment.find_python(), "-m", "venv", "--clear", str(environment.folder)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise EnvironmentSetupError(
            f"{environment.folder.name} cannot be made (Debian and Ubuntu: install python3-venv):\n"
            f"{result.stdout}{result.stderr}"
        )


def _install(environment: Environment) -> None:
    """Install the locks with pip: each file by its hash, nothing beside them."""
    locks = [argument for lock in environment.locks for argument in ("-r", str(lock))]
    command = [str(environment.python), "-m", "pip", "install", "--no-deps", "--require-hashes", "--no-input"]
    command += ["--disable-pip-version-check", "--progress-bar", "off", *locks]
    total = sum(len(_REQUIREMENT.findall(lock.read_text(encoding="utf-8"))) for lock in environment.locks)
    last: deque[str] = deque(maxlen=_SHOWN_LINES)
    with (
        Bar(f"Making {environment.folder.name}", total) as bar,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as pip,
    ):
        assert pip.stdout is not None  # noqa: S101 - for mypy: it was asked for
        for line in pip.stdout:
            last.append(line)
            if found := _PIP_LINE.match(line):
                bar.advance(found[1])
            elif line.startswith("Installing"):
                bar.show("unpacking")
        if pip.wait():
            raise EnvironmentSetupError(f"pip could not fill {environment.folder.name}:\n{''.join(last)}")


def _digest(locks: tuple[Path, ...]) -> str:
    digest = hashlib.sha256()
    for lock in locks:
        digest.update(lock.read_bytes())
    return digest.hexdigest()


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder for this process; a second one waits. The system lets go of it however the process ends."""
    folder.mkdir(exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
