"""The order of requests: start-time fair queueing, with a head start for the better classes, and short before long.

Start-time fair queueing (Goyal, Vin, Cheng: Start-time Fair Queuing, 1996) gives each request of a flow, here an
account, a start tag

    S = max(v(t), F of the request before),    F = S + seconds of work,

where v(t) is the tag of the request in service. Tags are on the scale of Unix seconds. What differs here, because work
is served by several engines:

- v is the newest tag up to which a request of this busy period was served, its start tag and the seconds that it has
  had, much as in self-clocked fair queueing (Golestani 1994): with the start tag alone v would stand still while short
  requests of many accounts pass a long one. Where nothing was served, it is the tag of the next request; where nothing
  waits either, the time. It never lags more than an hour behind the time, so that nothing waits forever (ADR 0015).
- v may fall when a busy period ends. An account none of whose requests waits therefore keeps at most one request's
  length of its old tag, which is what the paper's F can be ahead of v then: what it took of an idle machine is not held
  against it.
- the engines serve the smallest finish tag S + seconds first, as weighted fair queueing does (Demers, Keshav, Shenker
  1989): so short work passes long work, and no request waits longer for that than about its own length. Seconds are
  rounded down to a power of LENGTH_BASE there: requests of about one length keep the order in which they came.
"""

import math

from orchestrator.params import Priority

MAX_LAG = 3600.0
"""Seconds that the virtual time may lag behind the time."""

HEAD_START = {Priority.HIGH: 600.0, Priority.NORMAL: 0.0, Priority.LOW: -600.0}
"""Seconds by which a class goes before its tag."""

LENGTH_BASE = 2.0
"""Lengths are of one class up to this many times the shortest of it."""


def length_class(seconds: float) -> float:
    """Seconds, rounded down to a power of LENGTH_BASE."""
    return LENGTH_BASE ** math.floor(math.log(max(seconds, 1e-3), LENGTH_BASE) + 1e-9)


def virtual_time(now: float, served: float | None, waiting: float | None) -> float:
    """Virtual time v, from the time, the newest tag that was served, and that of the next that waits; None for none."""
    current = next((tag for tag in (served, waiting) if tag is not None), now)
    return max(current, now - MAX_LAG)


def start_tag(virtual: float, fair_tag: float, seconds: float, *, waits: bool) -> float:
    """Start tag S of an account's next request of that many seconds.

    `fair_tag` is F of its request before, `waits` whether any of its requests still waits.
    """
    return max(virtual, fair_tag if waits else min(fair_tag, virtual + seconds))
