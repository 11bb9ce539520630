"""Settings of the embedded stack, read once from the environment. docs/settings.md lists them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path

from local.folders import HOME, ROOT
from local.port_owners import find_owner
from local.ports import HOST, Ports, check_ports_free, find_free, is_free, list_asked, port_variable

__all__ = ["HOST", "ROOT", "Ports", "Settings", "check_ports_free", "move_ports", "port_variable"]


@dataclass(frozen=True)
class Settings:
    """What a stack consists of.

    Attributes:
        state_dir: run-time state: logs, pids, results, the API key (IMAGEGEN_STATE_DIR).
        repositories: folders of Triton models (IMAGEGEN_MODEL_REPOSITORIES, separated by ":").
        families: the registry of model families (IMAGEGEN_FAMILIES).
        ports: where the services listen.
        movable: names of the ports that nobody asked for: where one is in use, another is taken.
        database_url: of a PostgreSQL of the user's own (IMAGEGEN_DATABASE_URL); "": the embedded one is started.
        service_env: the virtual environment of the orchestrator and the gateway.
        triton_env: the virtual environment that Triton's models run in, and the server comes from.
    """

    state_dir: Path = HOME / ".local"
    repositories: tuple[Path, ...] = (ROOT / "model_repository",)
    families: Path = ROOT / "families" / "families.toml"
    ports: Ports = field(default_factory=Ports)
    movable: frozenset[str] = frozenset()
    database_url: str = field(default="", repr=False)
    service_env: Path = HOME / ".venv"
    triton_env: Path = HOME / ".triton"

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Settings:
        """Read the variables that are set; relative paths start at the repository's root.

        Ports that are not set are those of the stack that runs in the state folder, else the defaults.

        Raises:
            LocalError: a port is wrong.
        """
        defaults = cls()
        repositories = environ.get("IMAGEGEN_MODEL_REPOSITORIES", "").strip()
        state_dir = ROOT / (environ.get("IMAGEGEN_STATE_DIR", "").strip() or defaults.state_dir)
        return cls(
            state_dir=state_dir,
            repositories=tuple(ROOT / each for each in repositories.split(os.pathsep) if each) or defaults.repositories,
            families=ROOT / (environ.get("IMAGEGEN_FAMILIES", "").strip() or defaults.families),
            ports=Ports.from_env(environ, _read_ports(state_dir)),
            movable=frozenset(asdict(defaults.ports)) - frozenset(list_asked(environ)),
            database_url=environ.get("IMAGEGEN_DATABASE_URL", "").strip(),
        )

    @property
    def rest_url(self) -> str:
        """Where the gateway answers."""
        return f"http://{HOST}:{self.ports.rest}"

    def write_ports(self) -> None:
        """Note the ports in the state folder, for later commands on the same stack."""
        file = _ports_file(self.state_dir)
        fresh = file.with_suffix(".new")
        fresh.write_text(json.dumps(asdict(self.ports)), encoding="utf-8")
        fresh.replace(file)

    def forget_ports(self) -> None:
        """Forget them, once nothing of the stack runs: the next one begins with the defaults again."""
        _ports_file(self.state_dir).unlink(missing_ok=True)


def move_ports(settings: Settings, names: Iterable[str]) -> tuple[Settings, list[str]]:
    """Give services that do not run yet free ports, in place of those that are in use and that nobody asked for.

    Args:
        settings: the stack.
        names: the ports of those services.

    Returns:
        The settings to start with, and a line for a person about each port that is another now.
    """
    ports, lines = settings.ports, []
    for name in names:
        port = getattr(ports, name)
        shared = list(asdict(ports).values()).count(port) > 1
        if name not in settings.movable or (is_free(port) and not shared):
            continue
        free = find_free(ports)
        ports = replace(ports, **{name: free})
        owner = "another service of this stack" if shared else find_owner(port)
        lines.append(f"port {port} is in use by {owner}: {name} listens on {free} instead")
    return replace(settings, ports=ports), lines


def _read_ports(state_dir: Path) -> dict[str, int]:
    """Return the ports of the stack that runs, as `write_ports` noted them; none where there is no note."""
    try:
        noted = json.loads(_ports_file(state_dir).read_text(encoding="utf-8"))
        return {each.name: int(noted[each.name]) for each in fields(Ports)}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _ports_file(state_dir: Path) -> Path:
    return state_dir / "ports.json"
