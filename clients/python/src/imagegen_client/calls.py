"""How calls are sent: channel, deadlines, and when they are sent again. What both clients share."""

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import grpc

from imagegen_client.errors import DeadlineError, DeadlineUnreachableError, ImagegenError, from_call

ADDRESS, KEY = "IMAGEGEN_ADDRESS", "IMAGEGEN_API_KEY"
DEFAULT_ADDRESS = "127.0.0.1:50051"
CALL_SECONDS: Final = 15.0
"""Deadline of one call that looks something up, or queues something."""
TIMEOUT: Final = 600.0
"""Seconds that a picture may take, with waiting."""
READ_SECONDS: Final = 120.0
"""Deadline of reading a picture's file."""
GIVE_UP_SECONDS: Final = 3.0
"""Deadline of cancelling a job that nobody waits for any more."""
RETRY_SECONDS: Final = 60.0
"""How long a call is sent again while nobody answers it, or a limit passes."""
PAUSE_SECONDS: Final = 0.2
"""Between two tries to watch a job, where the server names no time."""
MAX_WAIT: Final = 30.0
"""The longest wait that a server can ask for between two tries, seconds."""

# What passes: an error that says when to come back, and a server that is not there. Every call may be sent again: one
# that creates something has a request_id.
_PASSING = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED})

Tls = bool | str | os.PathLike[str] | grpc.ChannelCredentials
"""True: the system's CAs; a path: a PEM file of CAs; credentials: mutual TLS and everything else."""


def target(address: str | None, tls: Tls) -> tuple[str, grpc.ChannelCredentials | None]:
    """Address and credentials of the channel. An address may begin with https:// or grpcs://, which is TLS."""
    text = address or os.environ.get(ADDRESS) or DEFAULT_ADDRESS
    scheme, separator, rest = text.partition("://")
    if not separator:
        rest, scheme = text, ""
    if scheme not in {"", "http", "grpc", "https", "grpcs", "dns", "unix"}:
        raise ValueError(f"{text}: give host:port, or grpcs://host:port for TLS")
    if scheme in {"dns", "unix"}:
        rest = text
    if tls is False and scheme in {"https", "grpcs"}:
        tls = True
    if isinstance(tls, grpc.ChannelCredentials):
        return rest.rstrip("/"), tls
    if tls is False:
        return rest.rstrip("/"), None
    roots = None if tls is True else Path(tls).read_bytes()
    return rest.rstrip("/"), grpc.ssl_channel_credentials(roots)


OPTIONS: Final[Sequence[tuple[str, str | int]]] = (
    ("grpc.lb_policy_name", "round_robin"),  # over all addresses that the name has
    ("grpc.enable_retries", 0),  # this package retries by itself, and obeys RetryInfo, which gRPC does not
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 5_000),
    ("grpc.keepalive_time_ms", 30_000),  # finds a server that vanished while a call waits; it allows 10 s
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.max_send_message_length", 128 * 1024 * 1024),
    ("grpc.max_receive_message_length", 16 * 1024 * 1024),
)
"""Channel arguments."""


def policy(retry_seconds: float) -> dict[str, Any]:
    """How stamina sends a call again."""
    bounds = {"attempts": None, "timeout": retry_seconds} if retry_seconds > 0 else {"attempts": 1, "timeout": None}
    return {**bounds, "wait_initial": 0.1, "wait_max": 5.0, "wait_jitter": 0.5}


def metadata(key: str | None) -> tuple[tuple[str, str], ...]:
    """What goes with each call."""
    found = key if key is not None else os.environ.get(KEY)
    return (("x-api-key", found.strip()),) if found else ()


def passing(error: Exception) -> bool | float:
    """Whether the same call may succeed later; and after how many seconds, where the server says so."""
    found = error if isinstance(error, ImagegenError) else None
    if isinstance(error, grpc.RpcError):
        found = from_call(error)
    if found is None or found.code not in _PASSING or isinstance(found, DeadlineUnreachableError):
        return False  # who has a deadline wants to know at once
    if found.retry_after is not None:
        return min(found.retry_after, MAX_WAIT)
    return found.code is grpc.StatusCode.UNAVAILABLE


class Deadline:
    """When a caller has waited long enough."""

    def __init__(self, seconds: float | None) -> None:
        self._end = None if seconds is None else time.monotonic() + seconds

    @property
    def left(self) -> float | None:
        """Seconds until then, at least a millisecond; None for no end.

        Raises:
            DeadlineError: it has passed.
        """
        if self._end is None:
            return None
        left = self._end - time.monotonic()
        if left <= 0:
            raise DeadlineError("the picture was not finished in time: give a longer timeout, or submit it as a job")
        return max(left, 0.001)

    def pause(self, error: grpc.RpcError | None) -> float:
        """Seconds until a stream that broke, with an error or without one, is opened again.

        Raises:
            ImagegenError: it does not help to open it again.
        """
        left, wait = self.left, True if error is None else passing(error)
        if error is not None and wait is False:
            raise from_call(error)
        pause = PAUSE_SECONDS if isinstance(wait, bool) else wait
        return pause if left is None else min(pause, left)
