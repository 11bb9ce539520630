"""Which families and tools are ready: looks at Triton's models, again and again."""

import asyncio
from collections.abc import Callable

import structlog

from orchestrator import metrics
from orchestrator.errors import EngineFaultError, EngineUnavailableError, FamilyConfigError
from orchestrator.models import networks, tool_networks
from orchestrator.models.contracts import RETRY_AFTER_SECONDS, Networks
from orchestrator.models.families import Families, Family
from orchestrator.models.networks import TritonFamily
from orchestrator.models.source import ModelDigest
from orchestrator.models.tools import Tools
from orchestrator.models.triton import TritonServer

log = structlog.get_logger()


class TritonNetworks:
    """A NetworkSource over Triton: `refresh` looks; the others answer from the last look."""

    def __init__(self, server: TritonServer, families: Families) -> None:
        self._server, self._families = server, families
        self._ready: dict[str, TritonFamily] = {}
        self._missing: dict[str, list[str]] = {}
        self._named_tools = families.tools.roles
        self._tools: dict[str, tuple[Callable[..., object], ModelDigest]] = {}
        self._waiting: frozenset[str] = frozenset(self._named_tools)

    def networks(self, family: str) -> Networks:
        """See contracts.NetworkSource."""
        if family not in self._ready:
            raise EngineUnavailableError(
                f"the networks of family {family!r} are not ready", retry_after=RETRY_AFTER_SECONDS
            )
        return self._ready[family].networks

    def tools(self) -> Tools:
        """See contracts.NetworkSource."""
        tools = {role: tool for role, (tool, _) in self._tools.items()}
        return Tools(**tools, waiting=self._waiting)  # type: ignore[arg-type]  # by name

    def is_ready(self, family: str) -> bool:
        """See contracts.NetworkSource."""
        return family in self._ready

    def digests(self, family: str) -> dict[str, ModelDigest]:
        """See contracts.NetworkSource."""
        networks = self._ready[family].digests if family in self._ready else {}
        return {**networks, **{role: digest for role, (_, digest) in self._tools.items()}}

    async def refresh(self) -> None:
        """Look at every model once. Models that came back are described anew: they may be others."""
        named = [*self._named_tools.values(), *(name for each in self._families for name in each.networks.model_names)]
        names = sorted(set(named))
        answers = await asyncio.gather(*(self._server.is_ready(name) for name in names))
        ready = {name for name, is_ready in zip(names, answers, strict=True) if is_ready}
        for family in self._families:
            await self._look(family, ready)
        await self._look_at_tools(ready)
        for name in sorted(ready):
            for rows, count in (await self._server.batch_counts(name)).items():
                metrics.TRITON_BATCHES.labels(name, rows).set(count)

    async def _look(self, family: Family, ready: set[str]) -> None:
        missing = [name for name in family.networks.model_names if name not in ready]
        if missing:
            self._ready.pop(family.name, None)
            if missing != self._missing.get(family.name):  # said once, not at every look
                log.error("family_not_ready", family=family.name, missing_models=missing)
        elif family.name not in self._ready:
            await self._connect(family)
        self._missing[family.name] = missing
        metrics.FAMILY_READY.labels(family.name).set(self.is_ready(family.name))

    async def _connect(self, family: Family) -> None:
        table = family.networks
        try:
            self._ready[family.name] = await networks.connect(self._server, table)
        except (EngineUnavailableError, EngineFaultError, FamilyConfigError) as error:
            log.error("family_not_usable", family=family.name, error=str(error))  # noqa: TRY400  # expected, no trace
            return
        log.info("family_ready", family=family.name, models=list(table.model_names))

    async def _look_at_tools(self, ready: set[str]) -> None:
        tools = {role: tool for role, tool in self._tools.items() if self._named_tools[role] in ready}
        for role, name in self._named_tools.items():
            if name in ready and role not in tools:
                try:
                    tools[role] = await tool_networks.connect_tool(self._server, role, name)
                except (EngineUnavailableError, EngineFaultError, FamilyConfigError) as error:
                    log.error("tool_not_usable", tool=role, error=str(error))  # noqa: TRY400  # expected, no trace
        waiting = frozenset(self._named_tools.keys() - tools.keys())
        if waiting != self._waiting:  # said once, not at every look
            log.info("tools_ready", ready=sorted(tools), waiting=sorted(waiting))
        self._tools, self._waiting = tools, waiting
