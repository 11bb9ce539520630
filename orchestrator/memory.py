"""Memory for client pictures: how much the machine, or the cgroup that the service runs in, leaves for it."""

import os
from dataclasses import dataclass
from pathlib import Path

from orchestrator.config import Settings

SERVICE = 512 << 20
"""Bytes for everything but pictures: the interpreter, libraries, connections, the decoding process."""
USABLE = 0.8
"""Share of the rest that pictures may take: allocators and kernels need some on top of what is counted."""
ARRIVING, HELD, FETCHED = 0.2, 0.1, 0.1
"""Shares of the pictures' memory for files as they come: messages that arrive, streams that wait, fetched files."""

_V2, _V1 = Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/memory")


@dataclass(frozen=True, slots=True)
class PictureMemory:
    """Bytes for client pictures.

    Attributes:
        limit: of the service, by the machine or its cgroup.
        total: for pictures.
        arriving: of `total`, for messages with pictures that are being received.
        held: for files that came with streams that wait or run.
        fetched: for files that were fetched.
        working: for decoding, and for what is decoded and worked on.
    """

    limit: int
    total: int
    arriving: int
    held: int
    fetched: int
    working: int

    @classmethod
    def of(cls, settings: Settings, limit: int | None = None) -> "PictureMemory":
        """The share of each use, by the settings, and by the limit of the service where nothing is set."""
        limit = service_limit() if limit is None else limit
        total = settings.picture_memory or max(0, int(USABLE * (limit - SERVICE)))
        arriving, held, fetched = (int(total * share) for share in (ARRIVING, HELD, FETCHED))
        working = total - arriving - held - fetched
        return cls(limit=limit, total=total, arriving=arriving, held=held, fetched=fetched, working=working)


def service_limit(root: Path = Path("/")) -> int:
    """Bytes that this process and its children may take: the machine's, or the least of its cgroups' limits.

    cgroup v2: memory.max of its group and of those above it; v1: memory.limit_in_bytes. `root` is for tests.
    """
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        if not controllers:
            limits += _limits(root / _V2.relative_to("/"), path, "memory.max")
        elif "memory" in controllers.split(","):
            limits += _limits(root / _V1.relative_to("/"), path, "memory.limit_in_bytes")
    return min(limits)


def _limits(mount: Path, path: str, name: str) -> list[int]:
    """Limits of a group and of those above it; in a container its own group is the mount itself."""
    group = mount / path.strip("/")
    groups = [group, *(each for each in group.parents if each.is_relative_to(mount)), mount]
    found = [text for each in groups for text in _lines(each / name)]
    return [int(text) for text in found if text.isdigit()]  # "max" is not a number


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text().split()
    except OSError:
        return []
