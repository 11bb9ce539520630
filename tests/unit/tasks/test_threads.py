"""Work on whole pictures does not hold up the event loop."""

import asyncio
import threading
from typing import Any

import numpy as np
import pytest

from orchestrator.imaging import mattes
from orchestrator.params import (
    BackgroundParams,
    Edit,
    Enhancement,
    EnhancementKind,
    Removal,
    SizeParams,
    Upscale,
)
from orchestrator.tasks import enhance, enlarge, upscale
from orchestrator.tasks.canvas import Canvas
from tests.unit.tasks.task_harness import TaskHarness, noise, source


def watch(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, seen: dict[str, bool]) -> None:
    """Note whether a function is called in the event loop's own thread."""
    original = getattr(owner, name)

    def called(*args: Any, **kwargs: Any) -> Any:
        seen[name] = seen.get(name, False) or threading.current_thread() is threading.main_thread()
        return original(*args, **kwargs)

    monkeypatch.setattr(owner, name, called)


def transparent() -> Any:
    """A picture with an opaque object."""
    alpha = np.zeros((40, 60, 1), np.uint8)
    alpha[10:30, 20:40] = 255
    return np.concatenate([noise(60, 40), alpha], axis=2)


async def test_enlarging(harness: TaskHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, bool] = {}
    for owner, name in ((upscale, "with_alpha"), (Canvas, "cut"), (enlarge, "from_pixels"), (enlarge, "to_pixels")):
        watch(monkeypatch, owner, name, seen)
    await harness.run(Upscale(image=source(transparent())), prompt="", steps=4, size=SizeParams(width=180))
    assert seen == {"with_alpha": False, "cut": False, "from_pixels": False, "to_pixels": False}


async def test_cutting_out(harness: TaskHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, bool] = {}
    watch(monkeypatch, mattes, "has_object", seen)
    await harness.run(Edit(image=source(transparent())), background=BackgroundParams(remove=Removal.AUTO))
    assert seen == {"has_object": False}


@pytest.mark.promise(
    "enhancements that take long, again and again",
    "two threads of their own",
    "orchestrator/tasks/enhance.py",
)
async def test_slow_enhancements_hold_up_each_other_alone(
    harness: TaskHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also once their requests are gone; what is still in line is not started for nobody."""
    go, running, started = threading.Event(), threading.Semaphore(0), 0

    def slow(picture: Any, _level: float) -> Any:
        nonlocal started
        started += 1
        running.release()
        go.wait(60)
        return picture

    monkeypatch.setattr(enhance, "_WORKS", {(EnhancementKind.CLEAN, None): slow})
    wanted = (Enhancement(kind=EnhancementKind.CLEAN),)
    task = Edit(image=source(noise(20, 20)))
    requests = [asyncio.create_task(harness.run(task, enhancements=wanted)) for _ in range(40)]
    try:
        assert await asyncio.wait_for(asyncio.to_thread(running.acquire), 10)
        for request in requests[:-1]:
            request.cancel()
        await asyncio.gather(*requests[:-1], return_exceptions=True)
        assert (await asyncio.wait_for(harness.run(task), 10)).width == 20
    finally:
        go.set()
    assert (await asyncio.wait_for(requests[-1], 30)).width == 20
    assert started <= 3
