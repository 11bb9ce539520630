"""`python -m orchestrator`: serve until SIGTERM, or run one of the operator's commands (commands.py).

Exits with 0 if all work ended, 1 if some was cut or a command could not be done, 2 on bad setup.
"""

import asyncio
import os
import sys

from orchestrator import commands, logs
from orchestrator.config import Settings
from orchestrator.errors import FamilyConfigError, ImagegenError, SettingsError
from orchestrator.server import Orchestrator


def main() -> int:
    """Read the command line, and settings from the environment."""
    arguments = commands.parse(sys.argv[1:])
    try:
        settings = Settings.from_env(os.environ)
        logs.configure(settings.log_level)
        if arguments.run is not None:
            return int(arguments.run(settings, arguments))
        return 0 if asyncio.run(Orchestrator(settings).run()) else 1
    except (SettingsError, FamilyConfigError) as error:
        print(f"orchestrator: {error}", file=sys.stderr)  # noqa: T201  # for the operator, before there is a log
        return 2
    except ImagegenError as error:  # of a command: a name that is taken, a database that is away
        print(f"orchestrator: {error}", file=sys.stderr)  # noqa: T201  # for the operator
        return 1


if __name__ == "__main__":
    sys.exit(main())
