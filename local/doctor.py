"""`make doctor`: what on this machine prevents the embedded stack from running, and what to do about it.

Runs in any Python 3.9, before anything is installed, and changes nothing.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from local import environments, host, pythons
from local.errors import EnvironmentSetupError, HostError, LocalError
from local.folders import HOME, ROOT
from local.port_owners import find_owner
from local.ports import is_free
from local.settings import Settings

_MEMORY_GB = 3  # that the stack and one picture take, with room for the system
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - where POSIX shared memory is, not a temporary file
_SHARED_MB = 48  # of it; Triton exchanges tensors with its models through it
_GRAPH = ROOT / "model_repository" / "starter_unet" / "1" / "graph.onnx"
_GRAPH_BYTES = 10_000_000  # less is a pointer of git lfs, or an interrupted clone


@dataclass(frozen=True)
class Finding:
    """One thing that was checked.

    Attributes:
        level: "ok", "note" (it works, and this is how) or "problem".
        text: what was found, and of a problem, what to do.
    """

    level: str
    text: str


def run() -> int:
    """Check everything and print it; returns 1 if there is a problem."""
    findings = [finding for check in _CHECKS for finding in check()]
    for finding in findings:
        print(f"{finding.level:<8} {finding.text}")
    problems = sum(finding.level == "problem" for finding in findings)
    print(f"\n{problems} to solve before `make demo`." if problems else "\nEverything is ready: `make demo`.")
    return 1 if problems else 0


def _check_machine() -> Iterator[Finding]:
    facts = host.inspect(sys.executable)
    try:
        host.check_platform(facts)
        yield Finding("ok", f"{facts.system} on {facts.machine}, {facts.libc}")
    except HostError as error:
        yield Finding("problem", str(error))
        return
    python, reasons = pythons.find_installed(HOME)
    if python:
        yield Finding("ok", f"Python {host.inspect(python).version}: {python}")
    elif not facts.ensurepip:
        yield Finding("problem", f"{reasons[0]} It is also needed for fetching another Python.")
    else:
        yield Finding("note", f"{reasons[0]} Python {pythons.FETCHED} will be fetched: {pythons.SIZES}.")


def _check_disk() -> Iterator[Finding]:
    try:
        notice = environments.announce(["service", "triton"])
        yield Finding("note" if notice else "ok", notice or f"everything is installed in {HOME}")
    except (EnvironmentSetupError, OSError) as error:
        yield Finding("problem", str(error))
    if HOME != ROOT:
        yield Finding("note", f"{ROOT} cannot be written: everything goes into {HOME}")
    if not _GRAPH.is_file() or _GRAPH.stat().st_size < _GRAPH_BYTES:
        yield Finding("problem", f"{_GRAPH} is missing or cut short: clone the repository again")


def _check_memory() -> Iterator[Finding]:
    pages, cores = os.sysconf("SC_PHYS_PAGES"), len(os.sched_getaffinity(0))
    gigabytes = min([pages * os.sysconf("SC_PAGE_SIZE"), *_read_limits()]) / 1e9
    enough = gigabytes >= _MEMORY_GB
    advice = "" if enough else ": 4 GB are needed"
    yield Finding("ok" if enough else "problem", f"{gigabytes:.1f} GB of memory, {cores} cores{advice}")
    shared = shutil.disk_usage(_SHARED_MEMORY).free // 10**6
    if shared < _SHARED_MB:
        text = f"{_SHARED_MEMORY} has {shared} MB free, {_SHARED_MB} are needed (docker run --shm-size=256m)"
        yield Finding("problem", text)


def _read_limits() -> Iterator[int]:
    """Memory limits of the control group that we are in, bytes; of either version."""
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            yield int(Path("/sys/fs/cgroup", name).read_text(encoding="ascii"))
        except (OSError, ValueError):  # another version, or "max"
            continue


def _check_ports() -> Iterator[Finding]:
    try:
        settings = Settings.from_env(os.environ)
    except LocalError as error:
        yield Finding("problem", str(error))
        return
    running = (settings.state_dir / "ports.json").exists()
    taken = {name: port for name, port in asdict(settings.ports).items() if not is_free(port)}
    if running:
        yield Finding("ok", f"a stack is running, or was until recently: REST is {settings.rest_url}")
        return
    for name, port in taken.items():
        what = f"port {port} ({name}) is in use by {find_owner(port)}"
        if name in settings.movable:
            yield Finding("note", f"{what}: a free one will be used and printed")
        else:
            yield Finding("problem", f"{what}: stop that program, or set another port")
    if not taken:
        yield Finding("ok", "all ports are free")


_CHECKS = (_check_machine, _check_disk, _check_memory, _check_ports)
