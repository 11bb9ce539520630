"""`make faults`: jobs under way while every program of the stack is killed, again and again. Needs ten minutes."""

import argparse
import json
import sys
import tempfile
from pathlib import Path

from local.progress import Bar
from local.settings import Ports, Settings
from tests.faults import report
from tests.faults.run import Plan, run


def main() -> int:
    """Run, print, and answer 1 if anything is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--kills", type=int, default=24)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--steps", type=int, default=40, help="denoising steps of each job")
    parser.add_argument("--out", type=Path, help="JSON file for the figures")
    parser.add_argument("--state", type=Path, help="folder for the stack's state and logs; kept")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="imagegen-faults-") as folder:
        Path(folder).chmod(0o711)  # where root runs this, PostgreSQL runs as another user
        settings = Settings(state_dir=arguments.state or Path(folder) / "state", ports=Ports.free())
        plan = Plan(arguments.jobs, arguments.kills, arguments.seed, family="realistic", steps=arguments.steps)
        with Bar("Killing", arguments.kills) as bar:
            found = run(settings, plan, bar.advance)
    print(report.to_text(found))  # noqa: T201 - what the command is for
    if arguments.out:
        arguments.out.write_text(json.dumps(report.to_json(found), indent=2) + "\n", "utf-8")
    return 1 if found.findings.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
