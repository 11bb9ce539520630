"""A stack, clients that ask for jobs, programs that are killed meanwhile, and what has become of the jobs."""

import asyncio
import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from local import stack
from local.services import list_services
from local.settings import Settings
from tests.faults.check import Findings, check
from tests.faults.clients import Asked, Clients
from tests.faults.killer import Kill, kill, until_running
from tests.integration.jobs.receiver import receiving

NAMES = ("postgres", "triton", "orchestrator", "gateway")
END_SECONDS = 180.0
"""After the last death, for all jobs to end."""


@dataclass(frozen=True)
class Plan:
    """What is done.

    Attributes:
        jobs: how many.
        kills: how many; each program in its turn, in an order by chance.
        seed: of chance.
        family, steps: of the jobs.
    """

    jobs: int
    kills: int
    seed: int
    family: str
    steps: int


@dataclass(frozen=True)
class Run:
    """What came of it. `seconds` is from the first job to the end of the last."""

    asked: list[Asked]
    kills: list[Kill]
    findings: Findings
    webhooks: int
    seconds: float


def run(settings: Settings, plan: Plan, tell: Callable[[str], object]) -> Run:
    """Start a stack, do it, stop the stack. `tell` is given each death in words."""
    os.environ["IMAGEGEN_WEBHOOK_PRIVATE"] = "true"  # the receiver is on loopback
    stack.up(settings)
    try:
        return asyncio.run(_run(settings, plan, tell))
    finally:
        stack.down(settings)
        del os.environ["IMAGEGEN_WEBHOOK_PRIVATE"]


async def _run(settings: Settings, plan: Plan, tell: Callable[[str], object]) -> Run:
    chance = random.Random(plan.seed)  # noqa: S311 - chance is the point, and must be had again
    names = [name for _ in range(0, plan.kills, len(NAMES)) for name in chance.sample(NAMES, len(NAMES))][: plan.kills]
    services = {service.name: service for service in list_services(settings)}
    key = stack.read_api_key(settings)
    async with receiving() as receiver, Clients.of(settings, key, plan.family, plan.steps) as clients:
        asked = [
            Asked(f"key-{number}", "rest" if number % 4 == 3 else "grpc", receiver.url if number % 5 == 0 else "")
            for number in range(plan.jobs)
        ]
        begin = time.monotonic()
        kills: list[Kill] = []
        made: list[asyncio.Task[None]] = []
        for number, name in enumerate(names):
            # So that work comes in at every death, and is under way.
            first, last = (plan.jobs * count // plan.kills for count in (number, number + 1))
            made += [asyncio.create_task(clients.make(each)) for each in asked[first:last]]
            await until_running(settings)
            await asyncio.sleep(chance.uniform(0.0, 1.5))
            kills.append(await kill(settings, services[name]))
            tell(f"{name} was killed over {kills[-1].running} jobs")
        async with asyncio.timeout(END_SECONDS):
            await asyncio.gather(*made)
        seconds = time.monotonic() - begin
        return Run(asked, kills, await check(settings, clients, asked, receiver), len(receiver.ids), seconds)
