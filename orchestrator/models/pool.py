"""All Tritons, and which of them a call goes to.

Equal shapes that reach one Triton at the same time share a batch. So requests of one shape keep to one Triton while a
batch there has room, and each keeps to its own; else they go to the one with the least to do. A step is a function of
its tensors alone: where a Triton fails, the same step is sent to another, and the request goes on from there.

Each address that a host name resolves to is a Triton of its own, as with Kubernetes' headless services; names are
resolved again and again.
"""

import asyncio
import ipaddress
import random
import socket
import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from functools import partial

import structlog

from orchestrator.arrays import Floats
from orchestrator.errors import EngineFaultError, EngineRefusedError, EngineUnavailableError
from orchestrator.models.batching import Batches
from orchestrator.models.contracts import RETRY_AFTER_SECONDS, Ids
from orchestrator.models.endpoint import Answer, Endpoint, Probing, Seat
from orchestrator.models.triton import CHECK_SECONDS, ModelInfo, TritonServer
from orchestrator.scheduling.costs import CostModel
from orchestrator.scheduling.turns import Turn, Turns

RESOLVE_SECONDS = 5.0
"""Between two resolutions of the host names."""
MAX_FAULTS = 2
"""A request whose tensors this many calls fail on, while known tensors are answered, is itself the cause."""

log = structlog.get_logger()


class TritonPool:
    """The Tritons of some addresses. Lives in one event loop; call `check` periodically."""

    def __init__(
        self, addresses: str, timeout_seconds: float, probing: Probing | None = None, turns: Turns | None = None
    ) -> None:
        """Connect to nothing yet.

        Args:
            addresses: host:port of gRPC endpoints, separated by commas.
            timeout_seconds: longest time for one call.
            probing: when models are asked.
            turns: of the requests; their own by default.
        """
        self.batches = Batches(turns or Turns(CostModel()))
        self._names = [name.strip() for name in addresses.split(",") if name.strip()]
        self._timeout, self._probing = timeout_seconds, probing or Probing()
        self._endpoints: dict[str, Endpoint] = {}
        self._leaving: set[Endpoint] = set()
        self._resolved = float("-inf")
        self._checks: dict[Endpoint, asyncio.Task[None]] = {}

    async def close(self) -> None:
        """End all connections."""
        for check in self._checks.values():
            check.cancel()
        await asyncio.gather(*self._checks.values(), return_exceptions=True)
        await asyncio.gather(*(endpoint.close() for endpoint in (*self._endpoints.values(), *self._leaving)))

    @property
    def endpoints(self) -> Collection[Endpoint]:
        """The Tritons that are known now."""
        return self._endpoints.values()

    async def check(self, models: Collection[str]) -> None:
        """Find the Tritons, and check these models in each. One that does not answer delays no later check."""
        if time.monotonic() - self._resolved >= RESOLVE_SECONDS:
            await self._resolve()
        fresh: set[asyncio.Task[None]] = set()
        for endpoint in self.endpoints:
            if (former := self._checks.get(endpoint)) is None or former.done():
                self._checks[endpoint] = asyncio.create_task(endpoint.check(models), name=f"check {endpoint.address}")
                fresh.add(self._checks[endpoint])
        if fresh:
            done, _ = await asyncio.wait(fresh, timeout=2 * CHECK_SECONDS)
            for check in done:
                check.result()

    def at(self, address: str | None) -> Endpoint | None:
        """The Triton of an address; None if there is none."""
        return self._endpoints.get(address or "")

    def serving(self, infos: Collection[ModelInfo]) -> list[str]:
        """Addresses of the Tritons where exactly these models infer, and none of them is held."""
        return [
            address
            for address, each in self._endpoints.items()
            if all(each.find(info.name) == info and not each.is_held(info.name) for info in infos)
        ]

    def find(self, name: str) -> ModelInfo | None:
        """What a model is, by the first Triton where it infers; None if it does nowhere."""
        return next((info for each in self.endpoints if (info := each.find(name)) is not None), None)

    def serves(self, info: ModelInfo) -> bool:
        """Whether exactly this model infers somewhere."""
        return any(each.find(info.name) == info for each in self.endpoints)

    async def describe(self, model: str) -> ModelInfo:
        """As `find`; EngineUnavailableError for None."""
        if (info := self.find(model)) is None:
            raise _unavailable(model)
        return info

    async def infer(self, info: ModelInfo, inputs: Mapping[str, Floats | Ids], outputs: Sequence[str]) -> Answer:
        """One call that belongs to no request, as Route.infer."""
        return await Route(self).infer(info, inputs, outputs)

    def statistics(self) -> Mapping[str, Counter[int]]:
        """Executions of each model by rows of the batch, all Tritons together."""
        totals: dict[str, Counter[int]] = {}
        for endpoint in self.endpoints:
            for name, statistics in endpoint.statistics().items():
                totals.setdefault(name, Counter()).update(statistics.batches)
        return totals

    def choose(
        self,
        info: ModelInfo,
        seat: Seat,
        rows: int,
        home: Endpoint | None = None,
        tried: Collection[Endpoint] = (),
        avoided: Collection[Endpoint] = (),
    ) -> Endpoint:
        """The Triton for a call.

        Args:
            info: the model; one of the same name that is another model will not do.
            seat: what can share a batch with it.
            rows: of the call.
            home: where the request called last.
            tried: where the model does not infer.
            avoided: where this call has failed; taken if there is no other.

        Raises:
            EngineUnavailableError: there is none.
        """
        there = [each for each in self.endpoints if each not in tried and each.find(info.name) == info]
        if not there:  # a Triton that is about to end waits for those who still call it: files/drain.py of the chart
            there = [each for each in self._leaving if each not in tried and each.find(info.name) == info]
        if not there:
            raise _unavailable(info.name)
        there = [each for each in there if each not in avoided and not each.is_held(info.name)] or there
        room = [each for each in there if each.seats[seat] + rows <= info.max_batch_size]
        if home in room:
            return home
        shared = max(room, key=lambda each: each.seats[seat], default=None)
        if shared is not None and shared.seats[seat]:
            return shared
        return min(there, key=lambda each: (each.load, random.random()))  # noqa: S311 - no secret

    async def _resolve(self) -> None:
        """Follow the host names: new addresses are added, others removed once no request has its seat there."""
        found: dict[str, str] = {}
        for name in self._names:
            host, _, port = name.rpartition(":")
            known = [each for each in self._endpoints if each.endswith(f":{port}")]
            for address in await _addresses(host.strip("[]"), port, known):
                found.setdefault(address, name)
        for address in found.keys() - self._endpoints.keys():
            log.info("triton_found", endpoint=address)
        self._leaving |= {each for address, each in self._endpoints.items() if address not in found}
        self._endpoints = {
            address: self._endpoints.get(address)
            or Endpoint(address, TritonServer(address, self._timeout), self._probing, name)
            for address, name in found.items()
        }
        for endpoint in [each for each in self._leaving if each.is_idle and not each.load]:
            log.info("triton_left", endpoint=endpoint.address)
            self._leaving.discard(endpoint)
            self._checks.pop(endpoint, None)
            await endpoint.close()
        self._resolved = time.monotonic()


class Route:
    """One request's way through the Tritons. It holds a seat where it called last, until it goes elsewhere or ends.

    With a turn, each call waits until the scheduler gives the request an engine, and goes there if it can.
    """

    def __init__(self, pool: TritonPool, turn: Turn | None = None) -> None:
        self._pool, self._turn = pool, turn
        self._home: tuple[Endpoint, Seat, int] | None = None

    def __del__(self) -> None:
        """The request has ended."""
        self._leave()

    async def infer(self, info: ModelInfo, inputs: Mapping[str, Floats | Ids], outputs: Sequence[str]) -> Answer:
        """One call, sent to another Triton where one fails.

        Raises:
            EngineUnavailableError: the model infers nowhere.
            EngineRefusedError: the model does not take these tensors.
            EngineFaultError: the model fails on these tensors, while it answers others.
        """
        seat = info.name, tuple(array.shape[1:] for array in inputs.values())
        if self._turn is None:
            return await self._infer(seat, info, inputs, outputs)
        await self._turn.wait()
        start = time.perf_counter()
        try:
            return await self._infer(seat, info, inputs, outputs)
        finally:
            self._turn.returned(time.perf_counter() - start, seat)

    async def _infer(
        self, seat: Seat, info: ModelInfo, inputs: Mapping[str, Floats | Ids], outputs: Sequence[str]
    ) -> Answer:
        rows = len(next(iter(inputs.values())))
        tried: set[Endpoint] = set()
        faults: list[Endpoint] = []
        while True:
            home = self._pool.at(self._turn.engine) if self._turn is not None else None
            if home is None and self._home is not None:
                home = self._home[0]
            self._leave()
            endpoint = self._pool.choose(info, seat, rows, home, tried, faults)
            try:
                return await self._call(endpoint, seat, info, inputs, outputs)
            except EngineRefusedError:
                raise
            except EngineUnavailableError:
                tried.add(endpoint)
            except EngineFaultError:
                faults.append(endpoint)
                if len(faults) >= MAX_FAULTS:
                    raise

    async def _call(
        self,
        endpoint: Endpoint,
        seat: Seat,
        info: ModelInfo,
        inputs: Mapping[str, Floats | Ids],
        outputs: Sequence[str],
    ) -> Answer:
        """A call whose rows have their seat there; afterwards it is kept for the request's next call."""
        rows = len(next(iter(inputs.values())))
        endpoint.seats[seat] += rows
        try:
            if self._turn is None:
                return await endpoint.infer(info, inputs, outputs)
            spend = partial(self._turn.spend, endpoint.group)
            return await self._pool.batches.infer(endpoint, seat, info, inputs, outputs, spend)
        finally:
            self._leave()
            self._home = endpoint, seat, rows

    def _leave(self) -> None:
        if self._home is not None:
            endpoint, seat, rows = self._home
            endpoint.seats[seat] -= rows
            if endpoint.seats[seat] <= 0:
                del endpoint.seats[seat]
            self._home = None


async def _addresses(host: str, port: str, known: Sequence[str]) -> Sequence[str]:
    """The addresses of a host, of one version of IP: a pod that has both is one Triton, not two."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        pass
    else:
        return [_join(host, port)]
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, int(port), type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        if error.errno == socket.EAI_NONAME:
            return []
        log.warning("triton_not_resolved", host=host, error=str(error))
        return known
    first = min(family for family, *_ in found)  # IPv4 where there is any
    return sorted({_join(str(address[0]), port) for family, _, _, _, address in found if family == first})


def _join(host: str, port: str) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _unavailable(name: str) -> EngineUnavailableError:
    return EngineUnavailableError(f"the network {name} does not answer", retry_after=RETRY_AFTER_SECONDS)
