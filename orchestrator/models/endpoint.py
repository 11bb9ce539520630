"""One Triton of several: which of its models infer, and how much they have to do.

Triton's own health report says "ready" of a model whose process is dead or frozen. So a model is served here from the
moment that it answers a known tensor (probe.py), until it proves that it does not infer. What proves that: a call that
finds the server, or the model's process, unreachable; or a known tensor without an answer in time while the model
answers nobody else either. A fault in one request's answer proves nothing; then a known tensor decides whose fault it
was. A model that other requests use needs no probe.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

import structlog

from orchestrator import metrics
from orchestrator.arrays import Floats
from orchestrator.errors import EngineFaultError, EngineRefusedError, EngineUnavailableError
from orchestrator.models.contracts import RETRY_AFTER_SECONDS, Ids
from orchestrator.models.probe import find_fault, known_tensors
from orchestrator.models.triton import CHECK_SECONDS, ModelInfo, ModelStatistics, TritonServer

SLOWEST_FACTOR = 3.0
"""A known tensor may wait for this many of the model's slowest executions, in addition to Probing.timeout_seconds."""
LOST_CHECKS = 2
"""A server that leaves this many checks in a row without an answer is frozen."""
HOLD_FAULTS = 3
"""This many faults in a row, although known tensors are answered, keep requests from an endpoint for a time."""
PROBE_SHARE, IDLE_FACTOR = 0.02, 3.0
"""An idle model spends this share of its time on known tensors where they take long: the pause between two grows, up to
IDLE_FACTOR times Probing.idle_seconds."""
HOLD_SECONDS = 10.0
MAX_HOLD_SECONDS = 300.0

Answer = tuple[Floats, ...]
Shape = tuple[tuple[int, ...], ...]
Seat = tuple[str, Shape]
"""What can share a batch: a model, and the sizes of its inputs behind the batch."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Probing:
    """When models are asked.

    Attributes:
        idle_seconds: a model that has answered nobody for this long is sent a known tensor.
        timeout_seconds: for its answer, in addition to SLOWEST_FACTOR executions of the model.
    """

    idle_seconds: float = 10.0
    timeout_seconds: float = 20.0


@dataclass(eq=False)
class _Model:
    """A model that the server has loaded."""

    info: ModelInfo
    serves: bool = False
    reason: str = ""
    answered: float = float("-inf")
    faults: int = 0
    holds: int = 0
    held_until: float = float("-inf")
    statistics: ModelStatistics | None = None
    calls: set[asyncio.Future[Answer]] = field(default_factory=set)
    probe: asyncio.Task[None] | None = None
    probe_seconds: float = 0.0


class Endpoint:
    """A Triton, by its address. Lives in one event loop.

    Attributes:
        address: host:port of its gRPC endpoint.
        group: of Tritons that it belongs to, as the settings name it.
        seats: rows of requests that call it now, or called it last and go on.
    """

    def __init__(self, address: str, server: TritonServer, probing: Probing, group: str = "") -> None:
        self.address, self._server, self._probing = address, server, probing
        self.group = group or address
        self.seats: Counter[Seat] = Counter()
        self._models: dict[str, _Model] = {}
        self._lost = 0
        self._background: set[asyncio.Future[object]] = set()

    async def close(self) -> None:
        """End the connection. Calls in flight end with EngineUnavailableError."""
        for name, model in self._models.items():
            self._give_up(model)
            if model.probe is not None:
                model.probe.cancel()
            with suppress(KeyError):
                metrics.TRITON_SERVES.remove(self.address, name)
        await self._server.close()
        await asyncio.gather(*self._background, return_exceptions=True)

    @property
    def load(self) -> int:
        """Rows of all requests that it works for."""
        return self.seats.total()

    @property
    def is_idle(self) -> bool:
        """Whether no call is in flight."""
        return not any(model.calls for model in self._models.values())

    def find(self, name: str) -> ModelInfo | None:
        """A model that infers here; None if there is none of that name."""
        model = self._models.get(name)
        return model.info if model is not None and model.serves else None

    def is_held(self, name: str) -> bool:
        """Whether requests should rather go elsewhere, after faults in a row."""
        return time.monotonic() < self._models[name].held_until

    def statistics(self) -> Mapping[str, ModelStatistics]:
        """Of the models, as of the last check."""
        return {name: model.statistics for name, model in self._models.items() if model.statistics is not None}

    async def infer(self, info: ModelInfo, inputs: Mapping[str, Floats | Ids], outputs: Sequence[str]) -> Answer:
        """One call. It goes on in the background where the caller is cancelled, or where the model is given up.

        Raises:
            EngineUnavailableError: the model does not infer here any more; another endpoint may.
            EngineRefusedError: the model does not take these tensors.
            EngineFaultError: the model failed, and answers a known tensor all the same.
        """
        model = self._models.get(info.name)
        if model is None or not model.serves:
            raise _unavailable(info.name)
        try:
            answer = await self._call(model, inputs, outputs)
        except EngineRefusedError:
            raise
        except EngineUnavailableError as error:
            self._fail(model, f"a call failed: {_reason(error)}")
            raise
        except EngineFaultError as error:
            log.warning("engine_fault", endpoint=self.address, model=info.name, error=str(error))
            await self._examine(model)
            if not model.serves:
                raise _unavailable(info.name) from error
            self._count_fault(model)
            raise
        model.answered, model.faults, model.holds = time.monotonic(), 0, 0
        return answer

    async def check(self, names: Collection[str]) -> None:
        """Ask which of these models are loaded, what they did, and send known tensors to those that were idle."""
        try:
            loaded = await self._server.list_ready()
        except EngineUnavailableError:
            self._fail_all()
            return
        except TimeoutError:
            self._lost += 1
            if self._lost >= LOST_CHECKS:
                self._fail_all()
            return
        self._lost = 0
        for name in self._models.keys() - loaded:
            self._fail(self._models.pop(name), "it is not loaded")
        for name in sorted(loaded.intersection(names) - self._models.keys()):
            with suppress(EngineUnavailableError):
                self._models[name] = _Model(await self._server.describe(name))
        await self._read_statistics()
        due = [model for model in self._models.values() if self._is_due(model)]
        if due:
            await asyncio.wait({self._start_probe(model) for model in due}, timeout=CHECK_SECONDS)

    def _fail_all(self) -> None:
        for model in self._models.values():
            self._fail(model, "the server does not answer")

    async def _call(self, model: _Model, inputs: Mapping[str, Floats | Ids], outputs: Sequence[str]) -> Answer:
        """A call that nobody's cancelling reaches; given up when the model is."""
        waiting: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        call = asyncio.ensure_future(self._server.infer(model.info, inputs, outputs))
        self._keep(call)
        call.add_done_callback(partial(_hand_over, waiting))
        model.calls.add(waiting)
        try:
            return await waiting
        finally:
            model.calls.discard(waiting)
            del waiting, call  # they hold the error whose traceback holds this frame, and with it the request's route

    async def _read_statistics(self) -> None:
        """Note what was counted. Requests that were answered, perhaps another client's, are as good as a probe."""
        for name, statistics in (await self._server.statistics()).items():
            if (model := self._models.get(name)) is not None:
                if model.statistics is not None and statistics.answered > model.statistics.answered:
                    model.answered = time.monotonic()
                model.statistics = statistics

    def _is_due(self, model: _Model) -> bool:
        idle = self._probing.idle_seconds
        pause = min(max(idle, model.probe_seconds / PROBE_SHARE), IDLE_FACTOR * idle)
        is_idle = time.monotonic() - model.answered >= pause
        return (model.probe is None or model.probe.done()) and (is_idle or not model.serves)

    def _start_probe(self, model: _Model) -> asyncio.Task[None]:
        if model.probe is None or model.probe.done():
            model.probe = asyncio.create_task(self._run_probe(model), name=f"probe {model.info.name}")
        return model.probe

    async def _examine(self, model: _Model) -> None:
        """Let a known tensor decide whether the model infers; returns when that is known."""
        await asyncio.wait({self._start_probe(model)}, timeout=2 * self._patience(model))

    async def _run_probe(self, model: _Model) -> None:
        """Send a known tensor, and wait until it is answered or refused: a late answer brings the model back."""
        if not model.serves:
            try:
                model.info = await self._server.describe(model.info.name)  # a server that is back may have another one
            except EngineUnavailableError as error:
                self._fail(model, _reason(error))
                return
        info = model.info
        tensors, begin = known_tensors(info), time.monotonic()
        call = asyncio.ensure_future(self._server.infer(info, tensors, info.outputs))
        self._keep(call)
        while not call.done():
            answered = model.statistics.answered if model.statistics else 0
            await asyncio.wait({call}, timeout=self._patience(model))
            if not call.done():
                await self._read_statistics()
                if model.statistics is None or model.statistics.answered <= answered:
                    self._fail(model, "a known tensor is not answered")
        try:
            outputs = dict(zip(info.outputs, call.result(), strict=True))
        except (EngineUnavailableError, EngineFaultError) as error:
            self._fail(model, f"a known tensor is not answered: {_reason(error)}")
            return
        if fault := find_fault(info, len(next(iter(tensors.values()))), outputs):
            self._fail(model, f"a known tensor came back wrong: {fault}")
        else:
            model.probe_seconds = time.monotonic() - begin
            self._restore(model)

    def _patience(self, model: _Model) -> float:
        slowest = model.statistics.slowest if model.statistics else 0.0
        return self._probing.timeout_seconds + SLOWEST_FACTOR * slowest

    def _restore(self, model: _Model) -> None:
        model.answered = time.monotonic()
        if not model.serves and self._models.get(model.info.name) is model:
            model.serves, model.reason = True, ""
            metrics.TRITON_SERVES.labels(self.address, model.info.name).set(1)
            log.info("model_serves", endpoint=self.address, model=model.info.name)

    def _fail(self, model: _Model, reason: str) -> None:
        """Take requests from the model until it answers a known tensor; those in flight are given up."""
        if model.serves:
            metrics.TRITON_EJECTIONS.labels(model.info.name).inc()
        if model.serves or not model.reason:  # reported once, not at every check
            log.error("model_does_not_serve", endpoint=self.address, model=model.info.name, reason=reason)
        model.serves, model.reason = False, reason
        metrics.TRITON_SERVES.labels(self.address, model.info.name).set(0)
        self._give_up(model)

    def _give_up(self, model: _Model) -> None:
        for waiting in model.calls:
            if not waiting.done():
                waiting.set_exception(_unavailable(model.info.name))

    def _count_fault(self, model: _Model) -> None:
        model.faults += 1
        if model.faults >= HOLD_FAULTS:
            seconds = min(HOLD_SECONDS * 2**model.holds, MAX_HOLD_SECONDS)
            model.faults, model.holds, model.held_until = 0, model.holds + 1, time.monotonic() + seconds
            metrics.TRITON_EJECTIONS.labels(model.info.name).inc()
            log.error("model_held", endpoint=self.address, model=model.info.name, seconds=seconds)

    def _keep(self, call: asyncio.Future[Answer]) -> None:
        """Hold a call that perhaps nobody waits for until it has ended."""
        self._background.add(call)  # type: ignore[arg-type]  # a future of any result
        call.add_done_callback(self._forget)

    def _forget(self, call: asyncio.Future[Answer]) -> None:
        self._background.discard(call)
        if not call.cancelled():
            call.exception()  # read, or asyncio reports it as lost


def _hand_over(waiting: asyncio.Future[Answer], done: asyncio.Future[Answer]) -> None:
    if waiting.done():
        return
    if done.cancelled():
        waiting.set_exception(EngineUnavailableError("the call was interrupted", retry_after=RETRY_AFTER_SECONDS))
    elif (error := done.exception()) is not None:
        waiting.set_exception(error)
    else:
        waiting.set_result(done.result())


def _reason(error: Exception) -> str:
    """What Triton itself said, for the log."""
    return str(error.__cause__ or error)


def _unavailable(name: str) -> EngineUnavailableError:
    return EngineUnavailableError(f"the network {name} does not answer", retry_after=RETRY_AFTER_SECONDS)
