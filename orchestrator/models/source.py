"""Who gives the networks, and says which they are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from orchestrator.models.contracts import Networks
from orchestrator.models.tools import Tools
from orchestrator.scheduling.turns import Turn


@dataclass(frozen=True, slots=True)
class ModelDigest:
    """Which network, exactly.

    Attributes:
        model: name of the Triton model.
        sha256: of the graph file, hex, as the model's configuration states it; empty if it does not.
        engine: backend and precision, for a reader.
    """

    model: str
    sha256: str
    engine: str


class NetworkSource(Protocol):
    """Gives the networks of a family, by the family's name, and the tools."""

    def networks(self, family: str, loras: tuple[float, ...] = (), turn: Turn | None = None) -> Networks:
        """The networks, or EngineUnavailableError while they are not ready. Their calls wait for the turn, if any.

        `loras` are scales of the LoRAs of its table, in their order; empty for none of them.
        """
        ...

    def tools(self, turn: Turn | None = None) -> Tools:
        """The tools that are ready, and the names of those that are not. Their calls wait for the turn, if any."""
        ...

    def engines(self, family: str) -> Sequence[str]:
        """Addresses of the engines where all networks of the family infer."""
        ...

    def is_ready(self, family: str) -> bool:
        """Whether `networks` answers."""
        ...

    def digests(self, family: str) -> Mapping[str, ModelDigest]:
        """Which networks they are, the tools among them, by their role; those that are ready."""
        ...
