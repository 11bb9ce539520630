"""What may start now, what waits, and for how long: counts and estimates, no event loop."""

import bisect
from typing import Generic, TypeVar

from orchestrator import metrics
from orchestrator.errors import QueueFullError
from orchestrator.params import Priority

Item = TypeVar("Item")

_RANKS = {priority: rank for rank, priority in enumerate(Priority)}
_LEARNING = 0.2  # weight of the newest request in the mean speed
_MAX_RETRY_AFTER = 60.0


class Admission(Generic[Item]):
    """Slots for running requests, and an ordered line of waiting ones: best class first, then by arrival."""

    def __init__(self, max_in_flight: int, max_queued: int) -> None:
        self._max_in_flight, self._max_queued = max_in_flight, max_queued
        self._line: list[tuple[int, int, float, Priority, Item]] = []
        self._running: dict[Item, float] = {}
        self._arrivals = 0
        self._speed = 0.0  # cost per second of one running request; 0: nothing is known yet

    @property
    def waiting(self) -> list[Item]:
        """Waiting requests, the next first."""
        return [item for *_, item in self._line]

    def check_room(self) -> None:
        """Look whether one more request may wait.

        Raises:
            QueueFullError: as many wait as may; its retry_after is when about one of them will have started.
        """
        free = self._max_in_flight - len(self._running)
        if len(self._line) >= self._max_queued + free:
            costs = [*self._running.values(), *(cost for _, _, cost, _, _ in self._line)]
            soon = self._seconds(sum(costs) / len(costs)) / self._max_in_flight
            raise QueueFullError(
                f"{len(self._line)} requests wait already", retry_after=min(max(1.0, soon), _MAX_RETRY_AFTER)
            )

    def enqueue(self, item: Item, priority: Priority, cost: float) -> None:
        """Put a request in line. `cost` is work in any unit, the same for all.

        Raises:
            QueueFullError: as check_room.
        """
        self.check_room()
        self._arrivals += 1
        # The arrival number is unique, so comparing never reaches the item.
        bisect.insort(self._line, (_RANKS[priority], self._arrivals, cost, priority, item))
        self._count()

    def start_next(self) -> Item | None:
        """Give the next request a slot; None if no slot is free or nobody waits."""
        if not self._line or len(self._running) >= self._max_in_flight:
            return None
        _, _, cost, _, item = self._line.pop(0)
        self._running[item] = cost
        self._count()
        return item

    def withdraw(self, item: Item) -> bool:
        """Take a waiting request out of line; False if it does not wait."""
        before = len(self._line)
        self._line = [entry for entry in self._line if entry[-1] != item]
        self._count()
        return len(self._line) < before

    def finish(self, item: Item, seconds: float | None) -> None:
        """Free the slot of a running request; learn from its time unless that is None (it did not do all its work)."""
        cost = self._running.pop(item)
        if seconds:
            speed = cost / seconds
            self._speed = speed if self._speed == 0 else (1 - _LEARNING) * self._speed + _LEARNING * speed
        self._count()

    def waits(self) -> list[tuple[Item, int, float]]:
        """Each waiting request with its position, from 0, and its estimated wait in seconds.

        Running requests are taken as half done on average, and the slots as equally fast.
        """
        ahead = sum(self._running.values()) / 2
        free = self._max_in_flight - len(self._running)
        answer = []
        for position, (_, _, cost, _, item) in enumerate(self._line):
            seconds = 0.0 if position < free else self._seconds(ahead) / self._max_in_flight
            answer.append((item, position, seconds))
            ahead += cost
        return answer

    def _seconds(self, cost: float) -> float:
        return cost / self._speed if self._speed else 0.0

    def _count(self) -> None:
        for priority in Priority:
            waiting = sum(entry[3] is priority for entry in self._line)
            metrics.QUEUE_DEPTH.labels(priority.value).set(waiting)
        metrics.IN_FLIGHT.set(len(self._running))
