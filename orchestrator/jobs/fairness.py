"""The order of jobs: start-time fair queueing, with a head start for the better classes.

Start-time fair queueing (Goyal, Vin, Cheng: Start-time Fair Queuing, 1996) gives each job of a flow, here an account, a
start tag

    S = max(v(t), F of the job before),    F = S + seconds of work,

where v(t) is the tag of the job in service, and serves the smallest S first. Tags are on the scale of Unix seconds.
What differs here, because work is served by a changing number of workers that know only the rows of a table:

- v is the newest tag that runs; where nothing runs, the tag of the next job; where nothing waits either, the time. It
  never lags more than an hour behind the time, so that nothing waits for ever (ADR 0015).
- v may fall when a busy period ends. An account none of whose jobs waits therefore keeps at most one job's length of
  its old tag, which is what the paper's F can be ahead of v then: what it took of an idle machine is not held against
  it.
- procrastinate starts the highest 32-bit integer first: the key, S less the head start of the class, in tenths of
  seconds, turned round.
"""

from orchestrator.params import Priority

MAX_LAG = 3600.0
"""Seconds that the virtual time may lag behind the time."""

HEAD_START = {Priority.HIGH: 600.0, Priority.NORMAL: 0.0, Priority.LOW: -600.0}
"""Seconds by which a class goes before its tag."""

EPOCH = 1_767_225_600.0
"""2026-01-01 00:00 UTC, Unix seconds: where the integers begin."""

_HIGHEST, _LOWEST = 2**31 - 1, -(2**31)


def virtual_time(now: float, running: float | None, waiting: float | None) -> float:
    """Virtual time v, from the time, the newest tag that runs, and the tag of the next that waits (None: no such)."""
    current = next((tag for tag in (running, waiting) if tag is not None), now)
    return max(current, now - MAX_LAG)


def start_tag(virtual: float, fair_tag: float, seconds: float, *, waits: bool) -> float:
    """Start tag S of an account's next job of so many seconds.

    `fair_tag` is F of its job before, `waits` whether any of its jobs still waits.
    """
    return max(virtual, fair_tag if waits else min(fair_tag, virtual + seconds))


def rank(tag: float, priority: Priority) -> int:
    """The integer by which procrastinate orders: a 32-bit integer, the highest starts first. Lasts until 2039."""
    return min(max(_HIGHEST - round((tag - HEAD_START[priority] - EPOCH) * 10), _LOWEST), _HIGHEST)
