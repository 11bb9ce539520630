"""Memory for the bodies of requests: one budget in bytes, of which no account has more than a share."""

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway import errors

WAIT_SECONDS = 30.0
"""For which a request waits until its body may be received."""
MAX_WAITING = 256
"""Requests of one account that wait."""
RETRY_SECONDS = 5


class Uploads:
    """Bodies that are in memory. Accounts that wait are served in rotation."""

    def __init__(self, most: int, most_of_account: int) -> None:
        """Nothing is in memory.

        Args:
            most: bytes of all bodies; a larger one is received alone.
            most_of_account: bytes of one account's bodies; a larger one is received as the account's only one.
        """
        self._most, self._most_of_account = most, most_of_account
        self._held: Counter[str] = Counter()
        self._waiting: OrderedDict[str, deque[tuple[int, asyncio.Future[None]]]] = OrderedDict()

    @asynccontextmanager
    async def hold(self, account: str, size: int) -> AsyncIterator[None]:
        """Have memory for a body of an account, for as long as the block runs.

        Raises:
            ApiError: 503, there is none, and there was none for WAIT_SECONDS.
        """
        if not self._waiting and self._fits(account, size):
            self._held[account] += size
        else:
            await self._wait(account, size)
        try:
            yield
        finally:
            self._give_back(account, size)

    def _fits(self, account: str, size: int) -> bool:
        return self._is_within_share(account, size) and self._held.total() + size <= max(self._most, size)

    def _is_within_share(self, account: str, size: int) -> bool:
        return self._held[account] + size <= max(self._most_of_account, size)

    async def _wait(self, account: str, size: int) -> None:
        queue = self._waiting.setdefault(account, deque())
        if len(queue) >= MAX_WAITING:
            raise _busy()
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue.append((size, turn))
        self._serve()
        try:
            await asyncio.wait({turn}, timeout=WAIT_SECONDS)
        except asyncio.CancelledError:
            if turn.done():
                self._give_back(account, size)
            raise
        finally:
            if not turn.done():
                self._leave(account, size, turn)
        if not turn.done():
            raise _busy()

    def _leave(self, account: str, size: int, turn: asyncio.Future[None]) -> None:
        queue = self._waiting[account]
        queue.remove((size, turn))
        if not queue:
            del self._waiting[account]
        self._serve()

    def _give_back(self, account: str, size: int) -> None:
        self._held -= Counter({account: size})
        self._serve()

    def _serve(self) -> None:
        """Let those in that fit. Who is within the share and does not fit is next: smaller ones do not pass."""
        for account in list(self._waiting):
            queue = self._waiting[account]
            while queue and self._is_within_share(account, queue[0][0]):
                if not self._fits(account, queue[0][0]):
                    return
                size, turn = queue.popleft()
                self._held[account] += size
                turn.set_result(None)
                self._waiting.move_to_end(account)
            if not queue:
                del self._waiting[account]


def _busy() -> errors.ApiError:
    return errors.unavailable("Too many large requests are received at once", RETRY_SECONDS)
