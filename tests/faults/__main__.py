"""`make faults`: jobs under way while every program of a stack with two orchestrators fails, again and again."""

import argparse
import json
import signal
import sys
import tempfile
from pathlib import Path

from local.progress import Bar
from local.settings import Ports, Settings
from tests.faults import report
from tests.faults.faults import FAULTS
from tests.faults.run import FaultPlan, run, schedule

TIMES = {"drain": 3, "kill": 3, "freeze": 2}
"""How often a kind happens, by the first word of its name; others twice."""


def main() -> int:
    """Run, print, and answer 1 if anything is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--jobs", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", action="append", choices=sorted(FAULTS), help="these faults alone, each once")
    parser.add_argument("--out", type=Path, help="JSON file for the figures")
    parser.add_argument("--state", type=Path, help="folder for the stack's state and logs; kept")
    arguments = parser.parse_args()
    times = (
        dict.fromkeys(arguments.only, 1)
        if arguments.only
        else {kind: TIMES.get(kind.partition(" ")[0], 2) for kind in FAULTS}
    )
    faults = schedule(times)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the stack is stopped
    with tempfile.TemporaryDirectory(prefix="imagegen-faults-") as folder:
        Path(folder).chmod(0o711)  # where root runs this, PostgreSQL runs as another user
        settings = Settings(state_dir=arguments.state or Path(folder) / "state", ports=Ports.free())
        plan = FaultPlan(arguments.jobs, faults, arguments.seed, family="realistic")
        with Bar("Faults", len(faults)) as bar:
            found = run(settings, plan, bar.advance)
    print(report.to_text(found))  # noqa: T201 - what the command is for
    if arguments.out:
        arguments.out.write_text(json.dumps(report.to_json(found), indent=2) + "\n", "utf-8")
    return 0 if found.findings.is_right else 1


if __name__ == "__main__":
    sys.exit(main())
