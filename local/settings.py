"""Settings of the embedded stack, read once from the environment. README.md lists them.

Everything listens on 127.0.0.1 only.
"""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, fields
from pathlib import Path

from local.errors import LocalError, PortInUseError

ROOT = Path(__file__).resolve().parent.parent
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
    def from_env(cls, environ: Mapping[str, str]) -> Ports:
        """Read the ports that are set.

        Raises:
            LocalError: a value is no port, or two services share one.
        """
        values: dict[str, int] = {}
        for each in fields(cls):
            variable = port_variable(each.name)
            if raw := environ.get(variable, "").strip():
                if not (raw.isascii() and raw.isdigit() and 0 < int(raw) < 65536):
                    raise LocalError(f"{variable}={raw!r}: give a port, 1 to 65535")
                values[each.name] = int(raw)
        ports = cls(**values)
        numbers = [getattr(ports, each.name) for each in fields(cls)]
        if len(set(numbers)) < len(numbers):
            raise LocalError(f"each service needs a port of its own; set are {ports}")
        return ports

    @classmethod
    def free(cls) -> Ports:
        """Return ports that are free at this moment, for stacks that run side by side.

        None is of those that the system gives to outgoing connections: one of them would take the port of a server
        that is away for a moment, a client's that tries to reach that very server, say.
        """
        with ExitStack() as stack:
            return cls(*(_bind_free(stack.enter_context(socket.socket())) for _ in fields(cls)))


@dataclass(frozen=True)
class Settings:
    """What a stack is made of.

    Attributes:
        state_dir: run-time state: logs, pids, results, the API key (IMAGEGEN_STATE_DIR).
        repositories: folders of Triton models (IMAGEGEN_MODEL_REPOSITORIES, separated by ":").
        families: the registry of model families (IMAGEGEN_FAMILIES).
        ports: where the services listen.
        database_url: of a PostgreSQL of the user's own (IMAGEGEN_DATABASE_URL); "": the embedded one is started.
        service_env: the virtual environment of the orchestrator and the gateway.
        triton_env: the virtual environment that Triton's models run in, and the server comes from.
    """

    state_dir: Path = ROOT / ".local"
    repositories: tuple[Path, ...] = (ROOT / "model_repository",)
    families: Path = ROOT / "families" / "families.toml"
    ports: Ports = Ports()
    database_url: str = field(default="", repr=False)
    service_env: Path = ROOT / ".venv"
    triton_env: Path = ROOT / ".triton"

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Settings:
        """Read the variables that are set; relative paths start at the repository's root.

        Raises:
            LocalError: a port is wrong.
        """
        defaults = cls()
        repositories = environ.get("IMAGEGEN_MODEL_REPOSITORIES", "").strip()
        return cls(
            state_dir=ROOT / (environ.get("IMAGEGEN_STATE_DIR", "").strip() or defaults.state_dir),
            repositories=tuple(ROOT / each for each in repositories.split(os.pathsep) if each) or defaults.repositories,
            families=ROOT / (environ.get("IMAGEGEN_FAMILIES", "").strip() or defaults.families),
            ports=Ports.from_env(environ),
            database_url=environ.get("IMAGEGEN_DATABASE_URL", "").strip(),
        )

    @property
    def rest_url(self) -> str:
        """Where the gateway answers."""
        return f"http://{HOST}:{self.ports.rest}"


def _bind_free(probe: socket.socket) -> int:
    """Bind a socket to a port that is free, and return the port."""
    first_outgoing = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii").split()[0])
    while True:
        port = random.randrange(_FIRST_FREE, first_outgoing)  # noqa: S311 - no secret
        with suppress(OSError):
            probe.bind((HOST, port))
            return port


def port_variable(name: str) -> str:
    """Return the environment variable that sets a port of `Ports`."""
    return f"IMAGEGEN_{name.upper()}_PORT"


def check_ports_free(ports: Ports, names: tuple[str, ...]) -> None:
    """Check that nobody listens on these ports of `ports`, before a service fails on them in its own words.

    Raises:
        PortInUseError: one is taken.
    """
    for name in names:
        port = getattr(ports, name)
        with socket.socket() as probe:
            # As servers do: a port whose last connections are still closing counts as free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError as error:
                variable = port_variable(name)
                raise PortInUseError(
                    f"port {port} is in use: stop what listens there (`make down`, if it is another stack of this "
                    f"kind), or set {variable} to another port"
                ) from error
