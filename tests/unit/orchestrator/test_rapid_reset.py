"""HTTP/2 rapid reset (CVE-2023-44487) by strangers: what it may hold up of other clients' calls."""

import asyncio
import socket
import struct
from collections import Counter
from collections.abc import Callable

import grpc
import pytest
from grpc_health.v1 import health_pb2_grpc

from orchestrator.api import auth, transport
from orchestrator.api.health import HealthServicer
from orchestrator.config import Settings
from tests.hostile.floods import CALL, frame
from tests.unit.orchestrator.test_edge import KnowsAlice

# RFC 9113, sections 6 and 7.
DATA, HEADERS, RST_STREAM, SETTINGS = 0, 1, 3, 4
END_STREAM, ACK, END_HEADERS = 1, 1, 4
REFUSED_STREAM, CANCEL = 7, 8
CONNECTIONS, STREAMS, CALLS = 4, 1_000, 20
EMPTY_MESSAGE = bytes(5)


class Connection:
    """A connection that does not wait for the server's event loop."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.settimeout(60)
        self._file = self._socket.makefile("rb")
        self.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, 0, 0))
        self.until(lambda kind, flags: kind == SETTINGS and flags & ACK)  # the server's own have come before
        self.send(frame(SETTINGS, ACK, 0))

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def until(self, is_last: Callable[[int, int], object]) -> list[tuple[int, int, int, bytes]]:
        """(type, flags, stream, payload) of the frames up to one."""
        frames = []
        while True:
            head = self._file.read(9)
            assert len(head) == 9, "the server has closed the connection"
            kind, flags, stream = struct.unpack(">BBI", head[3:])
            frames.append((kind, flags, stream, self._file.read(int.from_bytes(head[:3], "big"))))
            if is_last(kind, flags):
                return frames

    def read(self) -> list[tuple[int, int, int, bytes]]:
        """Frames up to the acknowledgement of settings: the server has read all that was sent before."""
        self.send(frame(SETTINGS, 0, 0))
        return self.until(lambda kind, flags: kind == SETTINGS and flags & ACK)

    def close(self) -> None:
        self._file.close()
        self._socket.close()


def reset(connection: Connection, first: int) -> int:
    """Open STREAMS calls, then cancel them; how many the server refuses."""
    streams = range(first, first + 2 * STREAMS, 2)
    connection.send(b"".join(frame(HEADERS, END_HEADERS, stream, CALL) for stream in streams))
    refused = [payload for kind, _, _, payload in connection.read() if kind == RST_STREAM]
    assert set(refused) <= {struct.pack(">I", REFUSED_STREAM)}
    connection.send(b"".join(frame(RST_STREAM, 0, stream, struct.pack(">I", CANCEL)) for stream in streams))
    connection.read()
    return len(refused)


def ask(connection: Connection) -> None:
    """Begin calls."""
    streams = range(1, 2 * CALLS, 2)
    connection.send(
        b"".join(
            frame(HEADERS, END_HEADERS, stream, CALL) + frame(DATA, END_STREAM, stream, EMPTY_MESSAGE)
            for stream in streams
        )
    )
    assert RST_STREAM not in {kind for kind, *_ in connection.read()}


def answers(connection: Connection) -> Counter[int]:
    """How the calls end: by the HEADERS that a gRPC call ends with, or by RST_STREAM alone."""
    ends: dict[int, int] = {}
    while len(ends) < CALLS:
        for kind, flags, stream, _ in connection.until(lambda *_: True):
            if kind == RST_STREAM or (kind == HEADERS and flags & END_STREAM):
                ends.setdefault(stream, kind)
    return Counter(ends.values())


@pytest.mark.promise(
    "HTTP/2 rapid reset",
    "a connection has 256 calls, with those that are cancelled and still wait; what is more is refused on it alone",
    "orchestrator/api/transport.py",
)
async def test_resets_by_strangers_cancel_nobody_elses_calls() -> None:
    """The event loop is busy meanwhile, so that all calls wait."""
    server = grpc.aio.server(
        interceptors=[auth.EdgeInterceptor(KnowsAlice(), 1 << 20)], options=transport.options(Settings())
    )
    health_pb2_grpc.add_HealthServicer_to_server(HealthServicer(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    strangers = [Connection(port) for _ in range(CONNECTIONS)]
    client = Connection(port)
    try:
        first = [reset(stranger, 1) for stranger in strangers]
        again = [reset(stranger, 1 + 2 * STREAMS) for stranger in strangers]
        ask(client)
        assert await asyncio.to_thread(answers, client) == {HEADERS: CALLS}
        assert min(first) >= STREAMS - transport.MAX_STREAMS - 1
        assert min(again) >= STREAMS - 1, "those that were cancelled still count"
    finally:
        for connection in (*strangers, client):
            connection.close()
        await server.stop(0)
