"""Measures what networks cost, once for each engine that nothing is known of: briefly, and while nobody needs it."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from statistics import median

import structlog

from orchestrator.arrays import Floats
from orchestrator.errors import EngineFaultError, EngineUnavailableError
from orchestrator.models.contracts import Ids
from orchestrator.models.endpoint import Endpoint
from orchestrator.models.families import Families, Family
from orchestrator.models.pool import TritonPool
from orchestrator.models.probe import tensors_of_size
from orchestrator.models.tables import NetworkTable
from orchestrator.models.triton import ModelInfo
from orchestrator.scheduling.costs import Cost, CostModel

REPEATS = 3
"""Calls that are timed for each number of rows, of a network that takes less than SLOW_SECONDS."""
SLOW_SECONDS = 1.0
WORTH = 1.02
"""Twice the rows must bring this many times the rows a second, or still more rows are not tried."""
UNETS = ("unet", "controlled_unet", "inpaint_unet")

log = structlog.get_logger()

Wait = Callable[[str], Awaitable[None]]
"""Returns when nobody needs the engine of that address."""


class Measuring:
    """Measures the networks of all families, the first size of each family first."""

    def __init__(self, pool: TritonPool, families: Families, costs: CostModel, seconds: float, wait: Wait) -> None:
        """Measure nothing yet.

        Args:
            pool: of the engines.
            families: whose UNets and decoders are measured.
            costs: what is measured goes there.
            seconds: that measuring may take of each engine; 0 for no measuring.
            wait: called before each call of an engine.
        """
        self._pool, self._families, self._costs, self._seconds, self._wait = pool, families, costs, seconds, wait
        self._left: dict[str, float] = {}
        self._tried: set[tuple[str, str, tuple[int, int]]] = set()

    async def run(self) -> None:
        """Measure what infers now and was not measured before. Returns soon where there is nothing to do."""
        engines = list(self._pool.endpoints) if self._seconds else []
        await asyncio.gather(*(self._measure_engine(engine) for engine in engines))

    async def _measure_engine(self, engine: Endpoint) -> None:
        for family, model, size in self._sizes():
            info = engine.find(model)
            key = engine.address, model, size
            if info is None or key in self._tried:
                continue
            self._tried.add(key)
            try:
                await self._measure(engine, info, family.networks, size)
            except (EngineUnavailableError, EngineFaultError) as error:
                log.warning("measuring_failed", endpoint=engine.address, model=model, error=str(error))

    def _sizes(self) -> Iterable[tuple[Family, str, tuple[int, int]]]:
        """Family, model and picture size, in the order in which they are worth measuring."""
        most = max(len(family.networks.aspect_sizes) for family in self._families)
        for number in range(most):
            for family in self._families:
                table = family.networks
                for model in dict.fromkeys(table.roles[role] for role in UNETS if role in table.roles):
                    if number < len(table.aspect_sizes):
                        yield family, model, table.aspect_sizes[number]
                if number == 0:
                    yield family, table.vae_decoder, table.aspect_sizes[0]

    async def _measure(self, engine: Endpoint, info: ModelInfo, table: NetworkTable, size: tuple[int, int]) -> None:
        """Measure 1, 2, 4, ... rows until more of them bring nothing; one row is enough to know of a decoder."""
        most = 1 if info.name == table.vae_decoder else info.max_batch_size
        rows, best = table.fixed_batch or 1, 0.0
        while rows <= most or rows == table.fixed_batch:
            inputs = tensors_of_size(info, rows, size[1], size[0], table.latent_factor)
            shape = next(iter(inputs.values())).shape[1:]
            if not best and self._costs.knows(engine.address, info.name, shape):
                return
            if self._left.setdefault(engine.address, self._seconds) <= 0:
                return
            seconds = await self._time(engine, info, inputs)
            self._costs.observe(Cost(engine.address, info.name, shape, rows, seconds))
            log.info("measured", endpoint=engine.address, model=info.name, shape=shape, rows=rows, seconds=seconds)
            if rows / seconds < WORTH * best:
                return
            best = rows / seconds
            rows *= 2

    async def _time(self, engine: Endpoint, info: ModelInfo, inputs: Mapping[str, Floats | Ids]) -> float:
        """Median seconds of REPEATS calls; of a slow network those of one."""
        timed: list[float] = []
        while len(timed) <= REPEATS:
            await self._wait(engine.address)
            start = time.perf_counter()
            await engine.infer(info, inputs, info.outputs)
            timed.append(time.perf_counter() - start)
            if timed[-1] > SLOW_SECONDS:
                break
        self._left[engine.address] -= sum(timed)
        return median(timed[1:] or timed)  # the first call of a shape may compile something
