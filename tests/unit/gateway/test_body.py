"""How bodies are read: large ones take turns."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from starlette.requests import Request
from starlette.types import Message

from gateway import body
from gateway.errors import ApiError

LIMIT = 2 * body.LARGE_BYTES
SMALL, LARGE = b" " * body.LARGE_BYTES, b" " * (body.LARGE_BYTES + 1)


def request_of(chunks: AsyncIterator[bytes]) -> Request:
    """A request whose body comes in these chunks."""

    async def receive() -> Message:
        chunk = await anext(chunks, None)
        return {"type": "http.request", "body": chunk or b"", "more_body": chunk is not None}

    return Request({"type": "http", "headers": []}, receive)


async def whole(content: bytes) -> AsyncIterator[bytes]:
    """A body that comes at once."""
    yield content


async def read(chunks: AsyncIterator[bytes], slots: asyncio.Semaphore) -> int:
    """Read a body, and be done with it."""
    async with AsyncExitStack() as held:
        return len(await body.read(request_of(chunks), LIMIT, slots, held))


async def test_a_large_body_waits_for_another_and_small_ones_pass() -> None:
    slots, stuck = asyncio.Semaphore(1), asyncio.Event()

    async def half() -> AsyncIterator[bytes]:
        yield LARGE
        stuck.set()
        await asyncio.Event().wait()

    first = asyncio.create_task(read(half(), slots))
    await stuck.wait()
    second = asyncio.create_task(read(whole(LARGE), slots))
    assert await read(whole(SMALL), slots) == len(SMALL)
    assert not second.done()
    first.cancel()
    assert await second == len(LARGE)
    await asyncio.gather(first, return_exceptions=True)
    assert not slots.locked()


async def test_who_waits_too_long_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body, "BODY_SECONDS", 0.01)
    slots = asyncio.Semaphore(0)
    with pytest.raises(ApiError) as caught:
        await read(whole(LARGE), slots)
    assert (caught.value.status, caught.value.body["code"]) == (408, "REQUEST_TIMEOUT")


async def test_a_body_gives_its_slot_back_whatever_becomes_of_it() -> None:
    slots = asyncio.Semaphore(1)

    async def too_long() -> AsyncIterator[bytes]:
        yield LARGE
        yield LARGE

    for _ in range(2):
        with pytest.raises(ApiError) as caught:
            await read(too_long(), slots)
        assert caught.value.status == 413
        assert await read(whole(LARGE), slots) == len(LARGE)


@pytest.mark.parametrize(("size", "apart"), [(body.QUICK_BYTES, False), (body.QUICK_BYTES + 1, True)])
async def test_large_work_is_done_in_a_thread(size: int, *, apart: bool) -> None:
    loop = asyncio.get_running_loop()

    def in_the_loop() -> bool:
        try:
            return asyncio.get_running_loop() is loop
        except RuntimeError:
            return False

    assert await body.apart(size, in_the_loop) is not apart
