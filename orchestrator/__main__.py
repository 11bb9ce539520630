"""`python -m orchestrator`: serve until SIGTERM, or run one of the operator's commands (commands.py).

Exits with 0 if all work ended, 1 if some was cut or a command could not be done, 2 on bad setup.
"""

import asyncio
import contextlib
import ctypes
import os
import sys
from collections.abc import Sequence

from common import VERSION, logs, tracing
from common.errors import SettingsError
from orchestrator import commands
from orchestrator.config import Settings
from orchestrator.errors import FamilyConfigError, ImagegenError


def main() -> int:
    """Do what the process's command line says; returns the exit status."""
    _limit_arenas()
    return run(sys.argv[1:])


def run(command_line: Sequence[str]) -> int:
    """Do what a command line says, with settings from the environment; returns the exit status."""
    arguments = commands.parse(command_line)
    try:
        settings = Settings.from_env(os.environ)
        logs.configure(settings.log_level)
        if arguments.run is not None:
            return int(arguments.run(settings, arguments))
        from orchestrator.server import Orchestrator  # noqa: PLC0415 - a second of CPU that no command needs

        tracing.start("imagegen-orchestrator", settings.otlp_endpoint, settings.trace_ratio, VERSION)
        return 0 if asyncio.run(Orchestrator(settings).run()) else 1
    except (SettingsError, FamilyConfigError) as error:
        print(f"orchestrator: {error}", file=sys.stderr)  # noqa: T201  # for the operator, before there is a log
        return 2
    except ImagegenError as error:  # of a command: a name that is taken, a database that is unreachable
        print(f"orchestrator: {error}", file=sys.stderr)  # noqa: T201  # for the operator
        return 1
    finally:
        tracing.stop()


def _limit_arenas() -> None:
    """Two malloc arenas (mallopt(3), M_ARENA_MAX), where the C library is glibc.

    It gives each thread its own and keeps what is freed in it: with pictures in many threads 850 MB, and 630 MB in two.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(-8, 2)


if __name__ == "__main__":
    sys.exit(main())
