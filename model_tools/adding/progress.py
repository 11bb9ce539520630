"""What a long command is doing: a bar in a terminal, lines elsewhere; and how much memory it took."""

from __future__ import annotations

import resource
import sys
import time

from tqdm import tqdm


class Progress:
    """Steps of a command, counted."""

    def __init__(self, steps: int) -> None:
        self._bar = tqdm(total=steps, file=sys.stderr, disable=not sys.stderr.isatty(), dynamic_ncols=True)
        self._steps, self._done, self._started = steps, 0, time.monotonic()

    def step(self, what: str) -> None:
        """The next step begins."""
        if self._done:
            self._bar.update()
        self._done += 1
        self._bar.set_description(what)
        if self._bar.disable:
            print(f"[{self._done:2}/{self._steps}] {time.monotonic() - self._started:6.1f} s  {what}", flush=True)

    def say(self, line: str) -> None:
        """A line that stays."""
        tqdm.write(line)

    def close(self) -> None:
        """No more steps."""
        self._bar.close()


def peak_memory() -> float:
    """The most that this process has held in memory so far, GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
