"""`python3 -m local up | down | status | demo | env | operate`: the embedded stack, from any Python 3.11 or newer.

The first part runs in whatever Python was called, with the standard library alone; it makes the environments and goes
on inside `.venv`.
"""

from __future__ import annotations

import argparse
import os
import sys

_COMMANDS = {
    "up": "start PostgreSQL, Triton, the orchestrator and the gateway; return when they are ready",
    "down": "stop them; return when they are gone",
    "status": "tell which of them run; exit status 1 unless all are ready",
    "demo": "make the five pictures of the README into demo/, starting and stopping what is not running",
    "env": "make the virtual environments only",
    "operate": "run a command of the orchestrator on the stack's database: operate accounts list",
}


def main() -> int:
    """Run one command; returns the exit status."""
    if sys.version_info < (3, 11):  # noqa: UP036 - it runs in whatever Python the machine has
        print(f"imagegen needs Python 3.11 or newer; this is {sys.version.split()[0]}", file=sys.stderr)
        return 2
    from local.errors import LocalError  # noqa: PLC0415 - an older Python could not read what it imports

    parser = argparse.ArgumentParser(prog="local", description="The embedded stack of imagegen.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, text in _COMMANDS.items():
        each = commands.add_parser(name, help=text, description=text)
        if name == "operate":
            each.add_argument("arguments", nargs=argparse.REMAINDER, metavar="...", help="the orchestrator's")
    parsed = parser.parse_args()
    try:
        return _prepare(parsed.command, getattr(parsed, "arguments", []))
    except LocalError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _prepare(command: str, arguments: list[str]) -> int:
    """Make the environments that the command needs, and run it inside `.venv`."""
    from local import environments  # noqa: PLC0415

    service = environments.ensure("service")
    if command in {"up", "demo", "env"}:
        environments.ensure("triton")
    if command == "env":
        return 0
    if os.path.realpath(sys.prefix) != os.path.realpath(service.folder):
        sys.stdout.flush()
        os.execv(service.python, [str(service.python), "-m", "local", command, *arguments])  # noqa: S606 - no shell is wanted
    from local import commands  # noqa: PLC0415 - it needs what `.venv` holds

    return commands.run(command, arguments)


if __name__ == "__main__":
    sys.exit(main())
