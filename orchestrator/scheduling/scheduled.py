"""A request as the scheduler sees it: what it is expected to do, where it is, and what it has had."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from itertools import count

from orchestrator.params import Priority
from orchestrator.scheduling.costs import Shape

LEAST = 0.05
"""Share of its expected seconds that a request which has used them up is expected to need yet."""

_arrivals = count()


@dataclass(frozen=True, slots=True)
class Work:
    """What a request is expected to do.

    Attributes:
        seconds: on an engine that works for it alone.
        model: of its steps; None if it has none.
        shape: of their latents.
        rows: of one step.
        max_rows: of one call of the model.
    """

    seconds: float
    model: str | None = None
    shape: Shape = ()
    rows: int = 1
    max_rows: int = 1


class State(Enum):
    """Where a request is."""

    IDLE = "idle"
    """It waits for a slot, or works without networks."""
    ASKING = "asking"
    """It waits to call a network."""
    CALLING = "calling"
    HOLDING = "holding"
    """Its call has returned, and its engine is kept for its next one."""


@dataclass(eq=False, slots=True)
class ScheduledRequest:
    """A request, from its arrival to its end. Only the scheduler changes it.

    Attributes:
        account: whose it is.
        priority: its class.
        tag: start tag, Unix seconds.
        work: what it is expected to do.
        engines: addresses of the engines that could serve it now.
        arrived: Unix seconds.
        deadline: by which it is to have ended, Unix seconds; None if it has none.
        family: of its models; for reports.
        state: where it is.
        engine: address of the engine that it uses, or used last.
        owns: an engine works for it, or is held for it.
        started: it has had one.
        done: of work.seconds.
        paused: seconds for which others have passed it.
        last: what its last call was of.
        refused: the engines that had no turn for it when it was last tried; only those that changed are tried again.
    """

    account: Hashable
    priority: Priority
    tag: float
    work: Work
    engines: Callable[[], Sequence[str]]
    arrived: float
    deadline: float | None = None
    family: str = ""
    state: State = State.IDLE
    engine: str | None = None
    owns: bool = False
    started: bool = False
    done: float = 0.0
    paused: float = 0.0
    last: Hashable = None
    refused: Sequence[str] = ()
    since: float = 0.0
    hold_until: float = 0.0
    key: tuple[float, float, int] = (0.0, 0.0, 0)
    number: int = field(default_factory=lambda: next(_arrivals))

    @property
    def flow(self) -> tuple[Hashable, Priority]:
        """Those whose tags it shares."""
        return self.account, self.priority

    @property
    def served(self) -> float:
        """The tag up to which it was served."""
        return self.tag + min(self.done, self.work.seconds)

    @property
    def remaining(self) -> float:
        """Seconds that it is expected to need an engine for; a little, where it has needed more than expected."""
        return max(self.work.seconds - self.done, LEAST * self.work.seconds)


@dataclass(slots=True)
class Load:
    """What the requests of a family want of engines.

    Attributes:
        working: requests that an engine works for, or is held for.
        waiting_seconds: for which the others that wait for an engine are expected to need one, one after another.
    """

    working: int = 0
    waiting_seconds: float = 0.0
