"""Waits until nobody calls this Triton any more: the preStop hook of its container.

A pod that is to end has left its headless Service, so orchestrators send their next steps to other Tritons, and close
their connection once no request of theirs is here. Where there is no other Triton they finish here. Whoever probes has
a connection for a moment only: a port that was free of connections at several looks in a row is left.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

ESTABLISHED = "01"
"""State of a connection in /proc/net/tcp (include/net/tcp_states.h of Linux)."""
NEWS_SECONDS = 15.0
"""After which every orchestrator has looked the Service up again: each does every 5 s, and DNS keeps them 5 s."""
CHECK_SECONDS = 1.0
CHECKS = 5
"""Checks in a row that must find no connection."""
TABLES = ("/proc/net/tcp", "/proc/net/tcp6")


def count_connections(port: int, tables: tuple[str, ...] = TABLES) -> int:
    """Return how many connections to a port of this pod are open."""
    count = 0
    for table in tables:
        path = Path(table)
        for line in path.read_text("ascii").splitlines()[1:] if path.exists() else []:
            _, local, _, state, *_ = line.split()
            count += state == ESTABLISHED and int(local.rpartition(":")[2], 16) == port
    return count


def wait(port: int, seconds: float, news_seconds: float = NEWS_SECONDS, check_seconds: float = CHECK_SECONDS) -> bool:
    """Wait until nobody has been connected for CHECKS checks, at most `seconds`. Return whether that was so."""
    deadline = time.monotonic() + seconds
    time.sleep(min(news_seconds, seconds))
    free = 0
    while free < CHECKS:
        if time.monotonic() >= deadline:
            return False
        free = 0 if count_connections(port) else free + 1
        time.sleep(check_seconds)
    return True


def main() -> None:
    """Wait; the pod ends afterwards in any case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8001)
    parser.add_argument("--seconds", type=float, required=True, help="longest time to wait")
    arguments = parser.parse_args()
    wait(arguments.port, arguments.seconds)


if __name__ == "__main__":
    main()
