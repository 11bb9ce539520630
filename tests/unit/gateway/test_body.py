"""How bodies are read: within their account's memory, and at a least rate."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from starlette.requests import Request
from starlette.types import Message

from gateway.errors import ApiError
from gateway.transport import body, upload_budget
from gateway.transport.upload_budget import Uploads

LIMIT = 1_000_000
SMALL, LARGE = bytes(body.SMALL_BYTES), bytes(body.SMALL_BYTES + 1)


def request_of(chunks: AsyncIterator[bytes], length: int | None = None) -> Request:
    """A request whose body comes in these chunks."""

    async def receive() -> Message:
        chunk = await anext(chunks, None)
        return {"type": "http.request", "body": chunk or b"", "more_body": chunk is not None}

    headers = [] if length is None else [(b"content-length", str(length).encode())]
    return Request({"type": "http", "headers": headers}, receive)


async def whole(*content: bytes) -> AsyncIterator[bytes]:
    """A body that comes at once, or in pieces."""
    for each in content:
        yield each


async def read(chunks: AsyncIterator[bytes], length: int | None = None, rate: int = 0) -> tuple[int, list[int]]:
    """Read a body; its length, and the memory that was taken for it."""
    held: list[int] = []

    async def hold(size: int) -> None:
        held.append(size)

    content = await body.read(request_of(chunks, length), body.Limits(LIMIT, rate), hold)
    return len(content), held


@pytest.mark.parametrize(
    ("chunks", "length", "held"),
    [
        ([SMALL], len(SMALL), []),
        ([SMALL], None, []),
        ([], 0, []),
        ([LARGE], len(LARGE), [len(LARGE)]),
        ([LARGE], None, [LIMIT]),  # nobody knows how long it gets
        ([SMALL, SMALL, SMALL], None, [LIMIT]),
    ],
)
async def test_large_bodies_take_memory_once(chunks: list[bytes], length: int | None, held: list[int]) -> None:
    assert await read(whole(*chunks), length) == (sum(map(len, chunks)), held)


@pytest.mark.parametrize("length", [None, LIMIT + 1, 10**40])
async def test_what_is_too_long_is_refused(length: int | None) -> None:
    with pytest.raises(ApiError) as caught:
        await read(whole(*[LARGE] * 20), length)
    assert (caught.value.status, caught.value.body["code"]) == (413, "PAYLOAD_TOO_LARGE")


async def forever(seconds: float, size: int = 1) -> AsyncIterator[bytes]:
    """A body that never ends, slowly."""
    while True:
        await asyncio.sleep(seconds)
        yield bytes(size)


@pytest.mark.parametrize(("seconds", "size"), [(60.0, 1), (0.01, 1), (0.001, 10)])
async def test_a_body_that_comes_too_slowly_is_given_up(
    seconds: float, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether nothing comes, or too little on average."""
    monkeypatch.setattr(body, "PATIENCE_SECONDS", 0.1)
    with pytest.raises(ApiError) as caught:
        await read(forever(seconds, size), rate=100_000)
    assert (caught.value.status, caught.value.body["code"]) == (408, "REQUEST_TIMEOUT")


async def test_the_wait_for_memory_is_not_the_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body, "PATIENCE_SECONDS", 0.2)

    async def hold(_size: int) -> None:
        await asyncio.sleep(0.5)

    content = await body.read(request_of(whole(LARGE, SMALL)), body.Limits(LIMIT, 10_000_000), hold)
    assert len(content) == len(LARGE) + len(SMALL)


@pytest.mark.parametrize(("size", "apart"), [(body.QUICK_BYTES, False), (body.QUICK_BYTES + 1, True)])
async def test_large_work_is_done_in_a_thread(size: int, *, apart: bool) -> None:
    loop = asyncio.get_running_loop()

    def in_the_loop() -> bool:
        try:
            return asyncio.get_running_loop() is loop
        except RuntimeError:
            return False

    assert await body.run_off_loop(size, in_the_loop) is not apart


class Holders:
    """Bodies that are held until they are let go."""

    def __init__(self, uploads: Uploads) -> None:
        self._uploads = uploads
        self.held: list[str] = []
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._ends: dict[str, asyncio.Event] = {}

    async def begin(self, name: str, account: str, size: int) -> None:
        """Ask for memory."""
        self._ends[name] = asyncio.Event()
        self._tasks[name] = asyncio.create_task(self._hold(name, account, size))
        for _ in range(4):
            await asyncio.sleep(0)

    async def end(self, name: str) -> None:
        """Give it back."""
        self._ends[name].set()
        await self._tasks[name]
        for _ in range(4):
            await asyncio.sleep(0)

    async def cancel(self, name: str) -> None:
        """The client hangs up."""
        self._tasks[name].cancel()
        await asyncio.gather(self._tasks[name], return_exceptions=True)
        for _ in range(4):
            await asyncio.sleep(0)

    async def _hold(self, name: str, account: str, size: int) -> None:
        async with self._uploads.hold(account, size):
            self.held.append(name)
            await self._ends[name].wait()


@pytest.mark.promise(
    "many large REST bodies",
    "one budget of bytes, of which an account has half",
    "gateway/transport/upload_budget.py",
)
async def test_an_account_has_its_share_and_no_more() -> None:
    holders = Holders(Uploads(100, 50))
    for name in ("a1", "a2", "a3"):
        await holders.begin(name, "a", 25)
    await holders.begin("b1", "b", 50)
    assert holders.held == ["a1", "a2", "b1"]
    await holders.end("a1")
    assert holders.held == ["a1", "a2", "b1", "a3"]
    for name in ("a2", "a3", "b1"):
        await holders.end(name)


async def test_a_large_body_is_not_passed_by_small_ones_for_ever() -> None:
    holders = Holders(Uploads(100, 60))
    await holders.begin("a1", "a", 60)
    await holders.begin("b1", "b", 60)
    await holders.begin("c1", "c", 10)
    assert holders.held == ["a1"]
    await holders.end("a1")
    assert holders.held == ["a1", "b1", "c1"]
    await holders.end("b1")
    await holders.end("c1")


async def test_what_is_larger_than_the_budget_passes_alone() -> None:
    holders = Holders(Uploads(10, 5))
    await holders.begin("a1", "a", 1000)
    await holders.begin("b1", "b", 1)
    assert holders.held == ["a1"]
    await holders.end("a1")
    assert holders.held == ["a1", "b1"]
    await holders.end("b1")


async def test_who_hangs_up_while_waiting_leaves_nothing() -> None:
    holders = Holders(Uploads(10, 10))
    await holders.begin("a1", "a", 10)
    await holders.begin("b1", "b", 10)
    await holders.begin("c1", "c", 10)
    await holders.cancel("b1")
    await holders.cancel("a1")
    assert holders.held == ["a1", "c1"]
    await holders.end("c1")
    await holders.begin("d1", "d", 10)
    assert holders.held[-1] == "d1"
    await holders.end("d1")


async def test_who_waits_too_long_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload_budget, "WAIT_SECONDS", 0.05)
    holders = Holders(Uploads(10, 10))
    await holders.begin("a1", "a", 10)
    with pytest.raises(ApiError) as caught:
        async with Uploads.hold(holders._uploads, "b", 1):
            pass
    assert (caught.value.status, caught.value.headers["Retry-After"]) == (503, "5")
    await holders.end("a1")
