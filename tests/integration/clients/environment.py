"""A Python environment that holds the client's wheel and what it declares that it needs, and nothing else."""

import re
import shutil
import subprocess
import sys
import venv
from importlib import metadata
from pathlib import Path

from tests.integration.stack import REPOSITORY

PACKAGE = REPOSITORY / "clients/python"
_NAME = re.compile(r"[A-Za-z0-9_.-]+")


def build_wheel(folder: Path, package: Path = PACKAGE) -> Path:
    """Build the wheel of a package, with the tools of this environment."""
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-build-isolation", "--no-deps", "--no-index"]
    environment = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"}
    subprocess.run([*command, "--wheel-dir", folder, package], check=True, env=environment, capture_output=True)  # noqa: S603
    (wheel,) = folder.glob("*.whl")
    return wheel


def fresh(folder: Path) -> Path:
    """Make the environment; returns its folder of programs. What the wheel needs is copied from this environment."""
    venv.create(folder, with_pip=False, symlinks=True)
    programs = folder / "bin"
    (packages,) = (folder / "lib").glob("python*/site-packages")
    wheel = build_wheel(folder / "wheel")
    command = [sys.executable, "-m", "pip", f"--python={programs / 'python'}", "install", "--quiet", "--no-index"]
    subprocess.run([*command, "--no-deps", wheel], check=True, capture_output=True)  # noqa: S603
    (own,) = metadata.distributions(name="imagegen-client", path=[str(packages)])
    for name in _needed(own.requires or []):
        distribution = metadata.distribution(name)
        for file in distribution.files or []:
            source = Path(str(distribution.locate_file(file)))
            if ".." not in file.parts and source.is_file():
                target = packages / file
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, target)
    return programs


def _needed(requirements: list[str]) -> set[str]:
    """Names of the distributions, and of those that they need in turn, but for extras."""
    found: set[str] = set()
    waiting = list(requirements)
    while waiting:
        requirement = waiting.pop()
        name = _NAME.match(requirement)
        if name is None or name[0] in found or "extra ==" in requirement or "python_version <" in requirement:
            continue
        found.add(name[0])
        waiting += metadata.requires(name[0]) or []
    return found
