"""Tasks that are cancelled end, or are given up, whatever they do with their cancellation."""

import asyncio

from orchestrator.cancellation import cancel_and_wait


async def test_a_task_that_swallows_one_cancellation_ends() -> None:
    """As asyncio.wait_for did until Python 3.12, where what it waited for came at the same moment."""
    started, swallowed = asyncio.Event(), 0

    async def work() -> None:
        nonlocal swallowed
        started.set()
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                swallowed += 1
                if swallowed > 1:
                    raise

    task = asyncio.create_task(work())
    await started.wait()
    assert await cancel_and_wait(task, seconds=30)
    assert task.cancelled()
    assert swallowed == 2


async def test_the_fault_of_wait_for_itself() -> None:
    """The result and the cancellation come in the same step of the loop: on 3.11 the cancellation is lost."""
    loop = asyncio.get_running_loop()
    first, never = loop.create_future(), loop.create_future()

    async def work() -> None:
        await asyncio.wait_for(first, 3600)
        await asyncio.wait_for(never, 3600)

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    first.set_result(None)
    assert await cancel_and_wait(task, seconds=30)
    assert task.cancelled()


async def test_a_task_that_ignores_all_cancellations_is_not_waited_for() -> None:
    stop = asyncio.Event()

    async def work() -> None:
        while not stop.is_set():
            try:
                await stop.wait()
            except asyncio.CancelledError:
                continue

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    assert not await cancel_and_wait(task, seconds=0.5)
    stop.set()
    await task


async def test_what_a_task_raises_is_dropped() -> None:
    async def work() -> None:
        raise RuntimeError("broken")

    task = asyncio.create_task(work())
    await asyncio.wait({task})
    assert await cancel_and_wait(task, None)
