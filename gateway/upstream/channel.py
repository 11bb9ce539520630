"""The channel to the orchestrator: opened again when its certificates have changed, without breaking running calls."""

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import grpc

from common.certificates import Reloading

Open = Callable[[grpc.ChannelCredentials | None], grpc.aio.Channel]


class _Link:
    """One real channel, and how many calls run over it. Retired, it is closed when the last of them has ended."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.channel = channel
        self.closing: asyncio.Task[None] | None = None
        self._calls, self._is_retired = 0, False

    def count(self, call: grpc.aio.Call) -> None:
        self._calls += 1
        call.add_done_callback(self._end)

    def retire(self) -> None:
        self._is_retired = True
        self._close_if_idle()

    def _end(self, _call: object) -> None:
        self._calls -= 1
        self._close_if_idle()

    def _close_if_idle(self) -> None:
        if self._is_retired and not self._calls and self.closing is None:
            self.closing = asyncio.get_running_loop().create_task(self.channel.close())


class RotatingChannel:
    """What stubs need of a grpc.aio.Channel. Each call goes over the channel of the newest certificates."""

    def __init__(self, credentials: Reloading[grpc.ChannelCredentials] | None, open_channel: Open) -> None:
        """Open the first channel. Needs a running event loop.

        Args:
            credentials: None for no TLS.
            open_channel: opens one with credentials.
        """
        self._credentials, self._open = credentials, open_channel
        self._used = credentials.current() if credentials else None
        self._link = _Link(open_channel(self._used))
        self._retired: set[_Link] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for link in (self._link, *self._retired):
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
            link = self._newest()
            if link not in made:
                made.clear()
                made[link] = make(link.channel)
            running = made[link](*args, **options)
            link.count(running)
            return running

        return call

    def _newest(self) -> _Link:
        if self._credentials is not None and (newest := self._credentials.current()) is not self._used:
            self._retired = {link for link in self._retired if link.closing is None or not link.closing.done()}
            self._retired.add(self._link)
            self._link.retire()
            self._used, self._link = newest, _Link(self._open(newest))
        return self._link
