"""`python -m benchmarks`: measures, prints the table, and writes it to docs/benchmarks."""

import argparse
import asyncio
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import adapters, durable_figures, durable_load, figures, machine, measure, services
from benchmarks.durable_load import Load
from benchmarks.figures import Row
from benchmarks.workloads import REPO, WORKLOADS, Workload
from orchestrator.models.families import Families, Family

SYSTEMS = ("engine", "stack", "diffusers", "adapters", "load")
OF_WORKLOADS = ("engine", "stack", "diffusers")
ADAPTER_IMAGES = 5
"""Pictures to time for each adapter."""


def main() -> int:
    """Run what the command line asks for."""
    arguments = parse(sys.argv[1:])
    about = {"date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC", **machine.describe()}
    rows: list[Row] = []
    if "adapters" in arguments.systems and arguments.model != "sd15":  # whose adapters are not exported here
        measure_adapters(arguments, about)
    if "load" in arguments.systems:
        measure_load(arguments, about)
    systems = [system for system in arguments.systems if system in OF_WORKLOADS]
    names = list(WORKLOADS) if arguments.model == "all" else [arguments.model]
    for name in names if systems else ():
        work = WORKLOADS[name].limited(arguments.clients, 1 if arguments.quick else arguments.images)
        if name == "sd15" and not work.families.exists():
            print("building the SD 1.5-sized model ...", file=sys.stderr, flush=True)
            subprocess.run([REPO / ".tools" / "bin" / "python", "-m", "model_tools.goldens.sd15"], check=True, cwd=REPO)  # noqa: S603  # our own program
        family = Families.load(work.families).get(work.family)
        for system in systems:
            print(f"measuring {name}, {system} ...", file=sys.stderr, flush=True)
            rows += measure_system(system, work, family)
    if rows:
        print(figures.report(rows))
    if rows and not arguments.quick:
        write(arguments.out, about, rows)
    return 0


def measure_adapters(arguments: argparse.Namespace, about: dict[str, str]) -> None:
    """Measure each adapter with the starter, print the table, and write it."""
    print("measuring the adapters ...", file=sys.stderr, flush=True)
    with services.our_stack(WORKLOADS["starter"]) as stack:
        rows = asyncio.run(adapters.measure(stack, 1 if arguments.quick else arguments.images or ADAPTER_IMAGES))
    print(adapters.report(rows))
    if not arguments.quick:
        write_table(arguments.out / "adapters", about, adapters.report(rows), [asdict(row) for row in rows])


def measure_load(arguments: argparse.Namespace, about: dict[str, str]) -> None:
    """Measure the orchestrator under durable jobs, print the table, and write it."""
    load = Load(rate=arguments.rate, seconds=10 if arguments.quick else arguments.seconds, watchers=arguments.watchers)
    print(f"measuring {load.rate:g} jobs/s for {load.seconds:g} s ...", file=sys.stderr, flush=True)
    with services.load_stack() as stack:
        windows = asyncio.run(durable_load.measure(stack, load))
    report = durable_figures.report(load, windows)
    print(report)
    if not arguments.quick:
        pictured = f"{report}\n\n![memory and p99 over time](load.png)"
        write_table(arguments.out / "load", about, pictured, durable_figures.as_json(windows))
        durable_figures.draw(windows, arguments.out / "load.png")


def parse(arguments: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--model", choices=[*WORKLOADS, "all"], default="all")
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=SYSTEMS)
    parser.add_argument("--clients", nargs="+", type=int, default=[1, 8], metavar="N", help="that ask at once")
    parser.add_argument("--images", type=int, metavar="N", help="pictures to time, for each number of clients")
    parser.add_argument("--rate", type=float, default=50, help="durable jobs in a second, of the load")
    parser.add_argument("--seconds", type=float, default=60, help="of the load")
    parser.add_argument("--watchers", type=int, default=500, help="idle ones, in addition to the load")
    parser.add_argument("--quick", action="store_true", help="a picture for each client; nothing is written")
    parser.add_argument("--out", type=Path, default=REPO / "docs" / "benchmarks", metavar="FOLDER")
    return parser.parse_args(arguments)


def measure_system(system: str, work: Workload, family: Family) -> list[Row]:
    """Start a system, measure it, and stop it."""
    if system == "engine":
        return measure.measure_engine(work, family)
    if system == "stack":
        with services.our_stack(work) as stack:
            return asyncio.run(measure.measure_stack(work, family, stack))
    with services.diffusers(work) as url:
        return asyncio.run(measure.measure_diffusers(work, family, url))


def write(folder: Path, about: dict[str, str], rows: list[Row]) -> None:
    """Write the figures of the systems."""
    write_table(folder / "latest", about, figures.report(rows), figures.as_json(rows))


def write_table(path: Path, about: dict[str, str], report: str, rows: Sequence[Mapping[str, object]]) -> None:
    """Write a table for people (.md) and for programs (.json)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    machine_list = "\n".join(f"- {key}: {value}" for key, value in about.items())
    path.with_suffix(".md").write_text(f"# What `make bench` measured last\n\n{machine_list}\n\n{report}\n", "utf-8")
    content = {"about": about, "rows": list(rows)}
    path.with_suffix(".json").write_text(json.dumps(content, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    sys.exit(main())
