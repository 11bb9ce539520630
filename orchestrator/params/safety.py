"""What is done about pictures that show pornography."""

from dataclasses import dataclass

from orchestrator.params.picture import ImageSource
from orchestrator.params.violations import Violations

DEFAULT_THRESHOLD = 0.8
"""From here on open_nsfw's authors call a picture unsafe."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SafetyParams:
    """The filter of a request.

    Attributes:
        enabled: whether it is on.
        threshold: probability from which a picture is filtered, 0 (every picture) to 1.
        replacement: takes the place of a filtered picture; None ends the request with FilteredError.
        inputs: whether the client's pictures are looked at too, before anything is generated.
    """

    enabled: bool = True
    threshold: float = DEFAULT_THRESHOLD
    replacement: ImageSource | None = None
    inputs: bool = False

    def validate(self, violations: Violations) -> None:
        """Collect what is out of range."""
        violations.within("safety.threshold", self.threshold, 0, 1)
