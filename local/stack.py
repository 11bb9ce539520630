"""The stack: PostgreSQL, Triton, the orchestrator, the gateway, started in this order and stopped in reverse.

A service that already runs and answers is left as it is, so `up` after `up` changes nothing, and `up` after one of
them has died starts that one alone.
"""

from __future__ import annotations

import fcntl
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

from local import processes
from local.errors import LocalError, StartError
from local.progress import Bar
from local.services import Service, list_services, pid_file, run_command
from local.settings import Settings, move_ports

RECOVERY_SECONDS = 10.0  # that a running service has to answer again
_ACCOUNT = "local"  # the key's
_OTHER_START_SECONDS = 120.0  # longest wait for a stack that is just starting somewhere else on this machine
_POLL = 0.1


def up(settings: Settings) -> list[str]:
    """Start what does not run yet; return when all of it is ready.

    Returns:
        The names of the services that were started now.

    Raises:
        LocalError: a service could not be started. What this call started is stopped again.
    """
    started: list[Service] = []
    services = list_services(settings)
    with _locked(settings), Bar("Starting", len(services)) as bar:
        try:
            for service in services:
                bar.show(service.name)
                if _is_serving(settings, service):
                    bar.advance(f"{service.name} is already running")
                    continue
                started.append(service)
                if service.name == "orchestrator":
                    _prepare_database(settings)
                service.start()
                bar.advance(f"{service.name} is ready")
        except BaseException:
            _stop(settings, started)
            raise
    return [service.name for service in started]


@contextmanager
def choosing_ports(settings: Settings) -> Iterator[tuple[Settings, list[str]]]:
    """Choose ports for what does not run yet; other stacks of this machine choose theirs after the `with` block.

    Gives the settings to start with, and a line for a person about each port that another program has. They are noted
    in the state folder.
    """
    settings.state_dir.mkdir(parents=True, exist_ok=True)
    with socket.socket(socket.AF_UNIX) as turn:
        deadline = time.monotonic() + _OTHER_START_SECONDS
        while True:
            try:  # a name, not a file: it is gone with the process, and belongs to the network whose ports are chosen
                turn.bind("\0imagegen-ports")
                break
            except OSError:
                if time.monotonic() > deadline:
                    break
                time.sleep(_POLL)
        stopped = [each for each in list_services(settings) if processes.load(pid_file(settings, each.name)) is None]
        settings, lines = move_ports(settings, [name for service in stopped for name in service.ports])
        settings.write_ports()
        yield settings, lines


def down(settings: Settings, names: list[str] | None = None) -> list[str]:
    """Stop services of this state folder, last started first; return when they are gone.

    Args:
        settings: the stack.
        names: which; all if None.

    Returns:
        The names of those that had to be killed, because they did not end in their time.
    """
    services = [each for each in list_services(settings) if names is None or each.name in names]
    with _locked(settings), Bar("Stopping", len(services)) as bar:
        killed = _stop(settings, services, bar)
        if set(list_states(settings).values()) == {"stopped"}:
            settings.forget_ports()
    return killed


def list_states(settings: Settings) -> dict[str, str]:
    """Return for each service whether it is "ready", "not ready" or "stopped"."""
    states = {}
    for service in list_services(settings):
        if processes.load(pid_file(settings, service.name)) is None:
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


def _is_serving(settings: Settings, service: Service) -> bool:
    """Whether it runs and is ready, or becomes so soon; one that does not is stopped, to be started again.

    It may only be about to find its own server again: an orchestrator whose Triton has just been started.
    """
    process = processes.load(pid_file(settings, service.name))
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
        noted = pid_file(settings, service.name)
        processes.sweep(noted)
        process = processes.load(noted)
        if process is not None and not service.stop(process):
            killed.append(service.name)
        if bar:
            bar.advance(f"{service.name} has stopped")
    return killed


def _prepare_database(settings: Settings) -> None:
    """Bring the database up to date, and see to it that the key of the state folder opens an account in it.

    A key that is there already is kept, also where the database is a new one: it is added there.
    """
    run_command(settings, "migrate")
    run_command(settings, "accounts", "create", _ACCOUNT, "--exist-ok")
    run_command(settings, "keys", "create", _ACCOUNT, "--file", str(settings.state_dir.resolve() / "api-key"))


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
