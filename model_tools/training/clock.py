"""Training against the clock: how far the time budget is spent, and the learning rate that follows from it."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(slots=True)
class Budget:
    """A share of wall-clock time.

    Training that shares its cores can be slowed at any moment, so the learning rate follows time and not steps: the
    last step is always taken at the lowest rate.

    `spent` is the seconds that earlier runs of the same training used, 0 for a new one.
    """

    seconds: float
    spent: float = 0.0
    now: Callable[[], float] = field(default_factory=lambda: time.monotonic)
    start: float = field(init=False)

    def __post_init__(self) -> None:
        self.start = self.now()

    def used(self) -> float:
        """Seconds of training so far, earlier runs included."""
        return self.spent + self.now() - self.start

    def share(self) -> float:
        """Of the whole training's time, in [0, 1]. A resumed run goes on from where the earlier one was."""
        total = self.spent + self.seconds
        return min(1.0, self.used() / total) if total > 0 else 1.0

    def over(self) -> bool:
        """Whether the time is spent."""
        return self.now() - self.start >= self.seconds


def learning_rate(peak: float, step: int, share: float, *, warmup: int = 100, floor: float = 0.01) -> float:
    """Linear warm-up over `warmup` steps, then a cosine from `peak` to `floor` x `peak` as `share` goes to 1."""
    cosine = 0.5 * (1.0 + math.cos(math.pi * min(1.0, max(0.0, share))))
    return peak * min(1.0, (step + 1) / warmup) * (floor + (1.0 - floor) * cosine)
