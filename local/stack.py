"""The stack: Triton, the orchestrator, the gateway, started in this order and stopped in reverse.

A service that already runs and answers is left as it is, so `up` after `up` changes nothing, and `up` after one of
them has died starts that one alone.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from local import processes, triton
from local.errors import LocalError, StartError
from local.progress import Bar
from local.settings import HOST, ROOT, Settings, check_ports_free

START_SECONDS = 60.0
RECOVERY_SECONDS = 10.0  # that a running service has to answer again
STOP_SECONDS = 70.0  # longer than the services' own grace time for running work
_KEY_NAME = "local"  # of the key's owner, in the file of hashes


@dataclass(frozen=True)
class Service:
    """One program of the stack.

    Attributes:
        name: of its log and pid file.
        start: starts it and waits until it is ready.
        is_ready: asks it.
        stop: stops the given process of it; whether it ended by itself.
    """

    name: str
    start: Callable[[], object]
    is_ready: Callable[[], bool]
    stop: Callable[[processes.Process], bool]


def up(settings: Settings) -> list[str]:
    """Start what does not run yet; return when all of it is ready.

    Returns:
        The names of the services that were started now.

    Raises:
        LocalError: a service could not be started. What this call started is stopped again.
    """
    started: list[Service] = []
    services = _list_services(settings)
    with _locked(settings), Bar("Starting", len(services)) as bar:
        _ensure_api_key(settings)
        try:
            for service in services:
                bar.show(service.name)
                if _is_serving(settings, service):
                    bar.advance(f"{service.name} runs already")
                    continue
                started.append(service)
                service.start()
                bar.advance(f"{service.name} is ready")
        except BaseException:
            _stop(settings, started)
            raise
    return [service.name for service in started]


def down(settings: Settings, names: list[str] | None = None) -> list[str]:
    """Stop services of this state folder, last started first; return when they are gone.

    Args:
        settings: the stack.
        names: which; all if None.

    Returns:
        The names of those that had to be killed, because they did not end in their time.
    """
    services = [each for each in _list_services(settings) if names is None or each.name in names]
    with _locked(settings), Bar("Stopping", len(services)) as bar:
        return _stop(settings, services, bar)


def list_states(settings: Settings) -> dict[str, str]:
    """Return for each service whether it is "ready", "not ready" or "stopped"."""
    states = {}
    for service in _list_services(settings):
        if processes.load(_pid_file(settings, service.name)) is None:
            states[service.name] = "stopped"
        else:
            states[service.name] = "ready" if service.is_ready() else "not ready"
    return states


def read_api_key(settings: Settings) -> str:
    """Return the key of the local stack.

    Raises:
        LocalError: there is none; the stack was never started.
    """
    try:
        return (settings.state_dir / "api-key").read_text(encoding="ascii").strip()
    except OSError as error:
        raise LocalError(f"no API key in {settings.state_dir}: start the stack first (`make up`)") from error


def _list_services(settings: Settings) -> list[Service]:
    ports = settings.ports
    orchestrator = {
        "IMAGEGEN_GRPC_ADDRESS": f"{HOST}:{ports.grpc}",
        "IMAGEGEN_METRICS_ADDRESS": f"{HOST}:{ports.metrics}",
        "IMAGEGEN_TRITON_URL": f"{HOST}:{ports.triton_grpc}",
        "IMAGEGEN_FAMILIES": str(settings.families),
        "IMAGEGEN_RESULTS_URL": str(settings.state_dir / "results"),
        "IMAGEGEN_PUBLIC_URL": settings.rest_url,
        "IMAGEGEN_API_KEYS_FILE": str(settings.state_dir / "api-keys"),
    }
    gateway = {
        "IMAGEGEN_REST_ADDRESS": f"{HOST}:{ports.rest}",
        "IMAGEGEN_ORCHESTRATOR": f"{HOST}:{ports.grpc}",
    }
    return [
        Service(
            triton.NAME,
            lambda: triton.start(settings),
            lambda: triton.is_live(ports),
            lambda process: triton.stop(settings, process),
        ),
        _make_service(settings, "orchestrator", orchestrator, ("grpc", "metrics"), lambda: _is_healthy(ports.grpc)),
        _make_service(settings, "gateway", gateway, ("rest",), lambda: _answers(f"{settings.rest_url}/healthz")),
    ]


def _make_service(
    settings: Settings, name: str, environment: dict[str, str], ports: tuple[str, ...], is_ready: Callable[[], bool]
) -> Service:
    """Return a service that is a package of this repository, run by `python -m`."""
    pid_file = _pid_file(settings, name)

    def start() -> None:
        check_ports_free(settings.ports, ports)
        log = settings.state_dir / "logs" / f"{name}.log"
        command = [str(settings.service_env / "bin" / "python"), "-m", name]
        process = processes.start(command, {**os.environ, **environment}, ROOT, log, pid_file)
        processes.wait_ready(name, process, is_ready, START_SECONDS, log)

    return Service(name, start, is_ready, lambda process: processes.stop(process, pid_file, STOP_SECONDS))


def _is_serving(settings: Settings, service: Service) -> bool:
    """Whether it runs and is ready, or becomes so soon; one that does not is stopped, to be started anew.

    It may only be about to find its own server again: an orchestrator whose Triton has just been started.
    """
    process = processes.load(_pid_file(settings, service.name))
    if process is None:
        return False
    log = settings.state_dir / "logs" / f"{service.name}.log"
    try:
        processes.wait_ready(service.name, process, service.is_ready, RECOVERY_SECONDS, log)
    except StartError:
        service.stop(process)
        return False
    return True


def _stop(settings: Settings, services: list[Service], bar: Bar | None = None) -> list[str]:
    killed = []
    for service in reversed(services):
        if bar:
            bar.show(service.name)
        pid_file = _pid_file(settings, service.name)
        processes.sweep(pid_file)
        process = processes.load(pid_file)
        if process is not None and not service.stop(process):
            killed.append(service.name)
        if bar:
            bar.advance(f"{service.name} is gone")
    return killed


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
        with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310 - made above, http on loopback
            return bool(answer.status == 200)
    except OSError:
        return False


def _ensure_api_key(settings: Settings) -> None:
    """Draw an API key where there is none, and write what the orchestrator knows of it: its hash."""
    key_file = settings.state_dir / "api-key"
    if not key_file.exists():
        descriptor = os.open(key_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_urlsafe(32) + "\n")
    digest = hashlib.sha256(read_api_key(settings).encode()).hexdigest()
    (settings.state_dir / "api-keys").write_text(f"{digest} {_KEY_NAME}\n", encoding="ascii")


def _pid_file(settings: Settings, name: str) -> Path:
    return settings.state_dir / "pids" / f"{name}.json"


@contextmanager
def _locked(settings: Settings) -> Iterator[None]:
    """Hold the state folder: a second `up` or `down` waits until this one is through."""
    settings.state_dir.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(settings.state_dir, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
