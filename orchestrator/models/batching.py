"""Calls of requests that share an engine, put together into one call of more rows.

Triton's own batcher runs the first of several calls alone while the others arrive: requests that go in step would never
share a batch whole. So those that hold an engine for their next step (scheduling/scheduler.py) are waited for, for a
moment, and one call goes to Triton. Rows do not depend on their company: the answer is what each alone would get.
"""

import asyncio
import contextvars
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from common import tracing
from orchestrator.arrays import Floats
from orchestrator.errors import EngineFaultError
from orchestrator.models.contracts import Ids
from orchestrator.models.endpoint import Answer, Endpoint, Seat
from orchestrator.models.triton import ModelInfo
from orchestrator.scheduling.costs import Cost
from orchestrator.scheduling.turns import Turns

LINGER_SHARE, MIN_LINGER, MAX_LINGER = 0.1, 0.002, 0.1
"""For which share of a call the others are waited for, within bounds in seconds."""

Tensors = Mapping[str, Floats | Ids]


@dataclass(eq=False, slots=True)
class _Call:
    inputs: Tensors
    rows: int
    waiting: asyncio.Future[Answer]
    spend: Callable[[float], None]
    context: contextvars.Context = field(default_factory=contextvars.copy_context)
    is_recorded: bool = field(default_factory=lambda: tracing.trace_id() is not None)


@dataclass(eq=False, slots=True)
class _Lane:
    """Calls of one kind to one engine."""

    endpoint: Endpoint
    seat: Seat
    info: ModelInfo
    outputs: tuple[str, ...]
    pending: list[_Call] = field(default_factory=list)
    is_busy: bool = False
    flush: asyncio.Handle | None = None


class Batches:
    """The calls of all requests of this process to all engines. Lives in one event loop."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._lanes: dict[tuple[Endpoint, Seat, tuple[str, ...], tuple[str, ...]], _Lane] = {}
        self._running: set[asyncio.Task[None]] = set()

    async def infer(
        self,
        endpoint: Endpoint,
        seat: Seat,
        info: ModelInfo,
        inputs: Tensors,
        outputs: Sequence[str],
        spend: Callable[[float], None],
    ) -> Answer:
        """One request's call, as Endpoint.infer; perhaps in one batch with others of the same shapes.

        `spend` gets its share of the time that the batch took, by its rows, however that ended.
        """
        if not self._turns.is_merging:
            start = time.perf_counter()
            try:
                return await endpoint.infer(info, inputs, outputs)
            finally:
                spend(time.perf_counter() - start)
        key = endpoint, seat, tuple(inputs), tuple(outputs)
        lane = self._lanes.get(key)
        if lane is None or lane.info != info:
            lane = self._lanes[key] = _Lane(endpoint, seat, info, tuple(outputs))
        call = _Call(inputs, len(next(iter(inputs.values()))), asyncio.get_running_loop().create_future(), spend)
        lane.pending.append(call)
        self._schedule(lane)
        try:
            return await call.waiting
        finally:
            if call in lane.pending:  # cancelled before it was sent
                lane.pending.remove(call)
            if not lane.pending and not lane.is_busy and self._lanes.get(key) is lane:
                self._lanes.pop(key)

    def _schedule(self, lane: _Lane) -> None:
        """Send what waits once all have come who may, or the time for them is over."""
        if lane.is_busy or not lane.pending:
            return
        if lane.flush is not None:
            lane.flush.cancel()
        loop = asyncio.get_running_loop()
        if self._turns.peers(lane.endpoint.address, lane.seat):
            rows = sum(call.rows for call in lane.pending)
            expected = self._turns.costs.seconds(*_kind(lane), rows, lane.endpoint.address) or 0.0
            linger = min(max(LINGER_SHARE * expected, MIN_LINGER), MAX_LINGER)
            lane.flush = loop.call_later(linger, self._send, lane)
        else:  # in a moment: others that were given their turn together with this one come first
            lane.flush = loop.call_soon(self._send, lane)

    def _send(self, lane: _Lane) -> None:
        lane.flush = None
        batch: list[_Call] = []
        rows = 0
        lane.pending = [call for call in lane.pending if not call.waiting.done()]
        while lane.pending and (not batch or rows + lane.pending[0].rows <= lane.info.max_batch_size):
            batch.append(lane.pending.pop(0))
            rows += batch[-1].rows
        if batch:
            lane.is_busy = True
            # A batch is a part of one trace: of the first request whose trace is recorded, if there is one.
            context = next((call for call in batch if call.is_recorded), batch[0]).context
            work = self._run(lane, batch, rows)
            run = asyncio.get_running_loop().create_task(work, name=f"batch {lane.info.name}", context=context)
            self._running.add(run)
            run.add_done_callback(self._running.discard)

    async def _run(self, lane: _Lane, batch: Sequence[_Call], rows: int) -> None:
        start = time.perf_counter()
        try:
            merged = batch[0].inputs if len(batch) == 1 else _merge(batch)
            answers = await lane.endpoint.infer(lane.info, merged, lane.outputs)
        except EngineFaultError as error:
            if len(batch) == 1:
                _fail(batch, error)
            else:
                await self._run_alone(lane, batch)
        except Exception as error:  # noqa: BLE001  # whatever it is, it is their callers' to handle
            _fail(batch, error)
        else:
            model, shape = _kind(lane)
            seconds = time.perf_counter() - start
            self._turns.costs.observe(Cost(lane.endpoint.address, model, shape, rows, seconds))
            _share(batch, answers)
        finally:
            seconds = time.perf_counter() - start
            for call in batch:
                call.spend(seconds * call.rows / rows)
            lane.is_busy = False
            asyncio.get_running_loop().call_soon(self._schedule, lane)  # after those whose answers are there went on

    async def _run_alone(self, lane: _Lane, batch: Sequence[_Call]) -> None:
        """Find out whose tensors the engine failed on: others are not concerned."""
        for call in batch:
            try:
                _share([call], await lane.endpoint.infer(lane.info, call.inputs, lane.outputs))
            except Exception as error:  # noqa: BLE001  # as above
                _fail([call], error)


def _kind(lane: _Lane) -> tuple[str, tuple[int, ...]]:
    """Model and shape, as costs are kept."""
    model, shapes = lane.seat
    return model, shapes[0]


def _merge(batch: Sequence[_Call]) -> Tensors:
    return {name: np.concatenate([call.inputs[name] for call in batch]) for name in batch[0].inputs}


def _share(batch: Sequence[_Call], answers: Answer) -> None:
    """Give each call its rows."""
    begin = 0
    for call in batch:
        end = begin + call.rows
        if not call.waiting.done():
            call.waiting.set_result(tuple(array[begin:end] for array in answers))
        begin = end


def _fail(batch: Sequence[_Call], error: Exception) -> None:
    for call in batch:
        if not call.waiting.done():
            call.waiting.set_exception(error)
