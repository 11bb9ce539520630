"""Which families are ready: looks at Triton's models, again and again."""

import asyncio

import structlog

from orchestrator import metrics
from orchestrator.errors import EngineFaultError, EngineUnavailableError, FamilyConfigError
from orchestrator.models import triton
from orchestrator.models.contracts import ModelDigest, Networks
from orchestrator.models.families import Families, Family
from orchestrator.models.triton import RETRY_AFTER_SECONDS, TritonFamily, TritonServer

log = structlog.get_logger()


class TritonNetworks:
    """A NetworkSource over Triton: `refresh` looks; the others answer from the last look."""

    def __init__(self, server: TritonServer, families: Families) -> None:
        self._server, self._families = server, families
        self._ready: dict[str, TritonFamily] = {}
        self._missing: dict[str, list[str]] = {}

    def networks(self, family: str) -> Networks:
        """See contracts.NetworkSource."""
        if family not in self._ready:
            raise EngineUnavailableError(
                f"the networks of family {family!r} are not ready", retry_after=RETRY_AFTER_SECONDS
            )
        return self._ready[family].networks

    def is_ready(self, family: str) -> bool:
        """See contracts.NetworkSource."""
        return family in self._ready

    def digests(self, family: str) -> tuple[ModelDigest, ...]:
        """See contracts.NetworkSource."""
        return self._ready[family].digests if family in self._ready else ()

    async def refresh(self) -> None:
        """Look at every model once. Models that came back are described anew: they may be others."""
        names = sorted({name for family in self._families for name in family.networks.model_names})
        answers = await asyncio.gather(*(self._server.is_ready(name) for name in names))
        ready = [name for name, is_ready in zip(names, answers, strict=True) if is_ready]
        for family in self._families:
            missing = [name for name in family.networks.model_names if name not in ready]
            if missing:
                self._ready.pop(family.name, None)
                if missing != self._missing.get(family.name):  # said once, not at every look
                    log.error("family_not_ready", family=family.name, missing_models=missing)
            elif family.name not in self._ready:
                await self._connect(family)
            self._missing[family.name] = missing
            metrics.FAMILY_READY.labels(family.name).set(self.is_ready(family.name))
        for name in ready:
            for rows, count in (await self._server.batch_counts(name)).items():
                metrics.TRITON_BATCHES.labels(name, rows).set(count)

    async def _connect(self, family: Family) -> None:
        table = family.networks
        try:
            self._ready[family.name] = await triton.connect(self._server, table.model_names, table.fixed_batch)
        except (EngineUnavailableError, EngineFaultError, FamilyConfigError) as error:
            log.error("family_not_usable", family=family.name, error=str(error))  # noqa: TRY400  # expected, no trace
            return
        log.info("family_ready", family=family.name, models=list(table.model_names))
