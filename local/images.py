"""`make images`: builds, by buildah, the images that need nothing of NVIDIA's, and prints how large they are.

    python -m local.images [--stand-ins | --release] [--refresh-digests] [NAME ...]

Each image gets a list of its contents (docker/sbom.py), the version and the commit. `--stand-ins` builds a
python:3.12-slim, and a PostgreSQL for `make run-chart`, where no registry of images can be reached. `--release`
builds on the base images of docker/digests.json, by digest, and refuses what has none there; `--refresh-digests` asks
their registry for them first (by skopeo).
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from common import VERSION
from local.copy_models import digest
from local.errors import LocalError
from local.settings import ROOT

BUILD = ROOT / "docker" / "build"
BASE, POSTGRES = "docker.io/library/python:3.12-slim", "docker.io/library/postgres:17-alpine"
NAMES = ("orchestrator", "gateway", "triton-cpu", "starter-models", "model-tools")
"""Images that are built here."""
DIGESTS = ROOT / "docker" / "digests.json"
"""Name and tag of each base image -> its digest; "" where nobody has asked its registry yet."""
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
        default=[name for name in NAMES if name not in LARGE],
        help=f"of {', '.join(NAMES)}",
    )
    bases = parser.add_mutually_exclusive_group()
    bases.add_argument(
        "--stand-ins", action="store_true", help="build the images of Python and PostgreSQL from this machine's Debian"
    )
    bases.add_argument("--release", action="store_true", help="build on base images by their digests alone")
    parser.add_argument(
        "--refresh-digests", action="store_true", help="ask the registry for the digests of base images"
    )
    parser.add_argument(
        "--push", metavar="REGISTRY", help="push images that are built already, such as to registry.example/team"
    )
    parser.add_argument("--insecure", action="store_true", help="the registry of --push speaks plain HTTP")
    arguments = parser.parse_args(argv)
    if unknown := set(arguments.names) - set(NAMES):
        parser.error(f"no image is called {min(unknown)}")
    if missing := [tool for tool in ("buildah", "podman") if shutil.which(tool) is None]:
        print(f"images: {missing[0]} is not installed (apt-get install buildah podman runc)", file=sys.stderr)
        return 2
    if arguments.push is not None:
        return push(arguments.names, arguments.push, insecure=arguments.insecure)
    BUILD.mkdir(parents=True, exist_ok=True)
    if arguments.refresh_digests:
        refresh_digests()
    try:
        base = pinned(BASE) if arguments.release else BASE
    except LocalError as error:
        print(f"images: {error}", file=sys.stderr)
        return 2
    if arguments.stand_ins and not exists(BASE):
        run([str(ROOT / "docker" / "stand-in-base.sh"), BASE])
    if arguments.stand_ins and not exists(POSTGRES):
        build("stand-in-postgres", POSTGRES, BASE)
    write_hashes()
    for name in arguments.names:
        build(name, tag(name), base)
    for name in arguments.names:
        print(f"imagegen/{name}:{VERSION}  {size(name) / 1e6:.0f} MB unpacked, {packed(name) / 1e6:.0f} MB packed")
    return 0


def push(names: Sequence[str], registry: str, *, insecure: bool = False) -> int:
    """Push images to a registry, and print the chart's values that name them there by their digests."""
    if missing := [name for name in names if not exists(tag(name))]:
        print(f"images: {tag(missing[0])} is not built: run `make images` first", file=sys.stderr)
        return 2
    print(f"image:\n  registry: {registry}\n  digests:")
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            digest_file = Path(folder) / "digest"
            target = f"docker://{registry}/imagegen/{name}:{VERSION}"
            options = [f"--digestfile={digest_file}", *(["--tls-verify=false"] if insecure else [])]
            run(["podman", "push", "--quiet", *options, tag(name), target])
            print(f"    {name}: {digest_file.read_text('ascii').strip()}")
    return 0


def pinned(image: str) -> str:
    """Name of a base image by its digest in DIGESTS.

    Raises:
        LocalError: it has none there.
    """
    known = json.loads(DIGESTS.read_text("utf-8")).get(image, "")
    if not re.fullmatch(r"sha256:[0-9a-f]{64}", known):
        raise LocalError(
            f"docker/digests.json has no digest of {image}: run `python -m local.images --release --refresh-digests` "
            "where its registry can be reached"
        )
    return f"{image.rpartition(':')[0]}@{known}"


def refresh_digests() -> None:
    """Write the digests that the registries give now into DIGESTS.

    Raises:
        subprocess.CalledProcessError: a registry does not answer.
    """
    images = sorted(json.loads(DIGESTS.read_text("utf-8")))
    command = ["skopeo", "inspect", "--format", "{{.Digest}}"]
    found = {image: run([*command, f"docker://{image}"]).strip() for image in images}
    DIGESTS.write_text(json.dumps(found, indent=2) + "\n", "utf-8")


def write_hashes() -> None:
    """Write the hashes of the starter's models, which its image is checked by when they are copied out of it."""
    models = [ROOT / name for name in sorted(run(["git", "ls-files", "model_repository"]).splitlines())]
    lines = [f"{digest(path)}  {path.relative_to(ROOT / 'model_repository')}" for path in models]
    (BUILD / "models.sha256").write_text("\n".join(lines) + "\n", "utf-8")


def tag(name: str) -> str:
    """What an image is called here."""
    return f"localhost/imagegen/{name}:{VERSION}"


def build(name: str, called: str, base: str) -> None:
    """Build one image on a base image, which is fetched only where its digest is given."""
    wheels = os.environ.get("PIP_FIND_LINKS", "")
    mounts = [_CERTIFICATES, Path("/etc/pip.conf")]  # a machine's own way to its package index
    command = ["buildah", "build", "--isolation", "chroot", "--network", "host", "--quiet"]
    command.append("--pull" if "@" in base else "--pull-never")
    command += [f"--volume={path}:{path}:ro" for path in mounts if path.is_file()]
    if Path(wheels).is_absolute():
        command += [f"--volume={wheels}:{wheels}:ro", f"--build-arg=PIP_FIND_LINKS={wheels}"]
    command += [f"--build-arg=VERSION={VERSION}", f"--build-arg=REVISION={revision()}", f"--build-arg=PYTHON={base}"]
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
