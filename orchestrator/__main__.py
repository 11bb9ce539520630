"""`python -m orchestrator`: serve until SIGTERM. Exits with 0 if all work ended, 1 if some was cut, 2 on bad setup."""

import asyncio
import os
import sys

from orchestrator import logs
from orchestrator.config import Settings
from orchestrator.errors import FamilyConfigError, SettingsError
from orchestrator.server import Orchestrator


def main() -> int:
    """Read settings from the environment and serve."""
    try:
        settings = Settings.from_env(os.environ)
        logs.configure(settings.log_level)
        return 0 if asyncio.run(Orchestrator(settings).run()) else 1
    except (SettingsError, FamilyConfigError) as error:
        print(f"orchestrator: {error}", file=sys.stderr)  # noqa: T201  # for the operator, before there is a log
        return 2


if __name__ == "__main__":
    sys.exit(main())
