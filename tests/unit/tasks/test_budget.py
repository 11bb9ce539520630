"""The memory budget: order, giving back, cancelling; and memory that stays bounded."""

import asyncio

import numpy as np
import pytest
from prometheus_client import REGISTRY

from orchestrator.errors import InvalidRequestError
from orchestrator.imaging.decode import BYTES_A_PIXEL, FIXED_MEMORY
from orchestrator.params import Edit, ImageFormat, SizeParams, TextToImage
from orchestrator.tasks.budget import Budgets, MemoryBudget
from orchestrator.tasks.memory_needs import PLAIN, WRITING
from tests.unit.tasks.task_harness import TaskHarness, source


def held() -> float | None:
    return REGISTRY.get_sample_value("imagegen_picture_memory_bytes", {"use": "working"})


async def settle() -> None:
    """Let every task go as far as it can."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_first_come_first_served_and_the_large_one_is_not_passed_by() -> None:
    budget, served = MemoryBudget(10, "working"), list[str]()
    ends = {name: asyncio.Event() for name in ("first", "large", "small")}

    async def job(name: str, pixels: int) -> None:
        with budget.share() as share:
            await share.take(pixels, "image")
            served.append(name)
            await ends[name].wait()

    jobs = [asyncio.create_task(job(name, pixels)) for name, pixels in (("first", 6), ("large", 8), ("small", 1))]
    await settle()
    assert (served, held()) == (["first"], 6)  # the small one would fit, and waits
    ends["first"].set()
    await settle()
    assert (served, held()) == (["first", "large", "small"], 9)
    for end in ends.values():
        end.set()
    await asyncio.gather(*jobs)
    assert held() == 0


async def test_more_than_all_of_it_is_refused_by_its_field() -> None:
    with (
        MemoryBudget(10, "working").share() as share,
        pytest.raises(InvalidRequestError, match=r"inpaint.image: needs 1 MiB .* has 0 MiB"),
    ):
        await share.take(11, "inpaint.image")


async def test_a_share_is_taken_in_one_go() -> None:
    with MemoryBudget(10, "working").share() as share:
        await share.take(1, "x")
        with pytest.raises(RuntimeError):
            await share.take(1, "x")


@pytest.mark.parametrize("late", [False, True], ids=["while it waits", "as it is served"])
async def test_who_gives_up_holds_nothing_and_lets_the_next_by(late: bool) -> None:
    budget = MemoryBudget(10, "working")
    with budget.share() as other:
        with budget.share() as share:
            await share.take(6, "x")
            waits = asyncio.create_task(budget.take(8, "x"))
            behind = asyncio.create_task(other.take(2, "x"))
            await settle()
            assert not behind.done()
            if not late:
                waits.cancel()
                await settle()
                assert behind.done()
        if late:  # granted by the end of the share, and cancelled before the task has run
            waits.cancel()
            await settle()
        assert waits.cancelled()
        assert behind.done()
        assert held() == 2
    assert held() == 0


async def test_jobs_of_three_pictures_do_not_wait_for_each_other_for_ever() -> None:
    budget = MemoryBudget(10, "working")

    async def job(pixels: int) -> None:
        with budget.share() as share:
            await share.take(pixels, "x")
            await asyncio.sleep(0)

    async with asyncio.timeout(10):
        await asyncio.gather(*(job(3 * (1 + number % 3)) for number in range(300)))
    assert held() == 0


async def test_what_is_not_needed_any_more_is_given_back() -> None:
    budget = MemoryBudget(10, "working")
    with budget.share() as share, budget.share() as other:
        await share.take(9, "x")
        waits = asyncio.create_task(other.take(5, "x"))
        await settle()
        assert not waits.done()
        share.keep(5)
        await waits
        assert held() == 10
        share.keep(8)  # nothing is taken this way
        assert share.size == 5
    assert held() == 0


@pytest.mark.promise(
    "many large pictures at once",
    ("a budget of bytes for all jobs together, from the cgroup's limit; a job takes its share in one go"),
    "orchestrator/tasks/budget.py",
)
async def test_many_large_pictures_at_once_keep_within_the_budget(harness: TaskHarness) -> None:
    """12 requests of 4 megapixels each: no more run at a time than have room, and all are served."""
    data = source(np.zeros((2048, 2048, 3), np.uint8))
    task = Edit(image=data)
    room = FIXED_MEMORY + 2 * (BYTES_A_PIXEL["PNG"] + PLAIN + WRITING[ImageFormat.PNG]) * 2048**2
    harness.budgets, most = Budgets.of(1 << 30, room), 0.0

    async def watch() -> None:
        nonlocal most
        while True:
            most = max(most, held() or 0)
            await asyncio.sleep(0)

    watching = asyncio.create_task(watch())
    results = await asyncio.gather(*(harness.run(task) for _ in range(12)))
    watching.cancel()
    assert [(each.width, each.height) for each in results] == [(2048, 2048)] * 12
    assert 0 < most <= room
    assert held() == 0


async def test_a_request_that_can_never_fit_is_refused_with_the_numbers(harness: TaskHarness) -> None:
    task = Edit(image=source(np.zeros((1024, 1024, 3), np.uint8)))
    harness.budgets = Budgets.of(1 << 30, 50 << 20)
    with pytest.raises(InvalidRequestError, match=r"edit.image: needs \d+ MiB of memory .* the server has 50 MiB"):
        await harness.run(task)


async def test_text_alone_takes_memory_for_its_result(harness: TaskHarness) -> None:
    harness.budgets = Budgets.of(1 << 30, 50 << 20)
    with pytest.raises(InvalidRequestError, match="size: needs"):
        await harness.run(TextToImage(), size=SizeParams(width=2048, height=2048))
