"""The channel to the orchestrator: as many connections as its calls need, opened again when its certificates change."""

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import grpc

from common.certificates import Reloading

Open = Callable[[grpc.ChannelCredentials | None], grpc.aio.Channel]

CALLS = 200
"""Calls at a time over one connection before another one is opened. A server takes 256 of one connection
(orchestrator/api/transport.py), and what is more would wait for one of them to end."""
MAX_LINKS = 16
"""Connections at a time. Beyond CALLS on each, calls share them evenly."""


class _Link:
    """One real channel, and how many calls run over it. Retired, it is closed when the last of them has ended."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.channel = channel
        self.closing: asyncio.Task[None] | None = None
        self.calls, self._is_retired = 0, False

    def count(self, call: grpc.aio.Call) -> None:
        self.calls += 1
        call.add_done_callback(self._end)

    def retire(self) -> None:
        self._is_retired = True
        self._close_if_idle()

    def _end(self, _call: object) -> None:
        self.calls -= 1
        self._close_if_idle()

    def _close_if_idle(self) -> None:
        if self._is_retired and not self.calls and self.closing is None:
            self.closing = asyncio.get_running_loop().create_task(self.channel.close())


class RotatingChannel:
    """What stubs need of a grpc.aio.Channel. Calls go over connections with the newest certificates."""

    def __init__(self, credentials: Reloading[grpc.ChannelCredentials] | None, open_channel: Open) -> None:
        """Open the first connection. Needs a running event loop.

        Args:
            credentials: None for no TLS.
            open_channel: opens one with credentials. Each must have a connection of its own.
        """
        self._credentials, self._open = credentials, open_channel
        self._used = credentials.current() if credentials else None
        self._links = [_Link(open_channel(self._used))]
        self._retired: set[_Link] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for link in (*self._links, *self._retired):
            await (link.closing or link.channel.close())

    def unary_unary(self, method: str, **codecs: Any) -> Callable[..., grpc.aio.Call]:  # noqa: ANN401  # stubs' business
        """As of a channel."""
        return self._method(lambda channel: channel.unary_unary(method, **codecs))

    def unary_stream(self, method: str, **codecs: Any) -> Callable[..., grpc.aio.Call]:  # noqa: ANN401  # stubs' business
        """As of a channel."""
        return self._method(lambda channel: channel.unary_stream(method, **codecs))

    def stream_unary(self, method: str, **_: object) -> Callable[..., grpc.aio.Call]:
        """No method of ours takes a stream."""
        raise NotImplementedError(method)

    stream_stream = stream_unary

    def _method(self, make: Callable[[grpc.aio.Channel], Callable[..., Any]]) -> Callable[..., grpc.aio.Call]:
        made: dict[_Link, Callable[..., grpc.aio.Call]] = {}

        def call(*args: Any, **options: Any) -> grpc.aio.Call:  # noqa: ANN401  # the stub's
            link = self._chosen()
            if link not in made:
                for old in made.keys() - set(self._links):
                    del made[old]
                made[link] = make(link.channel)
            running = made[link](*args, **options)
            link.count(running)
            return running

        return call

    def _chosen(self) -> _Link:
        """The first connection that has room; a new one if none has; the one with the fewest calls if all are open."""
        if self._credentials is not None and (newest := self._credentials.current()) is not self._used:
            self._retire(newest)
        for link in self._links:
            if link.calls < CALLS:
                return link
        if len(self._links) < MAX_LINKS:
            self._links.append(_Link(self._open(self._used)))
            return self._links[-1]
        return min(self._links, key=lambda link: link.calls)

    def _retire(self, newest: grpc.ChannelCredentials) -> None:
        """Open a connection with new certificates; those before it close when their calls have ended."""
        self._retired = {link for link in self._retired if link.closing is None or not link.closing.done()}
        self._retired.update(self._links)
        for link in self._links:
            link.retire()
        self._used, self._links = newest, [_Link(self._open(newest))]
