"""A run as JSON, and as the table of docs/security.md."""

import textwrap
from pathlib import Path
from typing import Any

from tests.hostile.run import Phase, Run

PAGE = Path(__file__).resolve().parents[2] / "docs/security.md"
BEGIN, END = "<!-- make hostile writes from here -->\n", "<!-- to here -->\n"


def to_json(run: Run, seed: int) -> dict[str, Any]:
    """Figures of a run; memory in MB, times in seconds."""
    return {
        "limits_in_cgroups": run.stack.limited,
        "seed": seed,
        "sent": sum(phase.sent for phase in run.phases),
        "kills": sum(phase.kills for phase in run.phases),
        "peak": {program.name: program.memory("VmHWM") for program in run.stack.programs},
        "phases": [vars(phase) for phase in run.phases],
    }


def line(phase: Phase) -> str:
    """A phase in a line."""
    slowest = max(phase.p99.values(), default=0.0)
    return (
        f"{phase.name:45} {phase.sent:>7} in {phase.seconds:5.1f} s, wrong {len(phase.wrong)}, kills {phase.kills}, "
        f"others: {phase.asked} asked, {len(phase.faults)} failed, p99 {slowest:.2f} s, "
        f"MB {phase.before} -> {phase.after}"
        + "".join(f"\n    wrong: {each}" for each in phase.wrong[:5])
        + "".join(f"\n    others: {each}" for each in phase.faults[:5])
    )


def table(found: dict[str, Any]) -> str:
    """Rows of a run for docs/security.md."""
    head = "| attack | inputs | wrong | kills | others asked, failed | others' p99, s: REST, gRPC "
    rows = [
        f"{head}| orchestrator MB | gateway MB |",
        "| -- | --: | --: | --: | --: | --: | --: | --: |",
    ]
    for phase in found["phases"]:
        p99 = phase["p99"]
        rest = max(p99.get("rest", 0.0), p99.get("rest health", 0.0))
        grpc = max(p99.get("grpc", 0.0), p99.get("grpc health", 0.0))
        memory = [f"{phase['before'][name]} → {phase['after'][name]}" for name in ("orchestrator", "gateway")]
        rows.append(
            f"| {phase['name']} | {phase['sent']:,} | {len(phase['wrong'])} | {phase['kills']} "
            f"| {phase['asked']}, {len(phase['faults'])} | {rest:.2f}, {grpc:.2f} | {memory[0]} | {memory[1]} |"
        )
    return "\n".join(rows) + "\n"


def write(found: dict[str, Any], page: Path = PAGE) -> None:
    """Put the table of a run into the page."""
    text = page.read_text("utf-8")
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    said = (
        "in cgroups of the chart's limits"
        if found["limits_in_cgroups"]
        else "without cgroups, which this machine lacks"
    )
    peak = ", ".join(f"{name} {size} MB" for name, size in found["peak"].items())
    summary = f"{found['sent']:,} inputs and attempts {said}: {found['kills']} kills. Peaks: {peak}."
    wrapped = textwrap.fill(summary, 100)  # as all prose of docs/ is
    page.write_text(f"{head}{BEGIN}\n{wrapped}\n\n{table(found)}\n{END}{tail}", "utf-8")
