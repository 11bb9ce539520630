"""Which program listens on a port, by /proc, for messages."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_LISTEN = "0A"  # the state of a listening socket in /proc/net/tcp
_STATE, _ADDRESS, _INODE = 3, 1, 9  # columns there


def find_owner(port: int) -> str:
    """Return who listens on a port of this machine: "nginx (process 812)", or that it cannot be seen."""
    inodes = set(_list_inodes(port))
    if not inodes:
        return "a program that cannot be seen from here"
    links = {f"socket:[{inode}]" for inode in inodes}
    for process in _list_processes():
        with suppress(OSError):  # it ended meanwhile, or is another user's
            if any(str(file.readlink()) in links for file in (process / "fd").iterdir()):
                return f"{_read_name(process)} (process {process.name})"
    return "a program of another user"


def _list_inodes(port: int) -> Iterator[str]:
    for table in ("tcp", "tcp6"):
        with suppress(OSError):  # there is no tcp6 without IPv6
            lines = Path("/proc/net", table).read_text(encoding="ascii").splitlines()[1:]
            for fields in map(str.split, lines):
                if fields[_STATE] == _LISTEN and int(fields[_ADDRESS].rpartition(":")[2], 16) == port:
                    yield fields[_INODE]


def _list_processes() -> list[Path]:
    return [entry for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _read_name(process: Path) -> str:
    """Return the command that a process runs, its first words."""
    words = (process / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")
    return " ".join(filter(None, words[:3])) or (process / "comm").read_text(encoding="utf-8").strip()
