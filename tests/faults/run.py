"""Two orchestrators, clients that ask for jobs of mixed length, faults meanwhile, and what has become of the jobs."""

import asyncio
import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from local import services, stack
from local.settings import Settings
from tests.faults.check import Findings, check
from tests.faults.clients import Asked, Clients, wait_for_all
from tests.faults.faults import FAULTS, OF_STORE, Lengths, Outcome, inflict
from tests.faults.programs import Programs
from tests.integration.jobs.receiver import receiving

END_SECONDS = 300.0
"""After the last fault, for another job to end: what has not when none does is stuck."""
CREDITS = 100_000
STEPS = (10, 10, 10, 40, 40, 150)
"""Of the jobs, in turns: half short, a sixth long."""


@dataclass(frozen=True)
class FaultPlan:
    """What is done.

    Attributes:
        jobs: how many.
        faults: kinds, as often as they are named; in an order by chance.
        seed: of chance.
        family: of the jobs.
        lengths: of the faults.
    """

    jobs: int
    faults: tuple[str, ...]
    seed: int
    family: str
    lengths: Lengths = field(default_factory=Lengths)


@dataclass(frozen=True)
class Run:
    """What came of it. `seconds` is from the first job to the end of the last; `left_out` are faults that cannot be."""

    asked: list[Asked]
    faults: list[Outcome]
    findings: Findings
    webhooks: int
    seconds: float
    left_out: list[str]


def run(settings: Settings, plan: FaultPlan, report: Callable[[str], object]) -> Run:
    """Start a stack, do it, stop the stack. `report` is given each fault in words."""
    os.environ["IMAGEGEN_WEBHOOK_PRIVATE"] = "true"  # the receiver is on loopback
    programs = Programs.start(settings)
    try:
        services.run_command(settings, "accounts", "set", "local", "--credits", str(CREDITS))
        return asyncio.run(_run(programs, plan, report))
    finally:
        programs.stop()
        del os.environ["IMAGEGEN_WEBHOOK_PRIVATE"]


async def _run(programs: Programs, plan: FaultPlan, report: Callable[[str], object]) -> Run:
    chance = random.Random(plan.seed)  # noqa: S311 - chance is the point, and must be had again
    left_out = [] if programs.mounted else [kind for kind in OF_STORE if kind in plan.faults]
    kinds = [kind for kind in chance.sample(plan.faults, len(plan.faults)) if kind not in left_out]
    key = stack.read_api_key(programs.settings)
    async with (
        receiving() as receiver,
        Clients.of(programs.settings, programs.addresses, key, plan.family) as clients,
    ):
        asked = [
            Asked(
                f"key-{number}",
                "rest" if number % 4 == 3 else "grpc",
                receiver.url if number % 5 == 0 else "",
                STEPS[number % len(STEPS)],
            )
            for number in range(plan.jobs)
        ]
        begin = time.monotonic()
        outcomes: list[Outcome] = []
        lives: list[asyncio.Task[None]] = []
        for number, kind in enumerate(kinds):
            # So that work comes in at every fault, and is under way.
            first, last = (plan.jobs * count // len(kinds) for count in (number, number + 1))
            lives += [asyncio.create_task(clients.live(each)) for each in asked[first:last]]
            outcomes.append(await inflict(kind, programs, clients, plan.lengths))
            report(f"{kind} over {outcomes[-1].running} jobs")
        await wait_for_all(lives, END_SECONDS)
        seconds = time.monotonic() - begin
        findings = await check(programs, clients, asked, receiver, CREDITS)
        for life in lives:
            life.cancel()
        for outcome in outcomes:
            findings.expect("stuck", outcome.ended is not None, f"no job ended after: {outcome.kind}")
        return Run(asked, outcomes, findings, len(receiver.ids), seconds, left_out)


def schedule(kinds: dict[str, int]) -> tuple[str, ...]:
    """Faults by how often each shall happen."""
    assert kinds.keys() <= FAULTS.keys()
    return tuple(kind for kind, times in kinds.items() for _ in range(times))
