"""What a training shows while it runs, and the state that lets it go on after a kill."""

import csv
import os
import sys
import time
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Writes the state so that a kill at any moment leaves the old file or the new one, whole."""
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    partial.replace(path)


def load_state(path: Path) -> dict[str, Any] | None:
    """What `save_state` wrote, or None where there is none."""
    if not path.exists():
        return None
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state


class RunLog:
    """A progress bar in a terminal, a line a minute elsewhere, and one CSV row for each `every` steps in both."""

    def __init__(self, path: Path, fields: tuple[str, ...], *, every: int = 50, line_seconds: float = 60.0) -> None:
        self.fields = ("step", "seconds", "images", *fields)
        self.every = every
        self.line_seconds = line_seconds
        self.means: dict[str, float] = {}
        self.last_line = time.monotonic()
        self.bar = tqdm(total=100.0, unit="%", disable=not sys.stderr.isatty(), bar_format="{l_bar}{bar}| {postfix}")
        new = not path.exists()
        path.parent.mkdir(parents=True, exist_ok=True)
        self.file = path.open("a", newline="", encoding="utf-8")
        self.writer = csv.DictWriter(self.file, self.fields)
        if new:
            self.writer.writeheader()

    def step(self, step: int, seconds: float, images: int, share: float, values: dict[str, float]) -> None:
        """One training step's losses; what is written is their running mean over about 50 steps."""
        for key, value in values.items():
            self.means[key] = value if key not in self.means else 0.98 * self.means[key] + 0.02 * value
        if step % self.every:
            return
        row = {"step": step, "seconds": round(seconds), "images": images}
        row |= {key: round(value, 5) for key, value in self.means.items()}  # type: ignore[misc]
        self.writer.writerow(row)
        self.file.flush()
        self.bar.n = round(100 * share, 1)
        self.bar.set_postfix(row)
        if self.bar.disable and time.monotonic() - self.last_line >= self.line_seconds:
            self.last_line = time.monotonic()
            print(f"{100 * share:.1f} % {row}", flush=True)

    def close(self) -> None:
        """Ends the bar and the file."""
        self.bar.close()
        self.file.close()


def write_pid(path: Path) -> None:
    """Notes who trains, so that a benchmark can pause it (SIGSTOP, SIGCONT)."""
    path.write_text(f"{os.getpid()}\n", "utf-8")
