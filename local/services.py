"""The programs of the stack: how each is started, asked and stopped."""

from __future__ import annotations

import os
import subprocess
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from local import postgres, processes, supervisor, triton
from local.errors import LocalError
from local.settings import HOST, ROOT, Settings, check_ports_free

START_SECONDS = 180.0  # a busy machine needs more than a minute
STOP_SECONDS = 70.0  # longer than the services' own grace time for running work
COMMAND_SECONDS = 120.0  # longest time for one of the orchestrator's commands


@dataclass(frozen=True)
class Service:
    """One program of the stack.

    Attributes:
        name: of its log and pid file.
        start: starts it and waits until it is ready.
        is_ready: asks it.
        stop: stops the given process of it; whether it ended by itself.
        ports: names of the ports that it listens on.
    """

    name: str
    start: Callable[[], object]
    is_ready: Callable[[], bool]
    stop: Callable[[processes.Process], bool]
    ports: tuple[str, ...]


def list_services(settings: Settings) -> list[Service]:
    """Return the services in the order in which they start; without PostgreSQL where the user has one."""
    ports = settings.ports
    database = Service(
        postgres.NAME,
        lambda: postgres.start(settings),
        lambda: postgres.is_ready(settings),
        lambda process: postgres.stop(settings, process),
        (postgres.NAME,),
    )
    embedded = not settings.database_url or processes.load(pid_file(settings, postgres.NAME)) is not None
    networks = Service(
        triton.NAME,
        lambda: triton.ensure(settings),
        lambda: triton.is_live(ports),
        lambda process: triton.stop(settings, process),
        triton.PORTS,
    )
    return [
        *([database] if embedded else []),
        networks,
        _make_supervisor(settings),
        _make_service(settings, "orchestrator", ("grpc", "metrics"), lambda: _is_healthy(ports.grpc)),
        _make_service(settings, "gateway", ("rest",), lambda: _answers(f"{settings.rest_url}/healthz")),
    ]


def run_command(settings: Settings, *arguments: str) -> str:
    """Run one of the orchestrator's commands, `migrate` say, on the stack's database; returns what it printed.

    Raises:
        LocalError: it failed; with what it said.
    """
    command = [str(settings.service_env / "bin" / "python"), "-m", "orchestrator", *arguments]
    done = subprocess.run(
        command,
        env=_environment(settings, "orchestrator"),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=COMMAND_SECONDS,
    )
    if done.returncode:
        raise LocalError(f"`python -m orchestrator {' '.join(arguments)}` failed:\n{done.stderr.strip()}")
    return done.stdout


def pid_file(settings: Settings, name: str) -> Path:
    """Return where the process of a service is noted."""
    return settings.state_dir / "pids" / f"{name}.json"


def _make_service(settings: Settings, name: str, ports: tuple[str, ...], is_ready: Callable[[], bool]) -> Service:
    """Return a service that is a package of this repository, run by `python -m`."""
    noted = pid_file(settings, name)

    def start() -> None:
        check_ports_free(settings.ports, ports)
        log = settings.state_dir / "logs" / f"{name}.log"
        command = [str(settings.service_env / "bin" / "python"), "-m", name]
        process = processes.start(command, _environment(settings, name), ROOT, log, noted)
        processes.wait_ready(name, process, is_ready, START_SECONDS, log)

    return Service(name, start, is_ready, lambda process: processes.stop(process, noted, STOP_SECONDS), ports)


def _make_supervisor(settings: Settings) -> Service:
    """Return the service that starts Triton again where it fails. It is stopped before Triton is."""
    noted = pid_file(settings, supervisor.NAME)

    def start() -> None:
        log = settings.state_dir / "logs" / f"{supervisor.NAME}.log"
        command = [str(settings.service_env / "bin" / "python"), "-m", "local.supervisor"]
        process = processes.start(command, supervisor.environment(settings), ROOT, log, noted)
        processes.wait_ready(supervisor.NAME, process, is_ready, START_SECONDS, log)

    def is_ready() -> bool:
        process, ready = processes.load(noted), supervisor.ready_file(settings)
        return process is not None and ready.exists() and ready.read_text(encoding="ascii") == str(process.pid)

    return Service(supervisor.NAME, start, is_ready, lambda process: processes.stop(process, noted, STOP_SECONDS), ())


def _environment(settings: Settings, name: str) -> dict[str, str]:
    """Return the environment of the orchestrator or the gateway: the caller's, and what the stack sets."""
    ports = settings.ports
    if name == "gateway":
        return {
            **os.environ,
            "IMAGEGEN_REST_ADDRESS": f"{HOST}:{ports.rest}",
            "IMAGEGEN_ORCHESTRATOR": f"{HOST}:{ports.grpc}",
        }
    return {
        "IMAGEGEN_RESULTS_URL": str(settings.state_dir / "results"),
        **os.environ,
        "IMAGEGEN_GRPC_ADDRESS": f"{HOST}:{ports.grpc}",
        "IMAGEGEN_METRICS_ADDRESS": f"{HOST}:{ports.metrics}",
        "IMAGEGEN_TRITON_URL": f"{HOST}:{ports.triton_grpc}",
        "IMAGEGEN_FAMILIES": str(settings.families),
        "IMAGEGEN_DATABASE_URL": postgres.read_url(settings),
        "IMAGEGEN_PUBLIC_URL": settings.rest_url,
    }


def _is_healthy(port: int) -> bool:
    """Whether the gRPC server says that it serves."""
    with grpc.insecure_channel(f"{HOST}:{port}") as channel:
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=2)
        except grpc.RpcError:
            return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310 - built above, http on loopback
            return bool(answer.status == 200)
    except OSError:
        return False
