"""A run in words and in JSON."""

import json
import statistics
from collections.abc import Sequence
from typing import Any

from tests.faults.killer import Kill
from tests.faults.run import NAMES, Run


def to_json(run: Run) -> dict[str, Any]:
    """Figures of a run; times are in seconds."""
    return {
        "jobs": len(run.asked),
        "kills": len(run.kills),
        "outcomes": dict(run.findings.outcomes),
        "attempts": {str(number): count for number, count in sorted(run.findings.attempts.items())},
        "tries_until_acknowledged": max(asked.tries for asked in run.asked),
        "webhooks_received": run.webhooks,
        "seconds": round(run.seconds, 1),
        "recovery": {name: _recovery([kill for kill in run.kills if kill.name == name]) for name in NAMES},
        "wrong": run.findings.wrong,
    }


def to_text(run: Run) -> str:
    """The same for a reader."""
    found = to_json(run)
    lines = [
        f"{found['jobs']} jobs, {found['kills']} kills in {found['seconds']} s: "
        + ", ".join(f"{count} {outcome}" for outcome, count in found["outcomes"].items()),
        f"attempts of a job: {json.dumps(found['attempts'])}; webhooks received: {found['webhooks_received']}",
        "",
        f"{'killed':14}{'times':>6}{'jobs ran':>10}{'answers after s':>24}{'jobs begin again after s':>28}",
    ]
    for name, row in found["recovery"].items():
        again = f"{row['begun_median']} (max {row['begun_max']})" if row["begun_max"] is not None else "-"
        answered = f"{row['answered_median']} (max {row['answered_max']})"
        lines.append(f"{name:14}{row['times']:>6}{row['jobs']:>10}{answered:>24}{again:>28}")
    lines += ["", *(found["wrong"] or ["0 lost, 0 double, 0 broken"])]
    return "\n".join(lines)


def _recovery(kills: Sequence[Kill]) -> dict[str, Any]:
    answered = [kill.answered for kill in kills] or [0.0]
    begun = [kill.begun for kill in kills if kill.begun is not None]
    return {
        "times": len(kills),
        "jobs": sum(kill.running for kill in kills),
        "answered_median": round(statistics.median(answered), 1),
        "answered_max": round(max(answered), 1),
        "begun_median": round(statistics.median(begun), 1) if begun else None,
        "begun_max": round(max(begun), 1) if begun else None,
    }
