"""What a warm package cache holds: the wheels of the locks, for each Python, and a Python to be fetched.

The machines of the matrix have no network: pip takes the wheels from a folder, by the same hashes. The Python that uv
fetches is a stand-in for that of its release host: this machine's 3.12, packed as that project packs its own.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

from local import pythons
from tests.fresh.systems import ROOT

_LOCKS = ("service", "local", "triton", "uv")


def prepare(work: Path) -> Path:
    """Return the folder of wheels, filled; with ensurepip's own it is all that an installation needs."""
    folder = work / "wheels"
    locks = [ROOT / "requirements" / f"{name}.txt" for name in _LOCKS]
    digest = hashlib.sha256(b"".join(lock.read_bytes() for lock in locks)).hexdigest()
    note = folder / ".complete"
    if note.is_file() and note.read_text() == digest:
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    # One by one: Triton's numpy is another than the service's. uv is for the Pythons that will not do.
    for version, lock in [(version, lock) for version in ("3.11", "3.12") for lock in locks]:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes", "--dest"]
        command += [str(folder), "--only-binary", ":all:", "--python-version", version]
        for platform in (
            "manylinux_2_35_x86_64",
            "manylinux_2_28_x86_64",
            "manylinux_2_17_x86_64",
            "manylinux2014_x86_64",
        ):
            command += ["--platform", platform]
        subprocess.run([*command, "-r", str(lock)], check=True)
    note.write_text(digest)
    return folder


def prepare_python(work: Path) -> Path | None:
    """Return a folder with a Python for uv and the list that names it; None where this machine has none to pack."""
    folder = work / "python"
    if (folder / "downloads.json").is_file():
        return folder
    found, patchelf = _find_python(), shutil.which("patchelf")
    if not found or not patchelf:
        return None
    prefix, version = found
    copy = folder / "python"
    shutil.copytree(
        prefix, copy, symlinks=True, ignore=shutil.ignore_patterns("test", "__pycache__", "*.a", "config-*")
    )
    patch = [patchelf, "--set-rpath", "$ORIGIN/../lib"]
    subprocess.run([*patch, str(copy / "bin" / f"python{pythons.FETCHED}")], check=True)
    archive = folder / f"cpython-{version}-x86_64-unknown-linux-gnu-install_only.tar.gz"
    with tarfile.open(archive, "w:gz", compresslevel=1) as file:
        file.add(copy, "python")
    shutil.rmtree(copy)
    major, minor, patch_level = map(int, version.split("."))
    entry: dict[str, object] = {
        "name": "cpython",
        "arch": {"family": "x86_64", "variant": None},
        "os": "linux",
        "libc": "gnu",
    }
    entry |= {"major": major, "minor": minor, "patch": patch_level, "prerelease": "", "variant": None, "build": None}
    entry |= {"url": f"file:///packages/python/{archive.name}"}
    entry |= {"sha256": hashlib.sha256(archive.read_bytes()).hexdigest()}
    key = f"cpython-{version}-linux-x86_64-gnu"
    (folder / "downloads.json").write_text(json.dumps({key: entry}))
    return folder


def _find_python() -> tuple[str, str] | None:
    """Return prefix and version of a Python to pack: on PATH, or next to the one that runs this, as pyenv has them."""
    name = f"python{pythons.FETCHED}"
    for python in (name, *map(str, Path(sys.base_prefix).parent.glob(f"{pythons.FETCHED}*/bin/{name}"))):
        ask = "import sys; print(sys.base_prefix, sys.version.split()[0])"
        done = subprocess.run([python, "-c", ask], capture_output=True, text=True, check=False)
        if not done.returncode:
            prefix, version = done.stdout.split()
            return prefix, version
    return None


def variables() -> dict[str, str]:
    """Variables of a machine that has these packages under /packages, and no network."""
    return {
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": "/packages/wheels",
        "UV_PYTHON_DOWNLOADS_JSON_URL": "/packages/python/downloads.json",
        "LANG": os.environ.get("LANG", "C.UTF-8"),
    }
