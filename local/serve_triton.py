"""`python -m local.serve_triton`: Triton in this very process, for an image of its own.

IMAGEGEN_MODEL_REPOSITORIES and IMAGEGEN_STATE_DIR are those of the embedded stack. The environment is the one that this
Python belongs to. Exit code 2: this machine, or the environment, will not do.
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

from local import repository, triton_command
from local.errors import LocalError
from local.settings import ROOT, Settings

ADDRESS = "0.0.0.0"  # noqa: S104 - of a container, whose network says who gets in


def main() -> int:
    """Become Triton; returns only what went wrong before."""
    settings = replace(Settings.from_env(os.environ), triton_env=Path(sys.prefix))
    try:
        repository.check_models(repository.list_models(settings.repositories))
        command, environment = triton_command.prepare(settings, ADDRESS)
    except LocalError as error:
        print(f"serve_triton: {error}", file=sys.stderr)
        return 2
    os.chdir(ROOT)  # where `engines` lies, which models import
    # It takes the signals of the container itself.
    return os.execve(command[0], command, environment)  # noqa: S606 - a command that was made here


if __name__ == "__main__":
    sys.exit(main())
