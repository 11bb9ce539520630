"""The short form of `make faults`: one fault of each sort, with two orchestrators."""

from pathlib import Path

import pytest

from local.settings import Ports, Settings
from tests.faults import report
from tests.faults.faults import Lengths
from tests.faults.run import FaultPlan, run

FAULTS = (
    "kill postgres",
    "kill triton",
    "kill stub",
    "kill orchestrator",
    "kill gateway",
    "freeze orchestrator2",
    "drain orchestrator2",
    "connections used up",
)


@pytest.mark.timeout(900)
def test_no_job_is_lost_doubled_or_wronged_by_faults(tmp_path: Path) -> None:
    settings = Settings(state_dir=tmp_path / "state", ports=Ports.free())
    plan = FaultPlan(jobs=36, faults=FAULTS, seed=3, family="realistic", lengths=Lengths(frozen=15.0, used_up=8.0))
    found = run(settings, plan, str)
    assert found.findings.is_right, report.to_text(found)
    assert found.findings.outcomes["succeeded"] == 36
    assert sorted(outcome.kind for outcome in found.faults) == sorted(FAULTS)
    assert all(outcome.running for outcome in found.faults), "each over jobs that ran"
