"""Orchestrator and gateway as programs of their own, in memory cgroups of the chart's limits where that is possible."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from local.settings import Ports
from tests.accounts import new_key
from tests.database import new_url
from tests.integration.both_protocols import until_serving
from tests.integration.stack import REPOSITORY

CGROUPS = Path("/sys/fs/cgroup")
LIMITS = {"orchestrator": 4 << 30, "gateway": 1 << 30}
"""Bytes of memory, as helm/imagegen/values.yaml has them."""


class Program:
    """A running program, and its memory."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, group: Path | None) -> None:
        self.name, self.process, self.group = name, process, group

    @property
    def is_alive(self) -> bool:
        """Whether nothing has ended it."""
        return self.process.returncode is None

    def memory(self, name: str = "VmRSS") -> int:
        """Resident memory of it and its children, MB: VmRSS now, VmHWM at most so far."""
        total = 0
        for pid in (self.process.pid, *_children(self.process.pid)):
            with contextlib.suppress(OSError, StopIteration):
                lines = Path(f"/proc/{pid}/status").read_text("utf-8").splitlines()
                total += int(next(line for line in lines if line.startswith(f"{name}:")).split()[1])
        return total // 1000

    def oom_kills(self) -> int:
        """Processes that the kernel has killed for the limit."""
        if self.group is None:
            return 0
        for name in ("memory.oom_control", "memory.events"):
            with contextlib.suppress(OSError):
                found = dict(line.split() for line in (self.group / name).read_text("utf-8").splitlines())
                return int(found.get("oom_kill", 0))
        return 0


@dataclass
class Stack:
    """What is attacked.

    Attributes:
        orchestrator: its program.
        gateway: its program.
        grpc_port: of the orchestrator.
        rest_port: of the gateway.
        attacker: a key.
        neighbour: a key of another account.
        limited: whether the limits of memory hold.
    """

    orchestrator: Program
    gateway: Program
    grpc_port: int
    rest_port: int
    attacker: str
    neighbour: str
    limited: bool = field(default=False)

    @property
    def programs(self) -> tuple[Program, Program]:
        """Both."""
        return self.orchestrator, self.gateway


@contextlib.asynccontextmanager
async def running(triton_port: int, families: Path, folder: Path, *, limited: bool) -> AsyncIterator[Stack]:
    """Start both, and stop them."""
    ports, url = Ports.free(), new_url()
    attacker, neighbour = await new_key(url, "attacker"), await new_key(url, "neighbour")
    orchestrator = {
        "GRPC_ADDRESS": f"127.0.0.1:{ports.grpc}",
        "METRICS_ADDRESS": f"127.0.0.1:{ports.metrics}",
        "TRITON_URL": f"127.0.0.1:{triton_port}",
        "FAMILIES": str(families),
        "DATABASE_URL": url,
        "RESULTS_URL": str(folder / "results"),
        "PUBLIC_URL": f"http://127.0.0.1:{ports.rest}",
        "LOG_LEVEL": "error",
    }
    gateway = {
        "REST_ADDRESS": f"127.0.0.1:{ports.rest}",
        "ORCHESTRATOR": f"127.0.0.1:{ports.grpc}",
        "LOG_LEVEL": "error",
    }
    async with (
        _program("orchestrator", orchestrator, folder, limited=limited) as first,
        grpc.aio.insecure_channel(f"127.0.0.1:{ports.grpc}") as channel,
    ):
        await until_serving(channel)
        async with _program("gateway", gateway, folder, limited=limited) as second:
            await _until_connected(ports.rest)
            held = first.group is not None and second.group is not None
            yield Stack(first, second, ports.grpc, ports.rest, attacker, neighbour, held)


@contextlib.asynccontextmanager
async def _program(name: str, settings: dict[str, str], folder: Path, *, limited: bool) -> AsyncIterator[Program]:
    group = _group(name) if limited else None
    with (folder / f"{name}.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            "import os, runpy, sys\n"
            "if sys.argv[2]: open(sys.argv[2] + '/cgroup.procs', 'w').write(str(os.getpid()))\n"
            "name = sys.argv[1]\nsys.argv = [name]\nrunpy.run_module(name, run_name='__main__', alter_sys=True)",
            name,
            "" if group is None else str(group),
            cwd=REPOSITORY,
            env={**os.environ, **{f"IMAGEGEN_{key}": value for key, value in settings.items()}},
            stderr=log,
        )
    try:
        yield Program(name, process, group)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), 30)
        except TimeoutError:
            process.kill()
            await process.wait()
        if group is not None:
            with contextlib.suppress(OSError):
                group.rmdir()


def _group(name: str) -> Path | None:
    """A memory cgroup with the program's limit; None where this machine does not let us create one."""
    for root, limit in ((CGROUPS / "memory", "memory.limit_in_bytes"), (CGROUPS, "memory.max")):
        group = root / f"imagegen-hostile-{os.getpid()}-{name}"
        with contextlib.suppress(OSError):
            group.mkdir()
            try:
                (group / limit).write_text(str(LIMITS[name]), "utf-8")
            except OSError:
                group.rmdir()
            else:
                return group
    return None


async def _until_connected(port: int) -> None:
    async with asyncio.timeout(60):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                return


def _children(pid: int) -> list[int]:
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text("utf-8").split():
                found += [int(child), *_children(int(child))]
    return found
