"""How much work comes, by account, class and length: what a forecast expects to pass a request that waits.

An account's newcomers pass a request of another until its tags have caught up with that request's (order.py), and its
own shorter ones pass its longer ones. How many will come before it starts is taken from those that came lately.
"""

from collections import defaultdict, deque
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass

from orchestrator.params import Priority
from orchestrator.scheduling.order import HEAD_START, length_class

WINDOW = 256
"""Requests, of all accounts, that rates are taken from."""
FEWEST = 8
"""Fewer than these say nothing of a rate."""
ROUNDS = 6
"""Of the sum over those that come while a request waits for those that came."""


@dataclass(frozen=True, slots=True)
class Rate:
    """Seconds of work that come in a second, of an account's requests of one class and about one length."""

    account: Hashable
    priority: Priority
    length: float
    work: float


class Arrivals:
    """The last requests that came."""

    def __init__(self) -> None:
        self._recent: deque[tuple[float, Hashable, Priority, float]] = deque(maxlen=WINDOW)

    def note(self, account: Hashable, priority: Priority, seconds: float, now: float) -> None:
        """A request of that many seconds of work has come."""
        self._recent.append((now, account, priority, seconds))

    def rates(self, now: float) -> Iterator[Rate]:
        """What comes, by account, class and length; nothing while too few have come."""
        if len(self._recent) < FEWEST:
            return
        span = now - self._recent[0][0]
        if span <= 0:
            return
        work: dict[tuple[Hashable, Priority, float], float] = {}
        for _, account, priority, seconds in self._recent:
            kind = account, priority, length_class(seconds)
            work[kind] = work.get(kind, 0.0) + seconds
        for (account, priority, length), total in work.items():
            yield Rate(account, priority, length, total / span)


@dataclass(frozen=True, slots=True)
class Newcomers:
    """Requests that are expected to come, and the start tag that the first of them would have."""

    rate: Rate
    tag: float


def delay(
    newcomers: Iterable[Newcomers],
    flow: tuple[Hashable, Priority],
    key: float,
    length: float,
    wait: float,
    waited: float,
    engines: int,
) -> float:
    """Seconds by which those that are expected to come and pass will delay a request.

    Args:
        newcomers: they.
        flow: account and class of the request.
        key: what it is ordered by.
        length: about its own.
        wait: seconds that it waits if nothing comes.
        waited: seconds that it has waited.
        engines: among which the work is shared.
    """
    later = 0.0
    for _ in range(ROUNDS):
        work: dict[Hashable, float] = defaultdict(float)
        most: dict[Hashable, float] = defaultdict(float)
        for each in newcomers:
            rate = each.rate
            if (rate.account, rate.priority) == flow:  # its own shorter ones pass, of those that come soon enough
                soon = max(0.0, length - rate.length - waited)
                work[rate], most[rate] = rate.work * min(wait + later, soon), rate.work * soon
                continue
            room = key - (each.tag + rate.length - HEAD_START[rate.priority])
            if room > 0:
                work[rate.account] += rate.work * (wait + later)
                most[rate.account] = max(most[rate.account], room)
        later = sum(min(each, most[name]) for name, each in work.items()) / max(1, engines)
    return later
