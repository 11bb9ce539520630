"""`make images`: builds, by buildah, the images that need nothing of NVIDIA's, and tells how large they are.

    python -m local.images [--stand-ins] [NAME ...]

Each image gets a list of what it is made of (CycloneDX, of the locks), the version and the commit. `--stand-ins` makes
a python:3.11-slim, and a PostgreSQL for `make run-chart`, where no registry of images can be reached.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from local.copy_models import digest
from local.settings import ROOT

BUILD = ROOT / "docker" / "build"
BASE, POSTGRES = "docker.io/library/python:3.11-slim", "docker.io/library/postgres:17-alpine"
VERSION = "0.1.0"
LOCKS = {
    "orchestrator": "service",
    "gateway": "gateway",
    "triton-cpu": "triton",
    "starter-models": None,
    "model-tools": "tools",
}
"""Images that are built here, and the lock that each is made from."""
LARGE = {"model-tools"}
"""Built only if named."""
_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")


def main(argv: Sequence[str] | None = None) -> int:
    """Build."""
    parser = argparse.ArgumentParser(prog="python -m local.images")
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        default=[name for name in LOCKS if name not in LARGE],
        help=f"of {', '.join(LOCKS)}",
    )
    parser.add_argument(
        "--stand-ins", action="store_true", help="make the images of Python and PostgreSQL of this machine's Debian"
    )
    arguments = parser.parse_args(argv)
    if unknown := set(arguments.names) - LOCKS.keys():
        parser.error(f"no image is called {min(unknown)}")
    if missing := [tool for tool in ("buildah", "podman") if shutil.which(tool) is None]:
        print(f"images: {missing[0]} is not installed (apt-get install buildah podman runc)", file=sys.stderr)
        return 2
    BUILD.mkdir(parents=True, exist_ok=True)
    if arguments.stand_ins and not exists(BASE):
        run([str(ROOT / "docker" / "stand-in-base.sh"), BASE])
    if arguments.stand_ins and not exists(POSTGRES):
        build("stand-in-postgres", POSTGRES)
    for name in arguments.names:
        describe(name)
        build(name, tag(name))
    for name in arguments.names:
        print(f"imagegen/{name}:{VERSION}  {size(name) / 1e6:.0f} MB unpacked, {packed(name) / 1e6:.0f} MB packed")
    return 0


def describe(name: str) -> None:
    """Write what an image is made of."""
    lock = LOCKS[name]
    if lock is None:
        models = [ROOT / name for name in sorted(run(["git", "ls-files", "model_repository"]).splitlines())]
        lines = [f"{digest(path)}  {path.relative_to(ROOT / 'model_repository')}" for path in models]
        (BUILD / "models.sha256").write_text("\n".join(lines) + "\n", "utf-8")
        return
    program = ROOT / ".deploy" / "bin" / "cyclonedx-py"
    described = BUILD / f"{name}.cdx.json"
    requirements = ROOT / "requirements" / f"{lock}.txt"
    run([str(program), "requirements", str(requirements), "--output-reproducible", "-o", str(described)])


def tag(name: str) -> str:
    """What an image is called here."""
    return f"localhost/imagegen/{name}:{VERSION}"


def build(name: str, called: str) -> None:
    """Build one image."""
    wheels = os.environ.get("PIP_FIND_LINKS", "")
    mounts = [_CERTIFICATES, Path("/etc/pip.conf")]  # a machine's own way to its package index
    command = ["buildah", "build", "--isolation", "chroot", "--network", "host", "--pull-never", "--quiet"]
    command += [f"--volume={path}:{path}:ro" for path in mounts if path.is_file()]
    if Path(wheels).is_absolute():
        command += [f"--volume={wheels}:{wheels}:ro", f"--build-arg=PIP_FIND_LINKS={wheels}"]
    command += [f"--build-arg=VERSION={VERSION}", f"--build-arg=REVISION={revision()}", f"--build-arg=PYTHON={BASE}"]
    command += ["--file", f"docker/{name}.Dockerfile", "--tag", called, "."]
    run(command)


def exists(image: str) -> bool:
    """Whether an image is here."""
    command = ["podman", "image", "exists", image]
    return subprocess.run(command, env=_environment(), check=False).returncode == 0


def size(name: str) -> int:
    """Bytes of an image, unpacked."""
    return int(run(["podman", "image", "inspect", "--format", "{{.Size}}", tag(name)]))


def packed(name: str) -> int:
    """Bytes of an image's layers as a registry keeps them."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "image"
        run(["podman", "push", "--quiet", "--compress", tag(name), f"dir:{target}"])
        return sum(path.stat().st_size for path in target.iterdir())


def revision() -> str:
    """The commit that is built."""
    return run(["git", "rev-parse", "HEAD"]).strip()


def run(command: Sequence[str]) -> str:
    """What a program answers; what it complains of goes to the terminal.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    done = subprocess.run(command, cwd=ROOT, env=_environment(), check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout


def _environment() -> dict[str, str]:
    return {**os.environ, "CONTAINERS_CONF": os.environ.get("CONTAINERS_CONF", str(ROOT / "docker/containers.conf"))}


if __name__ == "__main__":
    sys.exit(main())
