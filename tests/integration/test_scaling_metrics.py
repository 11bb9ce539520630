"""What KEDA scales groups of Tritons by (helm/imagegen/templates/triton.yaml), as the orchestrators report it."""

import asyncio
import re
from pathlib import Path

from orchestrator.server import Orchestrator
from tests.integration.stack import metrics, serving, settings, text_to_image


async def reported(orchestrator: Orchestrator) -> tuple[float, float]:
    """Seconds of work that wait for a Triton, and requests that Tritons work for."""
    page = await metrics(orchestrator)
    names = ("imagegen_engine_backlog_seconds", "imagegen_engine_requests")
    found = [re.search(rf'^{name}{{family="tiny"}} (\S+)$', page, re.MULTILINE) for name in names]
    assert all(found), "from the start, or nothing is known instead of nothing waits"
    backlog, requests = (float(each[1]) for each in found if each)
    return backlog, requests


async def until(orchestrator: Orchestrator, *, waits: bool, works: bool) -> None:
    async with asyncio.timeout(60):
        while True:
            backlog, requests = await reported(orchestrator)
            if (backlog > 0, requests > 0) == (waits, works):
                return
            await asyncio.sleep(0.05)


async def test_a_stream_that_waits_for_the_first_triton_is_work(free_port: int, tmp_path: Path) -> None:
    async with serving(settings(free_port, tmp_path, wake_seconds=60.0)) as (orchestrator, client):
        await until(orchestrator, waits=False, works=False)
        waiting = asyncio.create_task(client.generate(text_to_image()))
        await until(orchestrator, waits=True, works=False)
        waiting.cancel()
        await until(orchestrator, waits=False, works=False)


async def test_what_a_triton_works_for_does_not_wait(slow_triton: int, tmp_path: Path) -> None:
    async with serving(settings(slow_triton, tmp_path)) as (orchestrator, client):
        running = asyncio.create_task(client.generate(text_to_image(steps=40)))
        await until(orchestrator, waits=False, works=True)
        running.cancel()
        await until(orchestrator, waits=False, works=False)
