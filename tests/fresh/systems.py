"""The systems: minimal roots by debootstrap, with the packages of README's line and nothing else."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
_SCRIPTS = Path("/usr/share/debootstrap/scripts")
# "Ubuntu Archive Automatic Signing Key (2018)", as Ubuntu publishes it. Debian's packages have no keyring of Ubuntu's.
_UBUNTU_KEY = "F6ECB3762474EDA9D21B7022871920D1991BC93C"


@dataclass(frozen=True)
class System:
    """A distribution's release.

    Attributes:
        name: for people.
        suite: its name in the archive.
        script: of debootstrap, for suites newer than it is.
        keyring: file that the archive's signature is checked with; None: debootstrap's own.
        components: parts of the archive.
    """

    name: str
    suite: str
    script: str
    keyring: Path | None = None
    components: str = "main"


def list_systems(work: Path) -> list[System]:
    """Return all the systems of the matrix."""
    keyring = work / "ubuntu-archive-keyring.gpg"
    return [
        System("Debian 12", "bookworm", "sid"),
        System("Debian 13", "trixie", "sid"),
        System("Ubuntu 22.04", "jammy", "gutsy", keyring, "main,universe"),
        System("Ubuntu 24.04", "noble", "gutsy", keyring, "main,universe"),
    ]


def read_packages() -> list[str]:
    """Return the packages that README's line installs."""
    found = re.search(r"^sudo apt install (.+)$", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE)
    assert found, "README.md has no line `sudo apt install …`"
    return found[1].split()


def prepare(system: System, work: Path) -> Path:
    """Return the root folder of a system; made once, and again when README's packages change.

    Raises:
        subprocess.CalledProcessError: its archive or keyring cannot be had here.
    """
    root, packages = work / "roots" / system.suite, read_packages()
    note = root / "var/lib/imagegen-fresh"
    if note.is_file() and note.read_text() == " ".join(packages):
        return root
    if not (root / "etc/apt").is_dir():
        _bootstrap(system, root)
    shutil.copy("/etc/resolv.conf", root / "etc/resolv.conf")
    for command in (["apt-get", "update", "-qq"], ["apt-get", "install", "-qq", "--no-install-recommends", *packages]):
        _run(["chroot", str(root), "env", "DEBIAN_FRONTEND=noninteractive", *command])
    _run(["chroot", str(root), "useradd", "--create-home", "--shell", "/bin/bash", "someone"])
    # The clone's source belongs to another user there.
    (root / "etc/gitconfig").write_text("[safe]\n\tdirectory = *\n")
    note.write_text(" ".join(packages))
    return root


def _bootstrap(system: System, root: Path) -> None:
    fresh = root.with_suffix(".new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.parent.mkdir(parents=True, exist_ok=True)
    options = ["--variant=minbase", f"--components={system.components}"]
    if system.keyring:
        if not system.keyring.is_file():
            _fetch_ubuntu_keyring(system.keyring)
        options.append(f"--keyring={system.keyring}")
    script = _SCRIPTS / system.suite
    _run(
        [
            "debootstrap",
            *options,
            system.suite,
            str(fresh),
            "",
            str(script if script.exists() else _SCRIPTS / system.script),
        ]
    )
    fresh.rename(root)


def _fetch_ubuntu_keyring(target: Path) -> None:
    """Take the keyring out of Ubuntu's package, and keep the one key whose fingerprint is known here."""
    script = (_SCRIPTS / "gutsy").read_text("utf-8")
    mirror = re.search(r"default_mirror (\S+)", script)
    assert mirror, "debootstrap's script names no archive"
    with tempfile.TemporaryDirectory() as folder:
        download = (
            f"cd {folder} && curl -fsS {mirror[1]}/dists/noble/main/binary-amd64/Packages.xz | xz -dc > Packages"
            " && file=$(sed -n '/^Package: ubuntu-keyring$/,/^$/s/^Filename: //p' Packages)"
            f' && curl -fsS -o keyring.deb "{mirror[1]}/$file" && dpkg-deb -x keyring.deb .'
            " && gpg --quiet --homedir . --import usr/share/keyrings/ubuntu-archive-keyring.gpg"
            f" && gpg --homedir . --export {_UBUNTU_KEY} > only.gpg && [ -s only.gpg ]"
        )
        _run(["sh", "-c", download])
        shutil.copy(Path(folder) / "only.gpg", target)


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)
