"""Ports of the embedded stack: which they are, whether they are free, and others in place of those that are not.

Everything listens on 127.0.0.1 only.
"""

from __future__ import annotations

import random
import socket
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from local.errors import LocalError, PortInUseError
from local.port_owners import find_owner

HOST = "127.0.0.1"

_FIRST_FREE = 15_000  # above the ports of servers that people know


@dataclass(frozen=True)
class Ports:
    """Where the services listen. Each is set by IMAGEGEN_<NAME>_PORT."""

    rest: int = 8080
    grpc: int = 50051
    metrics: int = 9090
    triton_http: int = 8000
    triton_grpc: int = 8001
    triton_metrics: int = 8002
    postgres: int = 5433

    @classmethod
    def from_env(cls, environ: Mapping[str, str], others: Mapping[str, int] | None = None) -> Ports:
        """Read the ports that are set.

        Args:
            environ: the variables.
            others: ports by name, of those that are not set; the defaults where it has none. They may be the same as
                one that is set: see `settings.move_ports`.

        Raises:
            LocalError: a value is not a port, or two of those that are set are the same.
        """
        asked = {name: _read_port(environ, name) for name in list_asked(environ)}
        if len(set(asked.values())) < len(asked):
            given = ", ".join(f"{port_variable(name)}={port}" for name, port in asked.items())
            raise LocalError(f"each service needs a port of its own; set are {given}")
        return cls(**{**(others or {}), **asked})

    @classmethod
    def free(cls) -> Ports:
        """Return ports that are free at this moment, for stacks that run side by side.

        None is of those that the system gives to outgoing connections: one of them would take the port of a server
        that is stopped for a moment, a client's that tries to reach that very server, say.
        """
        with ExitStack() as stack:
            return cls(*(_bind_free(stack.enter_context(socket.socket())) for _ in fields(cls)))


def list_asked(environ: Mapping[str, str]) -> list[str]:
    """Return the names of the ports that the user has set."""
    return [each.name for each in fields(Ports) if environ.get(port_variable(each.name), "").strip()]


def port_variable(name: str) -> str:
    """Return the environment variable that sets a port of `Ports`."""
    return f"IMAGEGEN_{name.upper()}_PORT"


def check_ports_free(ports: Ports, names: Iterable[str]) -> None:
    """Check that nobody listens on these ports of `ports`, before a service fails on them in its own words.

    Raises:
        PortInUseError: one is taken; the message names who listens there.
    """
    for name in names:
        port = getattr(ports, name)
        if not is_free(port):
            raise PortInUseError(
                f"port {port} is in use by {find_owner(port)}: stop that program (`make down`, if it is another "
                f"stack of this kind), or set {port_variable(name)} to another port"
            )


def is_free(port: int) -> bool:
    """Whether a server could listen on a port now."""
    with socket.socket() as probe:
        # As servers do: a port whose last connections are still closing counts as free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def find_free(ports: Ports) -> int:
    """Return a free port other than these."""
    while True:
        with socket.socket() as probe:
            port = _bind_free(probe)
        if port not in asdict(ports).values():
            return port


def _bind_free(probe: socket.socket) -> int:
    """Bind a socket to a port that is free, and return the port."""
    first_outgoing = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii").split()[0])
    while True:
        port = random.randrange(_FIRST_FREE, first_outgoing)  # noqa: S311 - no secret
        with suppress(OSError):
            probe.bind((HOST, port))
            return port


def _read_port(environ: Mapping[str, str], name: str) -> int:
    raw = environ[port_variable(name)].strip()
    if not (raw.isascii() and raw.isdigit() and 0 < int(raw) < 65536):
        raise LocalError(f"{port_variable(name)}={raw!r}: give a port, 1 to 65535")
    return int(raw)
