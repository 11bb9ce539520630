"""How many streams may run, wait and hold pictures at once: counts, no event loop. Who is next the scheduler says."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from orchestrator import metrics
from orchestrator.errors import QueueFullError
from orchestrator.params import Priority

Item = TypeVar("Item")

_MAX_RETRY_AFTER = 60.0


@dataclass(frozen=True, slots=True)
class _Entry(Generic[Item]):
    """A request, its class, and the bytes of pictures that it holds."""

    item: Item
    priority: Priority
    held: int


class Admission(Generic[Item]):
    """Slots for running requests, and a line of waiting ones."""

    def __init__(
        self,
        max_in_flight: int,
        max_queued: int,
        max_held_bytes: int,
        *,
        order: Callable[[Sequence[Item]], Sequence[Item]],
        soon: Callable[[], float],
    ) -> None:
        """Nothing waits.

        Args:
            max_in_flight: requests that run at once.
            max_queued: requests that wait.
            max_held_bytes: of pictures of both.
            order: puts waiting requests in order, the next first.
            soon: seconds until a running request ends.
        """
        self._max_in_flight, self._max_queued = max_in_flight, max_queued
        self._max_held = max_held_bytes
        self._order, self._soon = order, soon
        self._line: list[_Entry[Item]] = []
        self._running: dict[Item, _Entry[Item]] = {}

    @property
    def waiting(self) -> Sequence[Item]:
        """Waiting requests, the next first."""
        return self._order([entry.item for entry in self._line])

    @property
    def running(self) -> Sequence[Item]:
        """Requests that have a slot."""
        return list(self._running)

    @property
    def free(self) -> int:
        """Slots that nobody has."""
        return self._max_in_flight - len(self._running)

    def check_room(self, held: int = 0) -> None:
        """Check whether one more request may wait that holds `held` bytes of pictures.

        Raises:
            QueueFullError: as many wait as may, or they and the running ones hold as much; its retry_after is when
                about one of them will have started.
        """
        if len(self._line) >= self._max_queued + self.free:
            raise self._full(f"{len(self._line)} requests are already waiting")
        others = sum(entry.held for entry in self._entries)
        if others and others + held > self._max_held:  # alone, one of any size may come
            raise self._full("inline images of pending requests exceed the server's limit")

    def enqueue(self, item: Item, priority: Priority, held: int = 0) -> None:
        """Put a request in line. `held` are bytes of pictures.

        Raises:
            QueueFullError: as check_room.
        """
        self.check_room(held)
        self._line.append(_Entry(item, priority, held))
        self._count()

    @property
    def has_free_slot(self) -> bool:
        """Whether a request could start now."""
        return self.free > 0

    def start_next(self, may_start: Callable[[Item], bool] = lambda _: True) -> Item | None:
        """Give the next request that may start a slot; None if no slot is free or none may."""
        if not self.has_free_slot:
            return None
        item = next((each for each in self.waiting if may_start(each)), None)
        if item is None:
            return None
        (entry,) = [entry for entry in self._line if entry.item == item]
        self._line.remove(entry)
        self._running[item] = entry
        self._count()
        return item

    def withdraw(self, item: Item) -> bool:
        """Take a waiting request out of line; False if it does not wait."""
        before = len(self._line)
        self._line = [entry for entry in self._line if entry.item != item]
        self._count()
        return len(self._line) < before

    def finish(self, item: Item) -> None:
        """Free the slot of a running request."""
        self._running.pop(item)
        self._count()

    @property
    def _entries(self) -> list[_Entry[Item]]:
        return [*self._running.values(), *self._line]

    def _full(self, reason: str) -> QueueFullError:
        return QueueFullError(reason, retry_after=min(max(1.0, self._soon()), _MAX_RETRY_AFTER))

    def _count(self) -> None:
        for priority in Priority:
            metrics.QUEUE_DEPTH.labels(priority.value).set(sum(e.priority is priority for e in self._line))
        metrics.IN_FLIGHT.set(len(self._running))
        metrics.HELD_BYTES.set(sum(entry.held for entry in self._entries))
