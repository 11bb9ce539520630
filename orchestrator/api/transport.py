"""What the gRPC server bounds of a connection, before any code of ours sees a call."""

from orchestrator.config import Settings

PICTURES_IN_MESSAGE = 2
"""Pictures of the largest size that fit into a message: an inpainting has two."""
TEXT_BYTES = 1024 * 1024
"""Room in a message for everything else; two prompts of 100,000 characters are 0.8 MB at most."""

MAX_STREAMS = 256
"""Calls at a time over one connection. Those that their client has cancelled count until the event loop has seen them,
so that whoever opens and cancels without end (rapid reset, CVE-2023-44487) has no more of them in the queue, and is
refused. The gateway opens as many connections as it needs."""
MAX_PENDING, MOST_PENDING = 8_192, 16_384
"""Calls of all connections that wait for the event loop: above the first, gRPC ends the more of the new ones, whoever
sends them, the more there are; above the second all. Each takes about 6.5 kB. gRPC's own 1,000 and 3,000 are used up by
a handful of connections."""
MAX_CONNECTIONS = 2048
"""At a time. gRPC has no limit for each address; a proxy in front can have one."""
IDLE_SECONDS, HANDSHAKE_SECONDS = 120, 10
"""For which a connection may have no call, and within which a new one must have started to speak HTTP/2 (and TLS)."""
HEADER_BYTES, MOST_HEADER_BYTES = 16 * 1024, 32 * 1024
"""Of one call: above the first the more are refused the larger they are, above the second all."""


_IDENTITY = 1
"""The bit of "identity" in a set of compression algorithms."""


def max_message_bytes(settings: Settings) -> int:
    """Largest message, bytes: that of a method that takes pictures."""
    return PICTURES_IN_MESSAGE * settings.max_input_bytes + TEXT_BYTES


def options(settings: Settings) -> list[tuple[str, int]]:
    """Channel arguments of the server; grpc/impl/channel_arg_names.h says what they mean."""
    return [
        ("grpc.so_reuseport", 0),  # a second server on the port is an error, not a silent half of the traffic
        ("grpc.keepalive_time_ms", 30_000),  # finds clients that vanished without a word
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
        ("grpc.http2.max_ping_strikes", 2),  # who pings more often is disconnected
        ("grpc.max_concurrent_streams", MAX_STREAMS),
        ("grpc.server.max_pending_requests", MAX_PENDING),
        ("grpc.server.max_pending_requests_hard_limit", MOST_PENDING),
        ("grpc.max_metadata_size", HEADER_BYTES),
        ("grpc.absolute_max_metadata_size", MOST_HEADER_BYTES),
        ("grpc.max_receive_message_length", max_message_bytes(settings)),
        # Unpacking has no limit of size in gRPC, and pictures are compressed already: packed messages are refused.
        ("grpc.compression_enabled_algorithms_bitset", _IDENTITY),
        # A call's window stays at 64 KiB until its message is asked for; with the probe it grows to 4 MiB.
        ("grpc.http2.bdp_probe", 0),
        ("grpc.max_allowed_incoming_connections", MAX_CONNECTIONS),
        ("grpc.max_connection_idle_ms", IDLE_SECONDS * 1000),
        ("grpc.server_handshake_timeout_ms", HANDSHAKE_SECONDS * 1000),
        # Without a limit of the time after that: a call that runs, runs on.
        ("grpc.max_connection_age_ms", round(settings.max_connection_age_seconds * 1000)),
    ]
