"""The short form, for CI: on this machine itself, with its own Python and package index.

As root in a folder of mode 0700 with blanks in its path, all default ports taken, a fresh clone of HEAD: `make up` and
the curl line that it prints; then once more with the network cut.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import socket
import subprocess
import tempfile
import time
from contextlib import ExitStack, suppress
from pathlib import Path

from tests.fresh.cases import PORTS
from tests.fresh.systems import ROOT


def run() -> int:
    """Run it; returns 1 if something was wrong, with what."""
    home = Path(tempfile.mkdtemp(prefix="imagegen fresh ", dir="/root" if os.geteuid() == 0 else None))
    home.chmod(0o700)
    clone = home / "große Bilder"
    failed = 0
    try:
        _call(["git", "clone", "--quiet", "--depth", "1", f"file://{ROOT}", str(clone)], home)
        for name, prefix in (
            ("ports taken", []),
            ("no network", ["unshare", "--net", "sh", "-c", 'ip link set lo up; exec "$@"', "sh"]),
        ):
            started = time.monotonic()
            with ExitStack() as stack:
                if not prefix:
                    for port in PORTS:
                        with suppress(OSError):  # taken already, which is as good
                            stack.enter_context(socket.create_server(("127.0.0.1", port)))
                problem = _draw(clone, prefix)
            failed += bool(problem)
            print(f"{'FAILED' if problem else 'ok'}  {name}, {time.monotonic() - started:.0f} s {problem}", flush=True)
    finally:
        shutil.rmtree((clone / ".local/postgres/data").resolve().parent, ignore_errors=True)  # in /var/lib for root
        shutil.rmtree(home, ignore_errors=True)
    print(f"{2 - failed} passed, {failed} failed")
    return 1 if failed else 0


def _draw(clone: Path, prefix: list[str]) -> str:
    """`make up`, its curl line, `make down`, all in one shell; returns what was wrong, or ""."""
    script = "make up > up.txt 2>&1 || { cat up.txt; exit 1; }; grep '^curl ' up.txt > line.sh; sh line.sh; make down"
    done = subprocess.run(
        [*prefix, "sh", "-c", script], cwd=clone, capture_output=True, text=True, check=False, env=_environment()
    )
    if done.returncode:
        return (done.stdout + done.stderr)[-3000:]
    picture = clone / "apple.png"
    if not picture.is_file() or not picture.read_bytes().startswith(b"\x89PNG"):
        return f"{shlex.quote(str(picture))} is not a PNG:\n{(clone / 'up.txt').read_text()[-2000:]}"
    picture.unlink()
    moved = re.findall(r"port (\d+) \(?.*? in use by", (clone / "up.txt").read_text())
    if not prefix and set(map(int, moved)) != set(PORTS):
        return f"of the taken ports {moved} were named"
    return ""


def _environment() -> dict[str, str]:
    """Ours, without what a test run may have set."""
    return {
        name: value for name, value in os.environ.items() if not name.startswith(("IMAGEGEN", "VIRTUAL_ENV", "MAKE"))
    }


def _call(command: list[str], folder: Path) -> None:
    subprocess.run(command, cwd=folder, check=True)
