"""The commands of `python3 -m local`, once inside `.venv`."""

from __future__ import annotations

import os

from local import demo, postgres, stack
from local.errors import LocalError
from local.services import run_command
from local.settings import ROOT, Settings


def run(command: str, arguments: list[str]) -> int:
    """Run "up", "down", "status", "demo", or "operate" with its arguments; returns the exit status.

    Raises:
        LocalError: it could not be done.
    """
    settings = Settings.from_env(os.environ)
    if command == "operate":
        return _operate(settings, arguments)
    return {"up": _up, "down": _down, "status": _status, "demo": _demo}[command](settings)


def _up(settings: Settings) -> int:
    stack.up(settings)
    print(f"REST  {settings.rest_url}   gRPC  127.0.0.1:{settings.ports.grpc}")
    print(f"API key in {settings.state_dir / 'api-key'}, logs in {settings.state_dir / 'logs'}. `make down` stops it.")
    return 0


def _down(settings: Settings) -> int:
    killed = stack.down(settings)
    if killed:
        print(f"had to be killed: {', '.join(killed)}")
    return 0


def _status(settings: Settings) -> int:
    states = stack.list_states(settings)
    for name, state in states.items():
        print(f"{name:<14}{state}")
    return 0 if set(states.values()) == {"ready"} else 1


def _operate(settings: Settings, arguments: list[str]) -> int:
    if stack.list_states(settings).get(postgres.NAME, "ready") != "ready":
        raise LocalError("the database does not run: start the stack first (`make up`)")
    print(run_command(settings, *(arguments or ["--help"])), end="")
    return 0


def _demo(settings: Settings) -> int:
    started = stack.up(settings)
    try:
        demo.run(settings, ROOT / "demo")
    finally:
        if started:
            stack.down(settings, started)
    return 0
