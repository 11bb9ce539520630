"""`make hostile`: attacks on both programs in the chart's limits of memory. Needs ten minutes, and root for cgroups."""

import argparse
import asyncio
import json
import sys
import tempfile
from pathlib import Path

from local import triton
from tests.hostile import report
from tests.hostile.run import Phase, Plan, Run, run
from tests.hostile.stack import running
from tests.integration.stack import TINY, TINY_FAMILIES


def main() -> int:
    """Run, print, and answer 1 if anything is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.hostile", description=__doc__)
    parser.add_argument("--mutations", type=int, default=60_000)
    parser.add_argument("--flood-seconds", type=float, default=5.0)
    parser.add_argument("--flood", action="append", default=[], help="name of one; all without")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, help="JSON file for the figures")
    parser.add_argument("--page", action="store_true", help="write the table into docs/security.md")
    arguments = parser.parse_args()
    plan = Plan(arguments.mutations, arguments.flood_seconds, tuple(arguments.flood), arguments.seed)

    async def attack(folder: Path, port: int) -> tuple[Run, dict[str, object]]:
        async with running(port, TINY_FAMILIES, folder, limited=True) as stack:

            def ended(phase: Phase, so_far: Run) -> None:
                print(report.line(phase), flush=True)  # noqa: T201
                if arguments.out:
                    text = json.dumps(report.to_json(so_far, plan.seed), indent=1, ensure_ascii=False)
                    arguments.out.write_text(text + "\n", "utf-8")

            done = await run(stack, plan, folder, ended)
            return done, report.to_json(done, plan.seed)

    with tempfile.TemporaryDirectory(prefix="imagegen-hostile-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        with triton.running([TINY], folder / "triton") as server:
            done, found = asyncio.run(attack(folder, server.grpc_port))
    if arguments.page:
        report.write(found)
    wrong = [fault for phase in done.phases for fault in phase.wrong]
    print("\n".join(wrong[:50]))  # noqa: T201
    return 1 if wrong or found["kills"] else 0


if __name__ == "__main__":
    sys.exit(main())
