"""`python -m local.serve_triton`: Triton in this very process, for an image of its own.

IMAGEGEN_MODEL_REPOSITORIES and IMAGEGEN_STATE_DIR are those of the embedded stack. IMAGEGEN_TRITON_MODELS names the
models that are served, with commas between them; all if it is not set. The environment is the one that this Python
belongs to. Arguments are passed on to Triton. Exit code 2: this machine, or the environment, will not do.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from local import repository, triton_command
from local.errors import LocalError
from local.settings import Settings

ADDRESS = "0.0.0.0"  # noqa: S104 - of a container, whose network says who gets in


def main(arguments: list[str]) -> int:
    """Become Triton; returns only what went wrong before."""
    settings = replace(Settings.from_env(os.environ), triton_env=Path(sys.prefix))
    try:
        models = _chosen(repository.list_models(settings.repositories), os.environ)
        repository.check_models(models)
        command, environment = triton_command.prepare(settings, ADDRESS, models.keys())
    except LocalError as error:
        print(f"serve_triton: {error}", file=sys.stderr)
        return 2
    os.chdir(triton_command.working_folder(settings))
    # It takes the signals of the container itself.
    return os.execve(command[0], [*command, *arguments], environment)  # noqa: S606 - built here


def _chosen(models: dict[str, Path], environ: Mapping[str, str]) -> dict[str, Path]:
    """Return the models that IMAGEGEN_TRITON_MODELS names; all of them if it names none.

    Raises:
        LocalError: it names one that no repository has.
    """
    names = [name.strip() for name in environ.get("IMAGEGEN_TRITON_MODELS", "").split(",") if name.strip()]
    unknown = [name for name in names if name not in models]
    if unknown:
        raise LocalError(f"IMAGEGEN_TRITON_MODELS names {', '.join(unknown)}; there are {', '.join(models)}")
    return {name: models[name] for name in names} or models


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
