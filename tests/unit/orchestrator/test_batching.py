"""Requests that share an engine share its batches, and nothing else: over Tritons that fail as they are asked to."""

import asyncio
from typing import Any

import numpy as np
import pytest

from orchestrator.errors import CancelledByClientError, EngineFaultError
from orchestrator.models.pool import Route, TritonPool
from orchestrator.params import Priority
from orchestrator.scheduling.costs import Cost, CostModel
from orchestrator.scheduling.scheduled import Work
from orchestrator.scheduling.turns import Turn, Turns
from tests.unit.orchestrator.test_pool import MODEL, Moody, inputs, tritons, until

SHAPE = (4, 8, 8)
WORK = Work(10.0, MODEL, SHAPE, 2, 8)


class World:
    """Some Tritons, and turns at them."""

    def __init__(self, by_rows: dict[int, float], count: int = 1, fixed: int = 0) -> None:
        costs = CostModel()
        for rows, seconds in by_rows.items():
            costs.observe(Cost("127.0.0.1:1", MODEL, SHAPE, rows, seconds))
        self.turns = Turns(costs, fixed)
        self.pool, self.clients = tritons(count)
        self.pool.batches = type(self.pool.batches)(self.turns)

    async def open(self, work: Work = WORK) -> tuple[Route, Turn]:
        await self.pool.check({MODEL})
        turn = self.turns.open("one", Priority.NORMAL, work, lambda: list(self.pool._endpoints))
        return Route(self.pool, turn), turn

    async def ask(self, route: Route, rows: int = 2) -> np.ndarray[Any, Any]:
        info = await self.pool.describe(MODEL)
        (answer,) = await route.infer(info, inputs(rows=rows), ["out_sample"])
        return answer


def asked(clients: list[Moody]) -> list[int]:
    """Rows of each call, probes left out."""
    return [rows for client in clients for rows in client.asked[1:]]


async def test_requests_that_saturate_together_share_calls_step_by_step() -> None:
    world = World({2: 1.0, 8: 1.1})
    pairs = [await world.open() for _ in range(4)]

    async def walk(route: Route, turn: Turn) -> None:
        for _ in range(3):
            assert (await world.ask(route)).shape[0] == 2
        turn.close()

    world.clients[0].asked.clear()
    world.clients[0].asked.append(0)
    await asyncio.gather(*(walk(*pair) for pair in pairs))
    assert asked(world.clients) == [8, 8, 8]


async def test_where_batches_bring_nothing_the_second_waits_for_the_end_of_the_first() -> None:
    world = World({2: 1.0, 8: 4.0})
    (first, turn), (second, other) = await world.open(), await world.open()
    await world.ask(first)
    waiting = asyncio.create_task(world.ask(second))
    for _ in range(3):
        await world.ask(first)
    assert not waiting.done()
    turn.release()
    assert len(await waiting) == 2
    other.close()
    turn.close()


async def test_a_request_whose_tensors_an_engine_fails_on_fails_alone() -> None:
    world = World({2: 1.0, 8: 1.1})
    pairs = [await world.open() for _ in range(3)]
    client = world.clients[0]
    client.status, client.message, client.rows = "StatusCode.INTERNAL", "no", (3, 7)

    async def one(route: Route, turn: Turn, rows: int) -> int:
        try:
            return len(await world.ask(route, rows))
        finally:
            turn.close()

    rows = [3, 2, 2]
    answers = await asyncio.gather(
        *(one(*pair, count) for pair, count in zip(pairs, rows, strict=True)), return_exceptions=True
    )
    assert isinstance(answers[0], EngineFaultError)
    assert answers[1:] == [2, 2]


async def test_a_request_that_is_cancelled_leaves_its_engine_and_its_company_alone() -> None:
    world = World({2: 1.0, 8: 1.1})
    pairs = [await world.open() for _ in range(2)]
    client = world.clients[0]
    client.thawed.clear()
    calls = [asyncio.create_task(world.ask(route)) for route, _ in pairs]
    await until(lambda: 4 in client.asked)
    calls[0].cancel()
    client.thawed.set()
    assert len(await calls[1]) == 2
    for _, turn in pairs:
        turn.close()
    assert not world.turns._scheduler.is_wanted("127.0.0.1:1")


async def test_a_request_that_is_stopped_while_it_waits_ends_at_once() -> None:
    world = World({2: 1.0, 8: 4.0})
    (first, turn), (second, other) = await world.open(), await world.open()
    client = world.clients[0]
    client.thawed.clear()
    running = asyncio.create_task(world.ask(first))
    await until(lambda: 2 in client.asked[1:])
    waiting = asyncio.create_task(world.ask(second))
    await asyncio.sleep(0)
    other.stop(CancelledByClientError("stopped"))
    with pytest.raises(CancelledByClientError):
        await waiting
    client.thawed.set()
    await running
    other.close()
    turn.close()


async def test_a_fixed_number_of_requests_calls_as_it_comes() -> None:
    world = World({2: 1.0, 8: 4.0}, fixed=8)
    pairs = [await world.open() for _ in range(3)]
    client = world.clients[0]
    client.thawed.clear()
    client.asked.clear()
    calls = [asyncio.create_task(world.ask(route)) for route, _ in pairs]
    await until(lambda: client.asked == [2, 2, 2])
    client.thawed.set()
    await asyncio.gather(*calls)
    for _, turn in pairs:
        turn.close()


async def test_requests_spread_over_tritons_that_each_is_enough_for() -> None:
    world = World({2: 1.0, 8: 4.0}, count=2)
    pairs = [await world.open() for _ in range(2)]
    await asyncio.gather(*(world.ask(route) for route, _ in pairs))
    assert {turn.engine for _, turn in pairs} == {"127.0.0.1:1", "127.0.0.1:2"}
    for _, turn in pairs:
        turn.close()


async def test_a_step_goes_elsewhere_when_its_triton_fails() -> None:
    world = World({2: 1.0, 8: 4.0}, count=2)
    route, turn = await world.open()
    await world.ask(route)
    home = world.clients[int((turn.engine or "").rpartition(":")[2]) - 1]
    home.status, home.message = "StatusCode.UNAVAILABLE", "gone"
    assert len(await world.ask(route)) == 2
    turn.close()


def test_a_pool_has_turns_of_its_own_by_default() -> None:
    assert TritonPool("127.0.0.1:1", timeout_seconds=1).batches


async def test_requests_of_one_batch_share_its_time_by_their_rows() -> None:
    world = World({2: 1.0, 8: 1.1})
    spent: dict[str, list[float]] = {"one": [], "two": []}
    await world.pool.check({MODEL})

    async def ask(name: str, rows: int) -> None:
        turn = world.turns.open(
            name,
            Priority.NORMAL,
            WORK,
            lambda: list(world.pool._endpoints),
            spend=lambda _, seconds: spent[name].append(seconds),
        )
        await world.ask(Route(world.pool, turn), rows)
        turn.close()

    world.clients[0].asked.clear()
    world.clients[0].asked.append(0)
    await asyncio.gather(ask("one", 2), ask("two", 6))
    assert asked(world.clients) == [8]
    (two,), (six,) = spent.values()
    assert six == pytest.approx(3 * two)
    assert two > 0
