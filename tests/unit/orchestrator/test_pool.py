"""Which of several Tritons a call goes to, and which are left out: over Tritons that fail on demand."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tritonclient.utils import InferenceServerException

from orchestrator.errors import EngineFaultError, EngineRefusedError, EngineUnavailableError
from orchestrator.models.endpoint import HOLD_FAULTS, Endpoint, Probing
from orchestrator.models.pool import Route, TritonPool
from orchestrator.models.specs import UNET
from tests.unit.orchestrator.triton_fake import Client, config, server_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MODEL = "a_unet"
PATIENCE = Probing(idle_seconds=0.0, timeout_seconds=0.05)


@dataclass
class Moody(Client):
    """Fails with the error that it is given, for requests of these rows; answers nothing while it is frozen."""

    status: str = ""
    message: str = ""
    rows: tuple[int, ...] = (1, 2)
    thawed: asyncio.Event = field(default_factory=asyncio.Event)
    asked: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.thawed.set()

    async def infer(self, model: str, tensors: Sequence[Any], outputs: Sequence[Any], client_timeout: float) -> Any:
        rows = tensors[0].shape()[0]
        self.asked.append(rows)
        await self.thawed.wait()
        if self.status and rows in self.rows:
            raise InferenceServerException(self.message, self.status)
        return await super().infer(model, tensors, outputs, client_timeout)

    async def close(self) -> None:
        """See tritonclient."""

    async def get_inference_statistics(self, _model: str, client_timeout: float) -> Any:
        assert client_timeout > 0
        return SimpleNamespace(model_stats=[])


def tritons(count: int) -> tuple[TritonPool, list[Moody]]:
    """Tritons with one model, a batch of 8 rows."""
    clients = [Moody({MODEL: config(UNET, rows=8)}) for _ in range(count)]
    pool = TritonPool(",".join(f"127.0.0.1:{port}" for port in range(1, count + 1)), timeout_seconds=1)
    pool._endpoints = {
        f"127.0.0.1:{number}": Endpoint(f"127.0.0.1:{number}", server_of(client), PATIENCE)
        for number, client in enumerate(clients, 1)
    }
    return pool, clients


def inputs(rows: int = 2, side: int = 8) -> dict[str, Any]:
    return {
        "sample": np.ones((rows, 4, side, side), np.float32),
        "timestep": np.ones((rows, 1), np.float32),
        "encoder_hidden_states": np.ones((rows, 8, 6), np.float32),
    }


async def ask(route: Route | TritonPool, pool: TritonPool, **sizes: int) -> None:
    info = await pool.describe(MODEL)
    await route.infer(info, inputs(**sizes), ["out_sample"])


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop run until something holds."""
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0)


def homes(pool: TritonPool) -> list[int]:
    """Rows of the requests that each Triton works for."""
    return [endpoint.load for endpoint in pool.endpoints]


async def test_a_shape_fills_one_triton_before_the_next() -> None:
    pool, _ = tritons(3)
    await pool.check({MODEL})
    routes = [Route(pool) for _ in range(9)]
    for route in routes[:4]:
        await ask(route, pool)
    assert sorted(homes(pool)) == [0, 0, 8]
    await ask(routes[4], pool)
    assert sorted(homes(pool)) == [0, 2, 8], "no room for it: another Triton"
    await ask(routes[5], pool, side=16)
    assert sorted(homes(pool)) == [2, 2, 8], "of another shape: no batch is lost where nothing is done"
    before = homes(pool)
    for route in routes[:5]:
        await ask(route, pool)
    assert homes(pool) == before, "each keeps to its own"
    del routes, route
    assert homes(pool) == [0, 0, 0], "those that have ended hold nothing"


@pytest.mark.parametrize(
    ("status", "message"),
    [
        ("StatusCode.UNAVAILABLE", "connection refused"),
        ("StatusCode.DEADLINE_EXCEEDED", "Deadline Exceeded"),
        ("StatusCode.INTERNAL", "Stub process 'a_unet_0' is not healthy."),
        ("StatusCode.INTERNAL", "CUDA error: an illegal memory access was encountered"),
    ],
)
async def test_a_step_is_repeated_elsewhere_and_a_probe_brings_the_triton_back(status: str, message: str) -> None:
    pool, clients = tritons(2)
    await pool.check({MODEL})
    route = Route(pool)
    await ask(route, pool)
    (home,) = [client for client, rows in zip(clients, homes(pool), strict=True) if rows]
    home.status, home.message = status, message
    await ask(route, pool)
    assert [rows for client, rows in zip(clients, homes(pool), strict=True) if client is home] == [0]
    asked = len(home.asked)
    await asyncio.gather(*(ask(pool, pool) for _ in range(8)))
    assert len(home.asked) == asked, "no request reaches it"
    home.status = ""
    await pool.check({MODEL})
    assert all(endpoint.find(MODEL) for endpoint in pool.endpoints)


async def test_without_another_triton_the_engine_is_unavailable_not_at_fault() -> None:
    pool, (client,) = tritons(1)
    await pool.check({MODEL})
    client.status, client.message = "StatusCode.INTERNAL", "out of memory"
    with pytest.raises(EngineUnavailableError) as caught:
        await ask(pool, pool)
    assert caught.value.retry_after > 0
    assert pool.find(MODEL) is None


async def test_a_request_that_fails_alone_is_tried_twice_and_is_its_own_fault() -> None:
    pool, clients = tritons(2)
    await pool.check({MODEL})
    for client in clients:
        client.status, client.message, client.rows = "StatusCode.INTERNAL", "out of memory", (2,)
        client.asked.clear()
    with pytest.raises(EngineFaultError):
        await ask(pool, pool)
    assert [client.asked.count(2) for client in clients] == [1, 1], "once in each"
    await ask(pool, pool, rows=3)


async def test_refused_tensors_are_sent_once_and_accuse_nobody() -> None:
    pool, clients = tritons(2)
    await pool.check({MODEL})
    for client in clients:
        client.status, client.message = "StatusCode.INVALID_ARGUMENT", "unexpected shape"
        client.rows = (2,)
        client.asked.clear()
    with pytest.raises(EngineRefusedError):
        await ask(pool, pool)
    assert sorted(client.asked for client in clients) == [[], [2]]
    assert pool.find(MODEL) is not None


async def test_faults_in_a_row_keep_requests_away_from_one_triton_of_two() -> None:
    """It answers known tensors, of one row, and fails on what requests bring."""
    pool, (bad, good) = tritons(2)
    await pool.check({MODEL})
    bad.status, bad.message, bad.rows = "StatusCode.INTERNAL", "out of memory", (2,)
    for _ in range(40):
        await ask(pool, pool)
    assert bad.asked.count(2) == HOLD_FAULTS
    assert good.asked.count(2) == 40


async def test_calls_of_a_frozen_triton_go_on_elsewhere() -> None:
    pool, clients = tritons(2)
    await pool.check({MODEL})
    for client in clients:
        client.thawed.clear()
    calls = [asyncio.create_task(ask(Route(pool), pool)) for _ in range(4)]
    await until(lambda: any(client.asked.count(2) == 4 for client in clients))
    (frozen,) = [client for client in clients if client.asked.count(2) == 4]
    (other,) = [client for client in clients if client is not frozen]
    other.thawed.set()
    await pool.check({MODEL})
    await asyncio.wait_for(asyncio.gather(*calls), 10)
    assert other.asked.count(2) == 4
    frozen.thawed.set()
    await until(lambda: all(endpoint.find(MODEL) for endpoint in pool.endpoints))


async def test_a_caller_that_is_cancelled_does_not_cancel_the_call() -> None:
    """Triton's cancelling has crashed it."""
    pool, (client,) = tritons(1)
    await pool.check({MODEL})
    client.thawed.clear()
    call = asyncio.create_task(ask(pool, pool))
    await until(lambda: 2 in client.asked)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    answered = len(client.sent)
    client.thawed.set()
    await until(lambda: len(client.sent) > answered)


async def test_another_model_of_the_same_name_is_not_mixed_in() -> None:
    pool, clients = tritons(2)
    clients[1].configs[MODEL].parameters["graph_sha256"].string_value = "another"
    await pool.check({MODEL})
    for _ in range(10):
        await ask(pool, pool)
    assert 2 not in clients[1].asked


async def test_a_triton_that_leaves_serves_its_requests_to_their_end_without_another() -> None:
    pool, (client,) = tritons(1)
    (leaving,) = pool.endpoints
    await pool.check({MODEL})
    route = Route(pool)
    await ask(route, pool)
    info = await pool.describe(MODEL)
    pool._names = ["127.0.0.1:2"]
    await pool._resolve()
    assert leaving in pool._leaving, "the request has its seat there"
    client.asked.clear()
    await route.infer(info, inputs(), ["out_sample"])
    assert client.asked == [2]
    assert not pool.serves(info), "nothing new is accepted for it"
    other = Moody({MODEL: config(UNET, rows=8)})
    pool._endpoints["127.0.0.1:2"] = Endpoint("127.0.0.1:2", server_of(other), PATIENCE)
    await pool.check({MODEL})
    await route.infer(info, inputs(), ["out_sample"])
    assert other.asked[-1] == 2
    assert client.asked == [2], "the next step goes to the one that stays"
    await pool._resolve()
    assert leaving not in pool._leaving
