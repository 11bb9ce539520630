"""What the service and a decoding process say to each other: JSON and file descriptors, one message a datagram."""

import json
import os
import socket
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from orchestrator.errors import Reason, Violation

MAX_MESSAGE = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What to do with the file whose descriptor comes with it.

    Attributes:
        work: read the header, or decode.
        field: the request's field that errors name.
        max_pixels, max_side: see DecodeLimits.
        memory: bytes that the work may take.
        seconds: CPU time that it may take.
    """

    work: Literal["measure", "decode"]
    field: str
    max_pixels: int
    max_side: int
    memory: int
    seconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How it ended.

    Attributes:
        answer: what measuring found, or the shape of the pixels whose descriptor comes with it.
        violations: of a file that is refused.
        notes: log lines, for the service to write.
        out_of_memory: whether the work needed more memory than it may take.
    """

    answer: list[int] = field(default_factory=list)
    violations: list[Violation] = field(default_factory=list)
    notes: list[dict[str, Any]] = field(default_factory=list)
    out_of_memory: bool = False


def send(to: socket.socket, message: Task | Outcome, *descriptors: int) -> None:
    """Send a message; descriptors are duplicated for the receiver."""
    socket.send_fds(to, [json.dumps(asdict(message)).encode()], descriptors)


def outcome(fields: dict[str, Any]) -> Outcome:
    """An Outcome of its message."""
    violations = [Violation(**each | {"reason": Reason(each["reason"])}) for each in fields["violations"]]
    return Outcome(**fields | {"violations": violations})


def receive(source: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """The fields of a message, and its descriptors; None where the other side is gone."""
    data, descriptors, _, _ = socket.recv_fds(source, MAX_MESSAGE, 2)
    return (json.loads(data), descriptors) if data else None


def close(*descriptors: int) -> None:
    """Close what was received."""
    for each in descriptors:
        os.close(each)
