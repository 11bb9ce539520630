"""Whose key it is: asked once, remembered for seconds, for a bounded number of keys."""

import asyncio
from typing import cast

import grpc
import pytest
from google.rpc import code_pb2, error_details_pb2, status_pb2

from gateway.upstream import known_keys
from gateway.upstream.known_keys import KnownKeys
from gateway.upstream.orchestrator import Caller, Orchestrator
from imagegen.v1 import accounts_pb2


class Answers:
    """An orchestrator that knows some keys."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.accounts = {"k-alice": "alice"}
        self.is_away = False

    async def account(self, caller: Caller, _seconds: float) -> accounts_pb2.Account:
        self.asked.append(caller.api_key or "")
        await asyncio.sleep(0.01)
        if self.is_away:
            raise failure(grpc.StatusCode.UNAVAILABLE, "DATABASE_UNAVAILABLE")
        if caller.api_key not in self.accounts:
            raise failure(grpc.StatusCode.UNAUTHENTICATED, "API_KEY_UNKNOWN")
        return accounts_pb2.Account(name=self.accounts[caller.api_key])


def failure(code: grpc.StatusCode, reason: str) -> grpc.aio.AioRpcError:
    """As the orchestrator refuses."""
    status = status_pb2.Status(code=code_pb2.Code.Value(code.name))
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason=reason, domain="imagegen"))
    trailing = grpc.aio.Metadata(("grpc-status-details-bin", status.SerializeToString()))
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), trailing, "refused")


class Clock:
    """A clock that a test turns."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def answers() -> Answers:
    return Answers()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def keys(answers: Answers, clock: Clock) -> KnownKeys:
    return KnownKeys(cast("Orchestrator", answers), 1.0, clock)


async def test_a_hundred_questions_at_once_are_asked_once(keys: KnownKeys, answers: Answers) -> None:
    found = await asyncio.gather(*(keys.account_of(Caller("k-alice", "r")) for _ in range(100)))
    assert found == ["alice"] * 100
    assert await keys.account_of(Caller("k-alice", "r")) == "alice"
    assert answers.asked == ["k-alice"]


async def test_a_client_that_hangs_up_does_not_take_the_answer_from_others(keys: KnownKeys, answers: Answers) -> None:
    first = asyncio.create_task(keys.account_of(Caller("k-alice", "r")))
    second = asyncio.create_task(keys.account_of(Caller("k-alice", "r")))
    await asyncio.sleep(0)
    first.cancel()
    assert await second == "alice"
    assert answers.asked == ["k-alice"]


async def test_what_is_remembered_ends(keys: KnownKeys, answers: Answers, clock: Clock) -> None:
    assert await keys.account_of(Caller("k-bob", "r")) is None
    answers.accounts["k-bob"] = "bob"
    assert await keys.account_of(Caller("k-bob", "r")) is None
    clock.now += known_keys.UNKNOWN_SECONDS
    assert await keys.account_of(Caller("k-bob", "r")) == "bob"
    del answers.accounts["k-bob"]
    assert await keys.account_of(Caller("k-bob", "r")) == "bob"
    clock.now += known_keys.KNOWN_SECONDS
    assert await keys.account_of(Caller("k-bob", "r")) is None


async def test_an_outage_is_not_remembered(keys: KnownKeys, answers: Answers) -> None:
    answers.is_away = True
    for _ in range(2):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await keys.account_of(Caller("k-alice", "r"))
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    answers.is_away = False
    assert await keys.account_of(Caller("k-alice", "r")) == "alice"


async def test_a_flood_of_keys_stays_small(answers: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_keys, "MAX_REMEMBERED", 10)
    keys = KnownKeys(cast("Orchestrator", answers), 1.0)
    await asyncio.gather(*(keys.account_of(Caller(f"k-{number}", "r")) for number in range(200)))
    assert len(keys._remembered) == 10
    assert keys._asking == {}
    assert len(answers.asked) == 200
