"""The Python that the environments are created with: one that is here, or one that uv fetches.

The server's Python backend has stubs for 3.8 to 3.13, but needs numpy below 2, whose last wheels are for 3.12, and our
code needs 3.11; both link a shared libpython. Debian 13 and Ubuntu 22.04 have no such Python.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from local import host
from local.errors import HostError
from local.folders import ROOT

FETCHED = "3.12"
_FOLDER = ".python"
SIZES = "34 MB to download, 110 MB on disk"
_LOCK = ROOT / "requirements" / "uv.txt"


def find_python(home: Path) -> str:
    """Return a Python for the environments; fetches one where this machine has none.

    Args:
        home: the folder that a fetched Python is kept in.

    Raises:
        HostError: this machine cannot run the embedded Triton, or no Python could be fetched.
    """
    host.check_platform(host.inspect(sys.executable))
    python, reasons = find_installed(home)
    return python or _fetch(home, reasons)


def find_installed(home: Path) -> tuple[str, list[str]]:
    """Return a Python that is here and will do, or ""; and why others will not.

    Args:
        home: the folder that a fetched Python is kept in.
    """
    reasons: list[str] = []
    for python in _list_candidates(home):
        try:
            host.check_python(host.inspect(python))
        except HostError as error:  # pyenv puts a name on PATH for every version, also for those that do not run
            reasons.append(str(error))
        else:
            return python, reasons
    return "", reasons


def _list_candidates(home: Path) -> list[str]:
    on_path = [path for version in reversed(host.PYTHONS) if (path := shutil.which(f"python{version}"))]
    fetched = sorted(str(path) for path in _find_folder(home).glob(f"*/bin/python{FETCHED}"))
    return [sys.executable, *on_path, *fetched]


def _find_folder(home: Path) -> Path:
    """Return the folder of fetched Pythons; Triton's stub cannot run one whose path has letters beyond ASCII."""
    shared = Path.home() / ".local" / "share" / "imagegen"
    return (home if str(home).isascii() else shared) / _FOLDER


def _fetch(home: Path, reasons: list[str]) -> str:
    """Install Python by uv: the uv on PATH, or one from the package index in a folder that is removed again."""
    print(
        f"{reasons[0]}\nSo Python {FETCHED} is fetched into {_find_folder(home)}, for imagegen alone: a build of the "
        f"project python-build-standalone, by its publisher's tool uv, which checks its hash; {SIZES}.",
        file=sys.stderr,
    )
    uv_folder = home / ".uv"
    environment = {**os.environ, "UV_CACHE_DIR": str(uv_folder / "cache")}
    try:
        uv = shutil.which("uv") or _install_uv(uv_folder)
        command = [uv, "python", "install", FETCHED, "--install-dir", str(_find_folder(home)), "--no-bin"]
        done = subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=False)
    finally:
        shutil.rmtree(uv_folder, ignore_errors=True)
    python, _ = find_installed(home)
    if done.returncode or not python:
        raise HostError(
            f"Python {FETCHED} could not be fetched (uv's messages are above). Install Python "
            f"{' or '.join(host.PYTHONS)} with its shared library by other means and put it on PATH, or set "
            f"UV_PYTHON_INSTALL_MIRROR to a mirror that can be reached from here, and start again. {host.ELSEWHERE}"
        )
    return python


def _install_uv(folder: Path) -> str:
    """Install uv from the package index, by its hash; returns its path."""
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes"]
    for command in (
        [sys.executable, "-m", "venv", "--clear", str(folder)],
        [*pip, "--disable-pip-version-check", "-r", str(_LOCK)],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise HostError(
                "uv, which fetches Python, could not be installed (Debian and Ubuntu: install python3-venv):\n"
                f"{done.stdout[-1500:]}{done.stderr[-1500:]}"
            )
    return str(folder / "bin" / "uv")
