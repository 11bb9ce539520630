"""Whose key a request has, before its body is read: asked of the orchestrator, and remembered for seconds."""

import asyncio
import contextlib
import hashlib
import time
from collections.abc import Callable

import grpc
from cachetools import TLRUCache

from gateway.translate.status import read_details
from gateway.upstream.orchestrator import Caller, Orchestrator

KNOWN_SECONDS = 30.0
"""For which an account is remembered. A revoked key lets a body in for that long, and then the request is refused."""
UNKNOWN_SECONDS = 2.0
"""For which it is remembered that a key is nobody's."""
MAX_REMEMBERED = 10_000


class KnownKeys:
    """Accounts by their keys, of which digests alone are kept. Of equal questions at a time one is asked."""

    def __init__(
        self, orchestrator: Orchestrator, retry_seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Nothing is known yet.

        Args:
            orchestrator: that knows all keys.
            retry_seconds: how long calls are retried while it is unreachable.
            clock: seconds.
        """
        self._orchestrator, self._retry_seconds = orchestrator, retry_seconds
        self._remembered: TLRUCache[bytes, str | None] = TLRUCache(MAX_REMEMBERED, _until, clock)
        self._asking: dict[bytes, asyncio.Task[str | None]] = {}

    async def account_of(self, caller: Caller) -> str | None:
        """The name of the account that a caller's key belongs to; None if it is nobody's.

        Raises:
            grpc.aio.AioRpcError: why the orchestrator cannot say.
        """
        digest = hashlib.sha256((caller.api_key or "").encode()).digest()
        with contextlib.suppress(KeyError):
            return self._remembered[digest]
        asking = self._asking.get(digest)
        if asking is None:
            asking = self._asking[digest] = asyncio.create_task(self._ask(digest, caller), name="look up a key")
            asking.add_done_callback(lambda task: task.cancelled() or task.exception())  # who asked may have gone
        return await asyncio.shield(asking)  # others wait for it, too

    async def _ask(self, digest: bytes, caller: Caller) -> str | None:
        try:
            account: str | None = (await self._orchestrator.account(caller, self._retry_seconds)).name
        except grpc.aio.AioRpcError as error:
            if read_details(error).reason != "API_KEY_UNKNOWN":
                raise
            account = None
        finally:
            del self._asking[digest]
        self._remembered[digest] = account
        return account


def _until(_digest: bytes, account: str | None, now: float) -> float:
    """When an answer is asked for again."""
    return now + (UNKNOWN_SECONDS if account is None else KNOWN_SECONDS)
