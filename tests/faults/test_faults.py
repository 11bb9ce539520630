"""The short form of `make faults`: each program killed once."""

from pathlib import Path

from local.settings import Ports, Settings
from tests.faults import report
from tests.faults.run import Plan, run


def test_no_job_is_lost_when_programs_are_killed(tmp_path: Path) -> None:
    settings = Settings(state_dir=tmp_path / "state", ports=Ports.free())
    found = run(settings, Plan(jobs=16, kills=4, seed=3, family="realistic", steps=40), str)
    assert found.findings.wrong == [], report.to_text(found)
    assert found.findings.outcomes["succeeded"] == 16
    assert sorted(kill.name for kill in found.kills) == ["gateway", "orchestrator", "postgres", "triton"]
    assert all(kill.running for kill in found.kills), "each over jobs that ran"
