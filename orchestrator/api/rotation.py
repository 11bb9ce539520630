"""Rotation at something scarce, fair between callers: whoever asks most waits for themselves, not others for them."""

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager

from orchestrator.errors import QueueFullError


class Rotation:
    """A bounded number of turns at a time. Callers that wait are served in rotation."""

    def __init__(self, most: int, most_of_caller: int, max_waiting: int) -> None:
        """All turns are free.

        Args:
            most: at a time.
            most_of_caller: at a time, of one caller.
            max_waiting: for a turn, of one caller.
        """
        self._most, self._most_of_caller, self._max_waiting = most, most_of_caller, max_waiting
        self._taken: Counter[Hashable] = Counter()
        self._waiting: OrderedDict[Hashable, deque[asyncio.Future[None]]] = OrderedDict()

    def is_waited_for(self, caller: Hashable) -> bool:
        """Whether anybody waits who would have the turn that a caller has, if it were given back."""
        return any(each == caller or self._taken[each] < self._most_of_caller for each in self._waiting)

    @asynccontextmanager
    async def turn(self, caller: Hashable, seconds: float) -> AsyncIterator[None]:
        """Have a turn for as long as the block runs.

        Args:
            caller: whose turn it is.
            seconds: for which to wait for one.

        Raises:
            QueueFullError: the caller waits for as many turns as it may, or had none in time.
        """
        if self._taken.total() < self._most and self._taken[caller] < self._most_of_caller:
            self._taken[caller] += 1
        else:
            await self._wait(caller, seconds)
        try:
            yield
        finally:
            self._give_back(caller)

    async def _wait(self, caller: Hashable, seconds: float) -> None:
        queue = self._waiting.setdefault(caller, deque())
        if len(queue) >= self._max_waiting:
            raise _full()
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue.append(turn)
        try:
            await asyncio.wait({turn}, timeout=seconds)
        except asyncio.CancelledError:
            if turn.done():
                self._give_back(caller)
            raise
        finally:
            if not turn.done():
                self._leave(caller, turn)
        if not turn.done():
            raise _full()

    def _leave(self, caller: Hashable, turn: asyncio.Future[None]) -> None:
        queue = self._waiting[caller]
        queue.remove(turn)
        if not queue:
            del self._waiting[caller]

    def _give_back(self, caller: Hashable) -> None:
        self._taken -= Counter({caller: 1})
        for following, queue in self._waiting.items():
            if self._taken[following] < self._most_of_caller:
                self._taken[following] += 1
                turn = queue.popleft()
                if queue:
                    self._waiting.move_to_end(following)
                else:
                    del self._waiting[following]
                turn.set_result(None)
                return


def _full() -> QueueFullError:
    return QueueFullError("too many calls at once send their messages", retry_after=5.0)
