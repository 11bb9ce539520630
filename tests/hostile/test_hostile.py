"""The attacks of `make hostile` in a short form: both programs answer all of it, and others go on."""

from pathlib import Path

import pytest

from tests.hostile.run import Plan, run
from tests.hostile.stack import running
from tests.integration.stack import TINY_FAMILIES

FLOODS = (
    "health watches with names of 60 MB, no key",
    "messages that unpack to 200 MB",
    "calls that never send their message",
    "many small headers",
    "slow uploads, unknown keys",
    "HTTP/2 rapid reset, 4 connections",
)
MAX_MEMORY = {"orchestrator": 1500, "gateway": 500}
"""MB after it all."""


@pytest.mark.timeout(600)
async def test_hostile_inputs_are_answered_and_nobody_is_killed(tiny_triton: int, tmp_path: Path) -> None:
    plan = Plan(mutations=400, flood_seconds=1.0, floods=FLOODS)
    async with running(tiny_triton, TINY_FAMILIES, tmp_path, limited=False) as stack:
        found = await run(stack, plan, tmp_path)
        assert [f"{phase.name}: {fault}" for phase in found.phases for fault in phase.wrong] == []
        assert all(program.is_alive for program in stack.programs)
        last = found.phases[-1]
        assert last.asked > 0
        assert last.faults == []
        for program in stack.programs:
            assert program.memory() < MAX_MEMORY[program.name]
    assert sum(phase.sent for phase in found.phases if phase.name.startswith("cases")) >= 300
    assert {phase.name for phase in found.phases} >= set(FLOODS)
