"""Progress for a person: a bar in a terminal, a line now and then elsewhere.

Written here, and not taken from tqdm, because the first thing it shows is how the environment is created that would
hold tqdm.
"""

from __future__ import annotations

import shutil
import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from typing import Self  # Python 3.11

_BAR_WIDTH = 24  # characters
_PLAIN_LINES = 10  # at most this many lines for one bar where there is no terminal


class Bar:
    """One piece of work of a known number of steps. A context manager; `advance` after each step."""

    def __init__(self, title: str, total: int, stream: TextIO | None = None) -> None:
        """Start at nothing done.

        Args:
            title: what is being done, "Starting".
            total: steps, at least 1.
            stream: where to write; stderr if None.
        """
        self._title = title
        self._total = max(total, 1)
        self._stream = sys.stderr if stream is None else stream
        self._terminal = self._stream.isatty()
        self._done = 0
        self._started = time.monotonic()

    def __enter__(self) -> Self:
        """Show the bar, empty."""
        if self._terminal:
            self._draw("")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the line, with the time it took where all went well."""
        if kind is None:
            self._done = self._total
            took = f"done in {time.monotonic() - self._started:.1f} s"
            if self._terminal:
                self._draw(took)
            else:
                self._stream.write(f"{self._title}: {took}\n")
        if self._terminal:
            self._stream.write("\n")
        self._stream.flush()

    def show(self, detail: str) -> None:
        """Say what is being worked on, in a terminal only."""
        if self._terminal:
            self._draw(detail)

    def advance(self, detail: str) -> None:
        """Count one step as done; steps beyond the total are shown as the last one.

        Args:
            detail: what was done, a few words.
        """
        before = self._done
        self._done = min(self._done + 1, self._total)
        if self._terminal:
            self._draw(detail)
        elif self._done * _PLAIN_LINES // self._total > before * _PLAIN_LINES // self._total:
            self._stream.write(f"{self._title}: {self._done}/{self._total} {detail}\n")
            self._stream.flush()

    def _draw(self, detail: str) -> None:
        filled = _BAR_WIDTH * self._done // self._total
        bar = "█" * filled + "·" * (_BAR_WIDTH - filled)
        line = f"{self._title} {bar} {self._done}/{self._total} {detail}"
        columns = shutil.get_terminal_size().columns - 1
        self._stream.write(f"\r\x1b[2K{line[:columns]}")
        self._stream.flush()
