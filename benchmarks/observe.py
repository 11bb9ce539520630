"""What a system did meanwhile: CPU time by /proc, executions by Triton's statistics."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

_USER, _SYSTEM = 11, 12  # fields 14 and 15 of /proc/PID/stat, counted from behind the name


def cpu_seconds(pid: int) -> float:
    """CPU time, user and system, that a process has used since its start; its ended threads' too.

    Raises:
        OSError: it is gone.
    """
    stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    fields = stat[stat.rindex(")") + 2 :].split()
    return (int(fields[_USER]) + int(fields[_SYSTEM])) / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Executions:
    """Runs of a Triton model since the server's start.

    Attributes:
        count: runs of the engine.
        rows: in all of them together.
        seconds: that they took. What shares a run counts once.
    """

    count: int = 0
    rows: int = 0
    seconds: float = 0.0

    def __add__(self, other: Executions) -> Executions:
        return Executions(self.count + other.count, self.rows + other.rows, self.seconds + other.seconds)

    def __sub__(self, earlier: Executions) -> Executions:
        return Executions(self.count - earlier.count, self.rows - earlier.rows, self.seconds - earlier.seconds)


def executions(triton_url: str, models: Iterable[str]) -> Executions:
    """What the models did so far, by compute_infer of Triton's statistics, at its HTTP endpoint.

    Raises:
        httpx.HTTPError: the server does not answer, or has no such model.
    """
    total = Executions()
    for model in models:
        answer = httpx.get(f"{triton_url}/v2/models/{model}/stats", timeout=30)
        total += count_executions(answer.raise_for_status().json())
    return total


def count_executions(statistics: dict[str, Any]) -> Executions:
    """Read one model's statistics (Triton's protocol extension "statistics")."""
    total = Executions()
    for batch in (b for model in statistics["model_stats"] for b in model["batch_stats"]):
        runs, nanoseconds = int(batch["compute_infer"]["count"]), int(batch["compute_infer"]["ns"])
        total += Executions(runs, runs * int(batch["batch_size"]), nanoseconds / 1e9)
    return total
