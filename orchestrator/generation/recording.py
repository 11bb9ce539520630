"""Records which networks a request calls."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any, TypeVar

from orchestrator.models.contracts import Networks
from orchestrator.models.tools import Tools

Kit = TypeVar("Kit", Networks, Tools)


@dataclass(frozen=True, slots=True)
class RecordingNetwork:
    """A network of any kind that reports when it is called."""

    network: Callable[..., Awaitable[Any]]
    record: Callable[[], None]

    async def __call__(self, *inputs: object) -> Any:  # noqa: ANN401  # what the network answers
        """Record the call, and do it."""
        self.record()
        return await self.network(*inputs)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  # what the network has: `side`, `scale`
        """Whatever else the network has."""
        return getattr(self.network, name)


def recording(kit: Kit, roles: set[str]) -> Kit:
    """The same networks; the role of each that is called is added to `roles`."""
    networks = {field.name: getattr(kit, field.name) for field in fields(kit)}
    wrapped: dict[str, Any] = {
        role: RecordingNetwork(network, partial(roles.add, role))
        for role, network in networks.items()
        if callable(network)
    }
    return replace(kit, **wrapped)
