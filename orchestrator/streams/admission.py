"""What may start now, what waits, and for how long: counts and estimates, no event loop."""

import bisect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from orchestrator import metrics
from orchestrator.errors import QueueFullError
from orchestrator.params import Priority

Item = TypeVar("Item")

_RANKS = {priority: rank for rank, priority in enumerate(Priority)}
_LEARNING = 0.2  # weight of the newest request in the mean speed
_MAX_RETRY_AFTER = 60.0


@dataclass(frozen=True, slots=True)
class _Entry(Generic[Item]):
    """A request: who, its class, the number of its arrival, its work, and the bytes of pictures that it holds."""

    item: Item
    priority: Priority
    arrival: int
    cost: float
    held: int

    @property
    def order(self) -> tuple[int, int]:
        return _RANKS[self.priority], self.arrival


class Admission(Generic[Item]):
    """Slots for running requests, and an ordered line of waiting ones: best class first, then by arrival."""

    def __init__(self, max_in_flight: int, max_queued: int, max_held_bytes: int) -> None:
        self._max_in_flight, self._max_queued = max_in_flight, max_queued
        self._max_held = max_held_bytes
        self._line: list[_Entry[Item]] = []
        self._running: dict[Item, _Entry[Item]] = {}
        self._arrivals = 0
        self._speed = 0.0  # cost per second of one running request; 0: nothing is known yet

    @property
    def waiting(self) -> list[Item]:
        """Waiting requests, the next first."""
        return [entry.item for entry in self._line]

    def check_room(self, held: int = 0) -> None:
        """Check whether one more request may wait that holds `held` bytes of pictures.

        Raises:
            QueueFullError: as many wait as may, or they and the running ones hold as much; its retry_after is when
                about one of them will have started.
        """
        free = self._max_in_flight - len(self._running)
        if len(self._line) >= self._max_queued + free:
            raise self._full(f"{len(self._line)} requests are already waiting")
        others = sum(entry.held for entry in self._entries)
        if others and others + held > self._max_held:  # alone, one of any size may come
            raise self._full("inline images of pending requests exceed the server's limit")

    def enqueue(self, item: Item, priority: Priority, cost: float, held: int = 0) -> None:
        """Put a request in line. `cost` is work in any unit, the same for all; `held` are bytes of pictures.

        Raises:
            QueueFullError: as check_room.
        """
        self.check_room(held)
        self._arrivals += 1
        entry = _Entry(item, priority, self._arrivals, cost, held)
        bisect.insort(self._line, entry, key=lambda other: other.order)
        self._count()

    @property
    def has_free_slot(self) -> bool:
        """Whether a request could start now."""
        return len(self._running) < self._max_in_flight

    def estimate(self, cost: float) -> float:
        """Seconds that a request of that cost runs for; 1 as long as none has ended."""
        return cost / self._speed if self._speed else 1.0

    def start_next(self, may_start: Callable[[Item], bool] = lambda _: True) -> Item | None:
        """Give the next request that may start a slot; None if no slot is free or none may."""
        if not self.has_free_slot:
            return None
        entry = next((each for each in self._line if may_start(each.item)), None)
        if entry is None:
            return None
        self._line.remove(entry)
        self._running[entry.item] = entry
        self._count()
        return entry.item

    def withdraw(self, item: Item) -> bool:
        """Take a waiting request out of line; False if it does not wait."""
        before = len(self._line)
        self._line = [entry for entry in self._line if entry.item != item]
        self._count()
        return len(self._line) < before

    def finish(self, item: Item, seconds: float | None) -> None:
        """Free the slot of a running request; learn from its time unless that is None (it did not do all its work)."""
        cost = self._running.pop(item).cost
        if seconds:
            speed = cost / seconds
            self._speed = speed if self._speed == 0 else (1 - _LEARNING) * self._speed + _LEARNING * speed
        self._count()

    def waits(self) -> list[tuple[Item, int, float]]:
        """Each waiting request with its position, from 0, and its estimated wait in seconds.

        Running requests are taken as half done on average, and the slots as equally fast.
        """
        ahead = sum(entry.cost for entry in self._running.values()) / 2
        free = self._max_in_flight - len(self._running)
        answer = []
        for position, entry in enumerate(self._line):
            seconds = 0.0 if position < free else self._seconds(ahead) / self._max_in_flight
            answer.append((entry.item, position, seconds))
            ahead += entry.cost
        return answer

    @property
    def _entries(self) -> list[_Entry[Item]]:
        return [*self._running.values(), *self._line]

    def _full(self, reason: str) -> QueueFullError:
        costs = [entry.cost for entry in self._entries]
        soon = self._seconds(sum(costs) / len(costs)) / self._max_in_flight
        return QueueFullError(reason, retry_after=min(max(1.0, soon), _MAX_RETRY_AFTER))

    def _seconds(self, cost: float) -> float:
        return cost / self._speed if self._speed else 0.0

    def _count(self) -> None:
        for priority in Priority:
            metrics.QUEUE_DEPTH.labels(priority.value).set(sum(e.priority is priority for e in self._line))
        metrics.IN_FLIGHT.set(len(self._running))
        metrics.HELD_BYTES.set(sum(entry.held for entry in self._entries))
