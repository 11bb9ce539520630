"""Which families and tools are ready: those whose models all infer, in one Triton or in several."""

from collections.abc import Iterable

import structlog

from orchestrator import metrics
from orchestrator.errors import EngineUnavailableError, FamilyConfigError
from orchestrator.models import networks, tool_networks
from orchestrator.models.contracts import RETRY_AFTER_SECONDS, Networks
from orchestrator.models.embeddings import Embeddings
from orchestrator.models.families import Families, Family
from orchestrator.models.networks import TritonFamily
from orchestrator.models.pool import Route, TritonPool
from orchestrator.models.source import ModelDigest
from orchestrator.models.tools import Tools
from orchestrator.models.triton import ModelInfo
from orchestrator.scheduling.turns import Turn

log = structlog.get_logger()


class TritonNetworks:
    """A NetworkSource over Tritons. `refresh` checks them; a model that fails meanwhile is not ready from then on."""

    def __init__(self, pool: TritonPool, families: Families, embeddings: Embeddings | None = None) -> None:
        """Nothing is ready yet. `embeddings` keeps what text encoders answer."""
        self._pool, self._families, self._embeddings = pool, families, embeddings
        self._connected: dict[str, TritonFamily] = {}
        self._missing: dict[str, list[str]] = {}
        self._named_tools = families.tools.roles
        self._tools: dict[str, ModelInfo] = {}
        self._waiting: frozenset[str] = frozenset(self._named_tools)

    def networks(self, family: str, loras: tuple[float, ...] = (), turn: Turn | None = None) -> Networks:
        """See contracts.NetworkSource. What it gives is for one request: its steps keep together."""
        if not self.is_ready(family):
            raise EngineUnavailableError(
                f"the networks of family {family!r} are not ready", retry_after=RETRY_AFTER_SECONDS
            )
        return self._connected[family].networks(Route(self._pool, turn), loras, self._embeddings)

    def engines(self, family: str) -> list[str]:
        """See contracts.NetworkSource."""
        connected = self._connected.get(family)
        return self._pool.serving(connected.infos.values()) if connected is not None else []

    def tools(self, turn: Turn | None = None) -> Tools:
        """See contracts.NetworkSource. As with `networks`."""
        route = Route(self._pool, turn)
        ready = {role: info for role, info in self._tools.items() if self._pool.serves(info)}
        tools = {role: tool_networks.make_tool(route, role, info) for role, info in ready.items()}
        return Tools(**tools, waiting=frozenset(self._named_tools.keys() - tools.keys()))  # type: ignore[arg-type]  # by name

    def is_ready(self, family: str) -> bool:
        """See contracts.NetworkSource."""
        return family in self._connected and self._serves(self._connected[family].infos.values())

    def digests(self, family: str) -> dict[str, ModelDigest]:
        """See contracts.NetworkSource."""
        networks = self._connected[family].digests if self.is_ready(family) else {}
        return {**networks, **{role: info.digest for role, info in self._tools.items()}}

    async def refresh(self) -> None:
        """Check every model once. Models that came back are described again: they may be others."""
        named = [*self._named_tools.values(), *(name for each in self._families for name in each.networks.model_names)]
        await self._pool.check(frozenset(named))
        for family in self._families:
            await self._check_family(family)
        await self._check_tools()
        for name, batches in self._pool.statistics().items():
            for rows, count in batches.items():
                metrics.TRITON_BATCHES.labels(name, rows).set(count)

    def _serves(self, infos: Iterable[ModelInfo]) -> bool:
        return all(self._pool.serves(info) for info in infos)

    async def _check_family(self, family: Family) -> None:
        missing = [name for name in family.networks.model_names if self._pool.find(name) is None]
        if missing:
            self._connected.pop(family.name, None)
            if missing != self._missing.get(family.name):  # reported once, not at every check
                log.error("family_not_ready", family=family.name, missing_models=missing)
        elif not self.is_ready(family.name):
            await self._connect(family)
        self._missing[family.name] = missing
        metrics.FAMILY_READY.labels(family.name).set(self.is_ready(family.name))

    async def _connect(self, family: Family) -> None:
        table = family.networks
        try:
            self._connected[family.name] = await networks.connect(self._pool, table)
        except (EngineUnavailableError, FamilyConfigError) as error:
            self._connected.pop(family.name, None)
            log.error("family_not_usable", family=family.name, error=str(error))  # noqa: TRY400  # expected, no trace
            return
        log.info("family_ready", family=family.name, models=list(table.model_names))

    async def _check_tools(self) -> None:
        tools: dict[str, ModelInfo] = {}
        for role, name in self._named_tools.items():
            info = self._tools.get(role)
            if info is not None and self._pool.serves(info):
                tools[role] = info
            elif self._pool.find(name) is not None:
                try:
                    tools[role] = await tool_networks.connect_tool(self._pool, role, name)
                except (EngineUnavailableError, FamilyConfigError) as error:
                    log.error("tool_not_usable", tool=role, error=str(error))  # noqa: TRY400  # expected, no trace
        self._tools = tools
        waiting = frozenset(self._named_tools.keys() - tools.keys())
        if waiting != self._waiting:  # reported once, not at every check
            log.info("tools_ready", ready=sorted(tools), waiting=sorted(waiting))
        self._waiting = waiting
