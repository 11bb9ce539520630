"""A run in words and in JSON."""

import json
import statistics
from collections.abc import Sequence
from typing import Any

from tests.faults.faults import Outcome
from tests.faults.run import Run


def to_json(run: Run) -> dict[str, Any]:
    """Figures of a run; times are in seconds."""
    kinds = sorted({outcome.kind for outcome in run.faults})
    return {
        "jobs": len(run.asked),
        "faults": len(run.faults),
        "left_out": run.left_out,
        "outcomes": dict(run.findings.outcomes),
        "attempts": {str(number): count for number, count in sorted(run.findings.attempts.items())},
        "tries_until_acknowledged": max(asked.tries for asked in run.asked),
        "webhooks_due": run.findings.webhooks_due,
        "webhooks_received": run.webhooks,
        "seconds": round(run.seconds, 1),
        "recovery": {kind: _recovery([each for each in run.faults if each.kind == kind]) for kind in kinds},
        "wrong": run.findings.wrong,
    }


def to_text(run: Run) -> str:
    """The same for a reader."""
    found = to_json(run)
    lines = [
        f"{found['jobs']} jobs, {found['faults']} faults in {found['seconds']} s: "
        + ", ".join(f"{count} {outcome}" for outcome, count in found["outcomes"].items()),
        f"attempts of a job: {json.dumps(found['attempts'])}",
        f"webhooks: {found['webhooks_due']} due, {found['webhooks_received']} received (repeats have the same id)",
        "",
        f"{'fault':32}{'times':>6}{'jobs ran':>10}{'answers after s':>20}{'a job ends after s':>22}",
    ]
    for kind, row in found["recovery"].items():
        answered = f"{row['answered_median']} (max {row['answered_max']})"
        ended = f"{row['ended_median']} (max {row['ended_max']})"
        lines.append(f"{kind:32}{row['times']:>6}{row['jobs']:>10}{answered:>20}{ended:>22}")
    lines += ["", ", ".join(f"{len(words)} {category}" for category, words in found["wrong"].items())]
    lines += [f"{category}: {each}" for category, words in found["wrong"].items() for each in words]
    if found["left_out"]:
        lines.append(f"left out, for no file system can be mounted here: {', '.join(found['left_out'])}")
    return "\n".join(lines)


def _recovery(faults: Sequence[Outcome]) -> dict[str, Any]:
    answered = [fault.answered for fault in faults]
    ended = [fault.ended for fault in faults if fault.ended is not None]
    return {
        "times": len(faults),
        "jobs": sum(fault.running for fault in faults),
        "answered_median": round(statistics.median(answered), 1),
        "answered_max": round(max(answered), 1),
        "ended_median": round(statistics.median(ended), 1) if ended else None,
        "ended_max": round(max(ended), 1) if ended else None,
    }
