"""Health checking (grpc.health.v1), for anybody: the states of known names, and a bounded number of watchers.

Our own servicer: grpcio-health-checking 1.81 keeps one condition for all watchers of a name and deletes it when the
first of them leaves, so the others hear nothing more; and it keeps whatever names strangers watch.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from orchestrator.api.peers import peer_of
from orchestrator.errors import NotFoundError, QueueFullError

MAX_WATCHERS, MAX_WATCHERS_OF_PEER = 1024, 256
"""Watches at a time, in all and from one address. Behind a proxy all clients share an address."""

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING

Context = grpc.aio.ServicerContext[Any, Any]


class HealthServicer(health_pb2_grpc.HealthServicer):  # type: ignore[misc]  # grpc_health publishes no types
    """The health of every name that was set. Use it behind EdgeInterceptor, which answers what it raises."""

    def __init__(self) -> None:
        self._serving: dict[str, bool] = {"": True}
        self._watchers: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self._peers: Counter[str] = Counter()
        self._is_stopping = False

    def set(self, name: str, *, serving: bool) -> None:
        """Set the health of a name; its watchers are notified of a change. Does nothing after `stop`."""
        if not self._is_stopping:
            self._set(name, serving=serving)

    def stop(self) -> None:
        """Set all names to NOT_SERVING, for good."""
        self._is_stopping = True
        for name in self._serving:
            self._set(name, serving=False)

    async def Check(  # noqa: N802  # the name of the schema
        self, request: health_pb2.HealthCheckRequest, _context: Context
    ) -> health_pb2.HealthCheckResponse:
        """The health of a name.

        Raises:
            NotFoundError: there is no such name.
        """
        return self._answer(request.service)

    async def Watch(  # noqa: N802  # the name of the schema
        self, request: health_pb2.HealthCheckRequest, context: Context
    ) -> AsyncIterator[health_pb2.HealthCheckResponse]:
        """The health of a name, now and at every change.

        The protocol lets a watch of an unknown name wait for it to become known. Here all names are known from the
        start, so such a watch ends at once, like Check.

        Raises:
            NotFoundError: there is no such name.
            QueueFullError: there are as many watchers as there may be.
        """
        answer, peer, changed = self._answer(request.service), peer_of(context.peer()), asyncio.Event()
        if self._peers.total() >= MAX_WATCHERS or self._peers[peer] >= MAX_WATCHERS_OF_PEER:
            raise QueueFullError("too many health watches at once", retry_after=10.0)
        self._peers[peer] += 1
        self._watchers[request.service].add(changed)
        try:
            yield answer
            while True:
                await changed.wait()
                changed.clear()
                newest = self._answer(request.service)
                if newest.status != answer.status:
                    answer = newest
                    yield answer
        finally:
            self._watchers[request.service].discard(changed)
            self._peers -= Counter({peer: 1})

    def _set(self, name: str, *, serving: bool) -> None:
        if self._serving.get(name) is not serving:
            self._serving[name] = serving
            for changed in self._watchers[name]:
                changed.set()

    def _answer(self, name: str) -> health_pb2.HealthCheckResponse:
        if name not in self._serving:
            raise NotFoundError("service: no such name; reflection lists the services")
        return health_pb2.HealthCheckResponse(status=SERVING if self._serving[name] else NOT_SERVING)
