"""When requests will begin and end: the scheduler's order played ahead at the expected seconds."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.scheduling.arrivals import Newcomers, delay
from orchestrator.scheduling.capacity import Capacities, share_batches
from orchestrator.scheduling.order import length_class
from orchestrator.scheduling.scheduled import ScheduledRequest, Work


@dataclass(frozen=True, slots=True)
class Forecast:
    """When a request will begin and end, in seconds from now, as far as is known; `position` starts before it."""

    position: int
    wait: float
    end: float


def forecast(
    order: Sequence[ScheduledRequest], capacities: Capacities, newcomers: Sequence[Newcomers], now: float
) -> dict[ScheduledRequest, Forecast]:
    """When each request will begin to use an engine and end, if as much comes as came lately.

    Args:
        order: all requests, as engines serve them, with their keys set.
        capacities: how many share an engine.
        newcomers: what is expected to come.
        now: Unix seconds.
    """
    ends: dict[str, list[tuple[float, Work]]] = defaultdict(list)
    found: dict[ScheduledRequest, Forecast] = {}
    position = 0
    for request in (*(each for each in order if each.owns), *(each for each in order if not each.owns)):
        work = request.work
        engines = [request.engine] if request.owns and request.engine else request.engines()
        starts = {engine: _start(work, engine, ends[engine], capacities) for engine in engines}
        if not starts:
            found[request] = Forecast(position, 0.0, request.remaining)
            continue
        engine = min(starts, key=starts.__getitem__)
        begin = starts[engine]
        before = [(end, other) for end, other in ends[engine] if end > begin]
        slowdown = capacities.slowdown(work, engine, [other for _, other in before])
        under_way = now - request.since if request.owns else 0.0
        end = begin + max(request.remaining * slowdown - under_way, 0.0)
        ends[engine] = [*before, (end, work)]
        later = 0.0
        if begin > 0 and not request.started:
            length, waited = length_class(work.seconds), now - request.arrived
            later = delay(newcomers, request.flow, request.key[0], length, begin, waited, len(engines))
        found[request] = Forecast(position, begin + later, end + later)
        position += not request.started
    return found


def _start(work: Work, engine: str, ends: Sequence[tuple[float, Work]], capacities: Capacities) -> float:
    """When an engine will have room for a request, after those that were placed on it already."""
    shares = [capacities.fixed > 0 or share_batches(work, other) for _, other in ends]
    unlike = [end for (end, _), is_shared in zip(ends, shares, strict=True) if not is_shared]
    alike = sorted((end for (end, _), is_shared in zip(ends, shares, strict=True) if is_shared), reverse=True)
    room = capacities.capacity(work, engine)
    return max([0.0, *unlike, *alike[room - 1 : room]])
