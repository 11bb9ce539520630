"""The programs of a stack with two orchestrators: killed, frozen, drained, and started again."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from local import postgres, processes, stack
from local import services as local_services
from local.ports import Ports
from local.services import Service, list_services, pid_file
from local.settings import HOST, ROOT, Settings

SECOND = "orchestrator2"
STUB_OF = "starter_unet"
"""Model whose process in Triton is killed and frozen."""
RESULTS_BYTES = 64 * 1024 * 1024
"""Of the file system that holds the pictures, where one can be mounted."""
DRAIN_SECONDS = 90.0
START_SECONDS = 240.0
"""For an orchestrator to find all models ready, on a machine that is busy with other things."""


@dataclass
class Programs:
    """What runs.

    Attributes:
        settings: of the stack; the second orchestrator has other ports.
        second: the second orchestrator's settings.
        services: by name.
        mounted: whether the pictures are on a file system of their own, which can be full and read-only.
    """

    settings: Settings
    second: Settings
    services: dict[str, Service]
    mounted: bool

    @classmethod
    def start(cls, settings: Settings) -> Programs:
        """Start the stack, and another orchestrator next to its own."""
        results = settings.state_dir / "results"
        results.mkdir(parents=True, exist_ok=True)
        command = ["mount", "-t", "tmpfs", "-o", f"size={RESULTS_BYTES},mode=0755", "tmpfs", str(results)]
        mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0  # noqa: S603 - ours
        free = Ports.free()
        second = replace(settings, ports=replace(settings.ports, grpc=free.grpc, metrics=free.metrics))
        programs = cls(settings, second, {}, mounted)
        try:
            stack.up(settings)
            programs.services = {service.name: service for service in list_services(settings)}
            programs.services[SECOND] = programs._second_orchestrator()
            programs.services[SECOND].start()
        except BaseException:
            programs.stop()
            raise
        return programs

    def stop(self) -> None:
        """Stop all of them."""
        noted = pid_file(self.settings, SECOND)
        if (process := processes.load(noted)) is not None:
            processes.stop(process, noted, DRAIN_SECONDS)
        stack.down(self.settings)
        _unmount(self.results, mounted=self.mounted)

    @property
    def results(self) -> Path:
        """Folder of the pictures."""
        return self.settings.state_dir / "results"

    @property
    def addresses(self) -> list[str]:
        """Of both orchestrators."""
        return [f"{HOST}:{each.ports.grpc}" for each in (self.settings, self.second)]

    def kill(self, name: str) -> None:
        """Kill -9 of a program; for "stub" of a model's process in Triton."""
        if name == "stub":
            os.kill(self.stub(), signal.SIGKILL)
            return
        noted = pid_file(self.settings, name)
        process = self._process(name)
        os.kill(process.pid, signal.SIGKILL)  # of what is frozen, too
        while process.is_alive():
            time.sleep(0.01)
        processes.sweep(noted)

    def drain(self, name: str) -> None:
        """SIGTERM; returns when it has ended."""
        process = self._process(name)
        os.kill(process.pid, signal.SIGTERM)
        end = time.monotonic() + DRAIN_SECONDS
        while process.is_alive():
            assert time.monotonic() < end, f"{name} does not end"
            time.sleep(0.05)
        processes.sweep(pid_file(self.settings, name))

    def freeze(self, name: str) -> list[tuple[int, bool]]:
        """SIGSTOP of a program with what it started; of Triton of the server alone. What `resume` takes."""
        frozen = [(self.stub(), False)] if name == "stub" else [(self._process(name).pid, name != "triton")]
        _signal(frozen, signal.SIGSTOP)
        return frozen

    def resume(self, frozen: list[tuple[int, bool]]) -> None:
        """SIGCONT to what is still there."""
        _signal(frozen, signal.SIGCONT)

    def start_again(self, name: str) -> None:
        """As `make up` would; Triton is left to the supervisor."""
        if name not in {"triton", "stub"}:
            self.services[name].start()

    def stop_postgres_at_once(self) -> None:
        """Its immediate stop, which leaves a recovery to the next start."""
        process = self._process(postgres.NAME)
        os.kill(process.pid, signal.SIGQUIT)
        while process.is_alive():
            time.sleep(0.01)
        processes.sweep(pid_file(self.settings, postgres.NAME))

    def stub(self) -> int:
        """Process id of the model's process."""
        triton = self._process("triton").pid
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                stat, command = (folder / "stat").read_text(), (folder / "cmdline").read_bytes().decode()
                if int(stat.rpartition(")")[2].split()[1]) == triton and STUB_OF in command:
                    return int(folder.name)
        raise AssertionError(f"{STUB_OF} has no process")

    def _process(self, name: str) -> processes.Process:
        process = processes.load(pid_file(self.settings, name))
        assert process is not None, f"{name} has died by itself"
        return process

    def _second_orchestrator(self) -> Service:
        """As local.services makes the first, noted under another name."""
        noted = pid_file(self.settings, SECOND)
        log = self.settings.state_dir / "logs" / f"{SECOND}.log"
        command = [str(self.settings.service_env / "bin" / "python"), "-m", "orchestrator"]

        def is_ready() -> bool:
            return local_services._is_healthy(self.second.ports.grpc)

        def start() -> None:
            environment = local_services._environment(self.second, "orchestrator")
            process = processes.start(command, environment, ROOT, log, noted)
            processes.wait_ready(SECOND, process, is_ready, START_SECONDS, log)

        return Service(SECOND, start, is_ready, lambda process: processes.stop(process, noted, DRAIN_SECONDS), ())


def _signal(pids: list[tuple[int, bool]], number: signal.Signals) -> None:
    for pid, has_group in pids:
        with suppress(ProcessLookupError):
            (os.killpg if has_group else os.kill)(pid, number)


def _unmount(folder: Path, *, mounted: bool) -> None:
    if mounted:
        subprocess.run(["umount", "-l", str(folder)], check=False)  # noqa: S603, S607 - ours
