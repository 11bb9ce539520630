"""`python3 -m local up | down | status | demo | doctor | env | operate`: the embedded stack, from any Python.

The first part runs in whatever Python was called, 3.9 or newer, with the standard library alone; it installs the
environments and goes on inside `.venv`.
"""

from __future__ import annotations

import argparse
import os
import sys

_COMMANDS = {
    "up": "start PostgreSQL, Triton, the orchestrator and the gateway; return when they are ready",
    "down": "stop them; return when they are gone",
    "status": "print which of them run; exit status 1 unless all are ready",
    "demo": "generate the README's pictures into demo/ (`demo FAMILY`: by it), starting and stopping what does not run",
    "doctor": "check this machine, and say what to do; exit status 1 if there is a problem to solve",
    "env": "install the environments only: `env` what the services need, `env dev` what tests and linters need too",
    "operate": "run a command of the orchestrator on the stack's database: operate accounts list",
}
_OLDEST = (3, 9)


def main() -> int:
    """Run one command; returns the exit status."""
    if sys.version_info < _OLDEST:
        print("Python %d.%d or newer is needed; this is %s" % (*_OLDEST, sys.version.split()[0]))  # noqa: UP031 - for an older Python
        return 2
    from local.errors import LocalError  # noqa: PLC0415 - an older Python could not read what it imports

    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]  # a terminal without UTF-8 shows "?"
    parser = argparse.ArgumentParser(prog="local", description="The embedded stack of imagegen.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, text in _COMMANDS.items():
        each = commands.add_parser(name, help=text, description=text)
        if name == "operate":
            each.add_argument("arguments", nargs=argparse.REMAINDER, metavar="...", help="the orchestrator's")
        if name == "demo":
            each.add_argument(
                "arguments", nargs="*", metavar="FAMILY", help="of families.toml; the starter's by default"
            )
        if name == "env":
            each.add_argument("arguments", nargs="*", choices=["service", "triton", "c2pa", "dev", []], metavar="NAME")
    parsed = parser.parse_args()
    try:
        return _prepare(parsed.command, getattr(parsed, "arguments", []))
    except LocalError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _prepare(command: str, arguments: list[str]) -> int:
    """Install the environments that the command needs, and run it inside `.venv`."""
    from local import doctor, environments, stubs  # noqa: PLC0415
    from local.folders import HOME, ROOT  # noqa: PLC0415

    if command == "doctor":
        return doctor.run()
    names = {"up": ["service", "triton"], "demo": ["service", "triton"], "env": arguments or ["service", "triton"]}
    wanted = names.get(command, ["service"])
    if command in {"up", "demo"} and os.environ.get("IMAGEGEN_C2PA_CERT_FILE"):
        wanted.append("c2pa")
    if notice := environments.announce(wanted):
        print(notice, file=sys.stderr)
    for name in wanted:
        environment = environments.ensure(name)
        if name != "triton":
            stubs.ensure(environment)
    if command == "env":
        return 0
    python = environments.ENVIRONMENTS["service"].python
    if os.path.realpath(sys.prefix) != os.path.realpath(python.parent.parent):
        _export(str(HOME), str(ROOT))
        sys.stdout.flush()
        os.execv(str(python), [str(python), "-m", "local", command, *arguments])  # noqa: S606 - no shell is wanted
    from local import commands  # noqa: PLC0415 - it needs what `.venv` holds

    return commands.run(command, arguments)


def _export(home: str, root: str) -> None:
    """Set what the programs of the stack inherit."""
    if home != root:  # where the package imagegen is generated
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [home, os.environ.get("PYTHONPATH", "")]))
    for name in ("no_proxy", "NO_PROXY"):  # they call each other on loopback, which no proxy can reach
        os.environ[name] = ",".join(filter(None, [os.environ.get(name, ""), "127.0.0.1,localhost"]))


if __name__ == "__main__":
    sys.exit(main())
