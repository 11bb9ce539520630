"""`python -m tests.fresh [--short] [--only TEXT] [--resume] [--record FILE]`: README's commands on fresh machines.

As root, on a machine with debootstrap. Each case has a machine of its own: a minimal root of a system with the packages
of README's line, a fresh clone of HEAD, and no network; pip takes its packages from a folder, as from a warm cache.
Prints a table. `--short` is what CI runs, on this machine itself: short.py. The whole takes about an hour: what passed
is kept, and `--resume` goes on after it.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from tests.fresh import cases, machines, short, systems, wheels

WORK = Path("/var/tmp/imagegen-fresh")  # noqa: S108 - kept from one run to the next, and root's
PASSED = WORK / "passed.jsonl"


@dataclass(frozen=True)
class Row:
    """A case on a system, and what it has shown."""

    system: str
    case: str
    result: cases.Result
    seconds: float


def main() -> int:
    """Run the cases; returns 1 if one failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="the part that CI runs, on this machine")
    parser.add_argument("--only", default="", help="systems and cases whose names together contain this")
    parser.add_argument("--resume", action="store_true", help="do not repeat what has passed since the last whole run")
    parser.add_argument("--record", type=Path, help="file that the table is written to")
    options = parser.parse_args()
    # A shell lets what runs in its background ignore Ctrl+C, and so would every demo that starts here.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if options.short:
        return short.run()
    if not (options.resume or options.only):
        PASSED.unlink(missing_ok=True)
    rows, untested = run(options.only)
    table = "\n".join([*list_lines(rows), *(f"Not tested: {line}" for line in untested)])
    print(table)
    if options.record:
        options.record.write_text(
            f"# What `make test-fresh` saw last\n\n{datetime.now(UTC):%Y-%m-%d}\n\n{table}\n", encoding="utf-8"
        )
    failed = sum(not row.result.ok for row in rows)
    print(f"{len(rows) - failed} passed, {failed} failed")
    return 1 if failed else 0


def run(only: str) -> tuple[list[Row], list[str]]:
    """Run the cases whose names contain a text; returns their rows, and a line for each system that cannot be had."""
    packages = WORK
    wheels.prepare(WORK)
    python = wheels.prepare_python(WORK)
    rows: list[Row] = []
    untested = [] if python else ["systems that fetch a Python: this machine has no Python 3.12 and patchelf"]
    with tempfile.TemporaryDirectory(dir=WORK) as folder:
        source = Path(folder) / "source"
        subprocess.run(
            ["git", "clone", "--quiet", "--bare", "--depth", "1", f"file://{systems.ROOT}", str(source)], check=True
        )
        for place, system in enumerate(systems.list_systems(WORK)):
            wanted = [
                case for case in cases.CASES if (case.everywhere or not place) and only in f"{system.name}: {case.name}"
            ]
            if not wanted:
                continue
            try:
                root = systems.prepare(system, WORK)
            except subprocess.CalledProcessError as error:
                untested.append(f"{system.name}: {str(error.stderr).strip()[-300:] or error}")
                continue
            passed = {row.case: row for row in load_passed() if row.system == system.name}
            rows += [passed.get(case.name) or run_case(system.name, case, root, packages, source) for case in wanted]
    return rows, untested


def load_passed() -> list[Row]:
    """Return the cases that have passed since the last run that did not resume."""
    if not PASSED.exists():
        return []
    stored = [json.loads(line) for line in PASSED.read_text(encoding="utf-8").splitlines()]
    return [Row(**{**row, "result": cases.Result(**row["result"])}) for row in stored]


def run_case(system: str, case: cases.Case, root: Path, packages: Path, source: Path) -> Row:
    """Run one case in a machine of its own, and print how it went."""
    started = time.monotonic()
    try:
        with machines.running(root, WORK, packages, source, case.shm) as machine:
            result = case.run(machine)
    except (cases.FailedError, subprocess.TimeoutExpired, AssertionError) as error:
        result = cases.Result(ok=False, text=str(error))
    row = Row(system, case.name, result, time.monotonic() - started)
    if result.ok:
        PASSED.parent.mkdir(parents=True, exist_ok=True)
        with PASSED.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(row)) + "\n")
    print(f"{'ok' if result.ok else 'FAILED'}  {system}: {case.name}, {row.seconds:.0f} s {result.text}", flush=True)
    return row


def list_lines(rows: list[Row]) -> list[str]:
    """Return the lines of a table in Markdown."""
    lines = ["| system | case | | first picture | environments |", "|---|---|---|---|---|"]
    for row in rows:
        first = f"{row.result.first_picture:.0f} s" if row.result.first_picture else ""
        disk = f"{row.result.disk_mb} MB" if row.result.disk_mb else ""
        lines.append(f"| {row.system} | {row.case} | {'ok' if row.result.ok else 'FAILED'} | {first} | {disk} |")
    return lines


if __name__ == "__main__":
    sys.exit(main())
