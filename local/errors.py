"""What goes wrong while the stack is set up or run, for a person at a terminal.

LocalError                  the message says what is wrong and what to do
├── HostError               this machine or its Python cannot run the embedded Triton
├── EnvironmentSetupError   an environment could not be created
├── PortInUseError          another program listens there
├── StartError              a service ended, or was not ready in time
└── ModelsError             Triton runs, but models are not fit for use
"""

from __future__ import annotations

from collections.abc import Mapping


class LocalError(Exception):
    """The root. Its text is shown as it is, without a traceback."""


class HostError(LocalError):
    """This machine or its Python cannot run the embedded Triton."""


class EnvironmentSetupError(LocalError):
    """A virtual environment could not be created or filled."""


class PortInUseError(LocalError):
    """A port that a service needs is taken."""


class StartError(LocalError):
    """A service ended while it started, or was not ready in time."""


class ModelsError(LocalError):
    """Models that cannot be used.

    Attributes:
        reasons: for each such model, why.
    """

    def __init__(self, reasons: Mapping[str, str]) -> None:
        self.reasons = dict(reasons)
        lines = [f"  {name}: {reason}" for name, reason in sorted(self.reasons.items())]
        super().__init__("\n".join(["these models cannot be used:", *lines]))
