"""The commands of `python3 -m local`, once inside `.venv`."""

from __future__ import annotations

import os

from local import demo, postgres, stack
from local.errors import LocalError
from local.folders import HOME
from local.services import run_command
from local.settings import HOST, Settings

_INTERRUPTED_DEMO = "demo.running"  # file of the state folder: what runs was started by a demo, which stops it
_PROXIES = ("http_proxy", "all_proxy", "ALL_PROXY")  # that curl obeys, also for loopback
# Of OpenAI's Images API, whose answer waits for the picture on a machine however slow.
_EXAMPLE = '{"prompt": "red apple", "size": "512x512", "response_format": "url"}'


def run(command: str, arguments: list[str]) -> int:
    """Run "up", "down", "status", or "demo" and "operate" with their arguments; returns the exit status.

    Raises:
        LocalError: it could not be done.
    """
    settings = Settings.from_env(os.environ)
    if command == "operate":
        return _operate(settings, arguments)
    if command == "demo":
        return _demo(settings, arguments)
    return {"up": _up, "down": _down, "status": _status}[command](settings)


def _up(wanted: Settings) -> int:
    with stack.choosing_ports(wanted) as (settings, notes):
        _print_all(notes)
        stack.up(settings)
    (settings.state_dir / _INTERRUPTED_DEMO).unlink(missing_ok=True)  # what runs is the user's now
    key = stack.read_api_key(settings)
    curl = "curl --noproxy '*' -s" if any(map(os.environ.get, _PROXIES)) else "curl -s"
    print(f"REST  {settings.rest_url}   gRPC  {HOST}:{settings.ports.grpc}")
    print(f"API key in {settings.state_dir / 'api-key'}, logs in {settings.state_dir / 'logs'}. `make down` stops it.")
    print(f"\nOpen the page {settings.rest_url}/ and give it the key {key}, or save a picture as apple.png:\n")
    print(
        f"{curl} {settings.rest_url}/v1/images/generations -H 'x-api-key: {key}' "
        f"-H 'content-type: application/json' -d '{_EXAMPLE}' | grep -o 'http[^\"]*[.]png' | xargs {curl} -o apple.png"
    )
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
        raise LocalError("the database is not running: start the stack first (`make up`)")
    print(run_command(settings, *(arguments or ["--help"])), end="")
    return 0


def _demo(wanted: Settings, families: list[str]) -> int:
    if len(families) > 1:
        raise LocalError(f"demo takes one family, not {len(families)}: {', '.join(families)}")
    family = families[0] if families else None
    folder = HOME / "demo" / family if family else HOME / "demo"
    interrupted = wanted.state_dir / _INTERRUPTED_DEMO
    with stack.choosing_ports(wanted) as (settings, notes):
        _print_all(notes)
        if set(stack.list_states(settings).values()) == {"stopped"}:
            interrupted.touch()
        started = stack.up(settings)
    try:
        demo.run(settings, folder, family=family)
    finally:
        if interrupted.exists():
            stack.down(settings)
            interrupted.unlink()
        elif started:
            stack.down(settings, started)
    print(f"The pictures are in {folder}. See them all: {folder / 'contact_sheet.png'}, {folder / 'adapters.png'}")
    print("Next: `make up` starts the service and prints how to use it; `make down` stops it.")
    return 0


def _print_all(lines: list[str]) -> None:
    for line in lines:
        print(line)
