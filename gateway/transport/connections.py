"""Connections before any request of theirs is known: their number, and the time of heads.

uvicorn's protocol over h11 parses HTTP; docs/adr/0022-the-door.md says why h11. What is added here, in parser.py (the
size of heads) and in lingering.py (how connections end) bounds it.
"""

import asyncio
import ipaddress
import json
import logging
from collections import Counter
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from gateway.transport.lingering import LingeringTransport
from gateway.transport.parser import LimitedParser, refusal

HEAD_SECONDS = 10.0
"""For a head, from the connection or the answer before it on."""
STALL_SECONDS = 60.0
"""For which a client may read nothing of an answer."""

_IPV6_PREFIX = 64
_TOO_MANY = (
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nretry-after: 5\r\nconnection: close\r\n"
    b"content-length: 74\r\n\r\n"
    b'{"message": "Too many connections at once", "code": "SERVICE_UNAVAILABLE"}'
)


class Connections:
    """The open connections of this process, and which of them have no request in progress.

    Where there are as many as there may be, the one that has waited for its request longest is closed for a new one:
    whoever opens many and sends nothing replaces their own.
    """

    def __init__(self, most: int, most_of_address: int) -> None:
        self._most, self._most_of_address = most, most_of_address
        self._addresses: Counter[str] = Counter()
        self._idle: dict[Connection, None] = {}

    def admit(self, connection: "Connection") -> bool:
        """Count a new connection, which has no request yet. False if there is no room for it."""
        address = connection.address
        if self._addresses[address] >= self._most_of_address and not self._close_idle(address):
            return False
        if self._addresses.total() >= self._most and not self._close_idle(None):
            return False
        self._addresses[address] += 1
        self._idle[connection] = None
        return True

    def leave(self, connection: "Connection") -> None:
        """A connection that was admitted has ended."""
        self._idle.pop(connection, None)
        self._addresses -= Counter({connection.address: 1})

    def begin(self, connection: "Connection") -> None:
        """It has a request."""
        self._idle.pop(connection, None)

    def end(self, connection: "Connection") -> None:
        """Its request is answered."""
        self._idle[connection] = None

    def _close_idle(self, address: str | None) -> bool:
        """Close the connection that has been idle longest, of an address or of all."""
        for connection in self._idle:
            if address is None or connection.address == address:
                del self._idle[connection]
                connection.abort()
                return True
        return False


class Connection(H11Protocol):
    """One connection of a client."""

    def __init__(self, connections: Connections, **uvicorn: Any) -> None:  # noqa: ANN401  # uvicorn's business
        super().__init__(**uvicorn)
        self.logger = logging.getLogger(__name__)
        self.conn = self._parser = LimitedParser()
        self.app = self._closing_app(self.app)
        self.address = ""
        self._connections = connections
        self._is_admitted = False
        self._is_answering = False
        self._head_timer: asyncio.TimerHandle | None = None
        self._stall_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Take the connection, if there is room."""
        self._lingering = LingeringTransport(transport, self._has_unread_input)
        super().connection_made(self._lingering)  # type: ignore[arg-type]  # it has what is used of a transport
        self.address = address_of(self.client[0] if self.client else "")
        self._is_admitted = self._connections.admit(self)
        if self._is_admitted:
            self._expect_head()
        else:
            transport.write(_TOO_MANY)
            self._lingering.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Leave."""
        for timer in (self._head_timer, self._stall_timer):
            if timer is not None:
                timer.cancel()
        self._lingering.end()
        if self._is_admitted:
            self._connections.leave(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse, unless the connection only waits for its client to read."""
        if self._lingering.is_closing():
            self._lingering.discard(len(data))
            return
        super().data_received(data)
        if not self._is_answering and self.cycle is not None and not self.cycle.response_complete:
            self._is_answering = True
            self._connections.begin(self)
            if self._head_timer is not None:
                self._head_timer.cancel()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        self._is_answering = False
        self._connections.end(self)
        if not self._lingering.is_closing():
            self._expect_head()
        super().on_response_complete()
        if self.cycle is not None and not self.cycle.response_complete:  # one that came with the last
            self._is_answering = True
            self._connections.begin(self)
            if self._head_timer is not None:
                self._head_timer.cancel()

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP or beyond a limit, and close."""
        if self.conn.our_state not in {h11.IDLE, h11.SEND_RESPONSE}:  # half an answer is out already
            self.abort()
            return
        if self._is_answering and self.cycle is not None:
            self.cycle.disconnected = True  # the application has nobody to answer any more
            self.cycle.message_event.set()
        status = self._parser.status
        self._answer(status, *refusal(status, msg))

    def pause_writing(self) -> None:
        """Wait for the client to read, for a while."""
        super().pause_writing()
        self._stall_timer = self.loop.call_later(STALL_SECONDS, self.abort)

    def resume_writing(self) -> None:
        """The client reads."""
        super().resume_writing()
        if self._stall_timer is not None:
            self._stall_timer.cancel()

    def abort(self) -> None:
        """End the connection now."""
        self._lingering.abort()

    def _expect_head(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
        self._head_timer = self.loop.call_later(HEAD_SECONDS, self._head_late)

    def _head_late(self) -> None:
        if self._lingering.is_closing():
            return
        if self.conn.trailing_data[0] and self.conn.our_state is h11.IDLE:
            self._answer(408, "REQUEST_TIMEOUT", "The request did not arrive in time")
        else:
            self.timeout_keep_alive_handler()

    def _answer(self, status: int, code: str, message: str) -> None:
        body = json.dumps({"message": message, "code": code}).encode()
        headers = [("content-type", "application/json"), ("content-length", str(len(body))), ("connection", "close")]
        for event in (h11.Response(status_code=status, headers=headers), h11.Data(data=body), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _has_unread_input(self) -> bool:
        """Whether the client may still be sending."""
        return self._parser.is_broken or not self._is_admitted or self.conn.their_state is h11.SEND_BODY

    def _closing_app(self, app: Any) -> Any:  # noqa: ANN401  # uvicorn's type of an application
        """An application that closes the connection where it answers before the body has come."""

        async def serve(scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401
            async def send_closing(message: Any) -> None:  # noqa: ANN401
                if message["type"] == "http.response.start" and self.conn.their_state is h11.SEND_BODY:
                    headers = [each for each in message["headers"] if each[0].lower() != b"connection"]
                    message = {**message, "headers": [*headers, (b"connection", b"close")]}
                await send(message)

            await app(scope, receive, send_closing)

        return serve


def address_of(host: str) -> str:
    """What counts as one address: of IPv6 the network of 64 bits that one customer is usually given."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, _IPV6_PREFIX), strict=False))
