"""A fleet of engines on a simulated clock, under the scheduler that the orchestrator runs, with costs as measured.

    .tools/bin/python -m benchmarks.fleet    # writes docs/benchmarks/fleet.json and fleet.png

An engine runs one batch at a time, as long as the cost model says. Between two steps of a request the orchestrator
needs OVERHEAD_SECONDS. Everything else, which request may call when, is orchestrator/scheduling.
"""

import heapq
import json
import random
from collections import defaultdict, deque
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from statistics import mean
from typing import Any

from orchestrator.generation.forecast import DEADLINE_MARGIN
from orchestrator.params import Priority
from orchestrator.scheduling.costs import Cost, CostModel
from orchestrator.scheduling.scheduled import ScheduledRequest, Work
from orchestrator.scheduling.scheduler import Scheduler

OVERHEAD_SECONDS = 0.001
LINGER_SECONDS = 0.005


@dataclass(eq=False, slots=True)
class Request:
    """A request that arrives at `arrival`, seconds from the start, and takes `steps` calls.

    With a `deadline`, seconds from then, it is refused where the forecast has it end later.
    """

    arrival: float
    steps: int
    work: Work
    account: Hashable = "one"
    priority: Priority = Priority.NORMAL
    deadline: float | None = None
    scheduled: ScheduledRequest | None = None
    announced: float | None = None
    announced_end: float | None = None
    started: float | None = None
    ended: float | None = None
    is_refused: bool = False

    @property
    def latency(self) -> float:
        """Seconds from its arrival to its end."""
        assert self.ended is not None  # noqa: S101  # Fleet.run ends with the last request
        return self.ended - self.arrival


@dataclass(eq=False, slots=True)
class _Engine:
    name: str
    pending: deque[Request] = field(default_factory=deque)
    is_busy: bool = False
    busy_seconds: float = 0.0


class Fleet:
    """Engines, a scheduler, and a clock that jumps from event to event."""

    def __init__(
        self,
        scheduler: Scheduler,
        costs: CostModel,
        engines: int,
        *,
        overhead: float = OVERHEAD_SECONDS,
        noise: Callable[[], float] = lambda: 1.0,
    ) -> None:
        """Nothing has arrived.

        Args:
            scheduler: of all engines.
            costs: how long calls really take; the scheduler may have others.
            noise: drawn for each batch: how many times as long as that it takes.
            engines: how many.
            overhead: seconds between a call's return and the request's next call.
        """
        self.scheduler, self._costs, self._overhead = scheduler, costs, overhead
        self._noise = noise
        self.engines = {f"e{number}": _Engine(f"e{number}") for number in range(engines)}
        self._names = list(self.engines)
        self._requests: dict[ScheduledRequest, Request] = {}
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()
        self._timer: float | None = None
        self.now = 0.0

    def run(self, requests: Iterable[Request], *, announce: bool = True) -> Sequence[Request]:
        """Serve all requests; they have their times when this returns. `announce` forecasts each arrival."""
        served = sorted(requests, key=lambda request: request.arrival)
        for request in served:
            self._at(request.arrival, lambda request=request: self._arrive(request, announce=announce))  # type: ignore[misc]
        while self._events:
            self.now, _, happen = heapq.heappop(self._events)
            happen()
        return served

    @property
    def utilisation(self) -> float:
        """Share of all engines' time that they were busy."""
        return sum(engine.busy_seconds for engine in self.engines.values()) / (self.now * len(self.engines))

    def _at(self, time: float, happen: Callable[[], None]) -> None:
        heapq.heappush(self._events, (time, next(self._numbers), happen))

    def _arrive(self, request: Request, *, announce: bool) -> None:
        tag = self.scheduler.next_tag(request.account, request.work.seconds, self.now)
        deadline = None if request.deadline is None else self.now + request.deadline
        scheduled = ScheduledRequest(
            request.account, request.priority, tag, request.work, lambda: self._names, self.now, deadline=deadline
        )
        request.scheduled, self._requests[scheduled] = scheduled, request
        self.scheduler.add(scheduled)
        if announce:
            forecast = self.scheduler.forecast(self.now)[scheduled]
            request.announced, request.announced_end = forecast.wait, forecast.end
            if request.deadline is not None and DEADLINE_MARGIN * forecast.end > request.deadline:
                request.is_refused = True
                self.scheduler.remove(scheduled, self.now)
                del self._requests[scheduled]
                return
        self._ask(scheduled)

    def _ask(self, scheduled: ScheduledRequest) -> None:
        self.scheduler.ask(scheduled)
        self._grant()

    def _grant(self) -> None:
        touched = set()
        for scheduled in self.scheduler.grant(self.now):
            request, name = self._requests[scheduled], scheduled.engine or ""
            if request.started is None:
                request.started = self.now
            self.engines[name].pending.append(request)
            touched.add(name)
        for name in touched:
            self._flush(name)
        due = self.scheduler.next_time()
        if due is not None and (self._timer is None or self._timer > due or self._timer <= self.now):
            self._timer = due
            self._at(due, self._grant)

    def _flush(self, name: str, *, at_once: bool = False) -> None:
        engine = self.engines[name]
        if engine.is_busy or not engine.pending:
            return
        first = engine.pending[0].work
        if not at_once and self.scheduler.peers(name, first.model):
            self._at(self.now + LINGER_SECONDS, lambda: self._flush(name, at_once=True))
            return
        batch: list[Request] = []
        for request in tuple(engine.pending):
            if request.work.model == first.model and request.work.shape == first.shape:
                if (len(batch) + 1) * first.rows > first.max_rows:
                    break
                batch.append(request)
                engine.pending.remove(request)
        rows = len(batch) * first.rows
        seconds = self._costs.seconds(first.model or "", first.shape, rows)
        if seconds is None:
            seconds = first.seconds / batch[0].steps
        seconds *= self._noise()
        engine.is_busy = True
        engine.busy_seconds += seconds
        self._at(self.now + seconds, lambda: self._return(engine, batch, seconds))

    def _return(self, engine: _Engine, batch: Sequence[Request], seconds: float) -> None:
        engine.is_busy = False
        for request in batch:
            scheduled = request.scheduled
            assert scheduled is not None  # noqa: S101  # it has arrived
            request.steps -= 1
            scheduled.last = request.work.model
            self.scheduler.returned(scheduled, seconds, self.now)
            if request.steps:
                self._at(self.now + self._overhead, lambda scheduled=scheduled: self._ask(scheduled))  # type: ignore[misc]
            else:
                request.ended = self.now
                self.scheduler.remove(scheduled, self.now)
                del self._requests[scheduled]
        self._grant()
        self._flush(engine.name)


def jain(shares: Sequence[float]) -> float:
    """Jain's index of fairness: 1 where all shares are equal, 1/n where one has all."""
    return sum(shares) ** 2 / (len(shares) * sum(share**2 for share in shares))


def by_account(requests: Iterable[Request]) -> dict[Hashable, list[Request]]:
    """The requests of each account."""
    found: dict[Hashable, list[Request]] = defaultdict(list)
    for request in requests:
        found[request.account].append(request)
    return found


SD15 = {1: 1.25, 2: 2.508, 4: 5.0, 8: 9.695}
"""Seconds of a step by rows: docs/benchmarks/latest.md (1 and 4 rows by proportion)."""
FLEETS = (1, 3, 10, 30, 100, 1000)
LOADS = (0.5, 0.8, 0.95)
LEAST_REQUESTS = 400
SEEDS = {1: (22, 23, 24, 25), 3: (22, 23)}
"""Of small fleets several runs are taken together: one run of a few hundred requests says little at a high load."""
ANNOUNCED = 3
"""Engines up to which each arrival is given a forecast, which costs as much as there are requests."""
ACCOUNTS = ("a", "b", "c", "d", "e")
SHARES = (8, 4, 2, 1, 1)
"""Of the requests, by account."""


def requests_per_engine(engines: int) -> int:
    """How many requests of a run: fewer in large fleets, which are in balance sooner."""
    return 30 if engines <= 30 else 10


def arrivals(seed: int, engines: int, load: float, step: float, sizes: Sequence[int], rate: float) -> list[Request]:
    """Poisson arrivals of five accounts, of steps drawn from `sizes`, at a share of the engines' throughput.

    Args:
        seed: of what is drawn.
        engines: how many.
        load: share of their throughput.
        step: seconds of a step alone.
        sizes: steps of a request.
        rate: steps a second of a saturated engine.
    """
    drawn = random.Random(seed)  # noqa: S311  # no secret
    every = sum(sizes) / len(sizes) / (load * rate * engines)
    requests, at = [], 0.0
    for _ in range(max(LEAST_REQUESTS, requests_per_engine(engines) * engines)):
        at += drawn.expovariate(1 / every)
        steps = drawn.choice(sizes)
        work = Work(steps * step, "unet", (4, 64, 64), 2, 8)
        requests.append(Request(at, steps, work, account=drawn.choices(ACCOUNTS, SHARES)[0]))
    return requests


def simulate(
    engines: int, load: float, by_rows: Mapping[int, float], sizes: Sequence[int], fixed: int
) -> dict[str, object]:
    """One fleet under one load: figures of the requests' latencies, over their time alone, and fairness."""
    costs = CostModel()
    for rows, seconds in by_rows.items():
        costs.observe(Cost("e0", "unet", (4, 64, 64), rows, seconds))
    rate = max(rows / seconds for rows, seconds in by_rows.items()) / 2
    requests: list[Request] = []
    utilisation, fairness = [], []
    for seed in SEEDS.get(engines, (22,)):
        fleet = Fleet(Scheduler(costs, fixed), costs, engines)
        served = fleet.run(arrivals(seed, engines, load, by_rows[2], sizes, rate), announce=engines <= ANNOUNCED)
        requests += served
        utilisation.append(fleet.utilisation)
        means = [mean(r.latency / r.work.seconds for r in own) for own in by_account(served).values()]
        fairness.append(jain([1 / each for each in means]))
    stretch = sorted(request.latency / request.work.seconds for request in requests)
    latencies = sorted(request.latency for request in requests)
    return {
        "engines": engines,
        "load": load,
        "order": "all at once" if fixed else "in turn",
        "requests": len(requests),
        "utilisation": round(mean(utilisation), 3),
        "mean_s": round(mean(latencies), 2),
        "p50_s": round(latencies[len(latencies) // 2], 2),
        "p99_s": round(latencies[len(latencies) * 99 // 100], 2),
        "p99_stretch": round(stretch[len(stretch) * 99 // 100], 2),
        "fairness": round(mean(fairness), 3),
        "announced": announced(requests),
    }


def announced(requests: Sequence[Request]) -> float | None:
    """Share of the announced waits that were within a quarter of the actual one, of those that waited for a second."""
    waits = [((r.started or 0.0) - r.arrival, r.announced) for r in requests if r.announced is not None]
    waits = [(actual, said) for actual, said in waits if actual > 1.0]
    return round(mean(abs(said - actual) <= 0.25 * actual for actual, said in waits), 3) if waits else None


def draw(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Utilisation, p50, p99 and fairness over the number of engines, at each load."""
    from matplotlib import pyplot as plt  # noqa: PLC0415  # of the environment .tools alone

    figure, axes = plt.subplots(1, 4, figsize=(15, 3.6), layout="constrained")
    for axis, name in zip(axes, ("utilisation", "p50_s", "p99_s", "fairness"), strict=True):
        for load in LOADS:
            for order, style in (("all at once", "--"), ("in turn", "-")):
                found = [row for row in rows if row["load"] == load and row["order"] == order]
                shown = [float(row[name]) for row in found]
                axis.plot([row["engines"] for row in found], shown, style, marker="o", label=f"{order}, load {load}")
        axis.set(xscale="log", xlabel="engines", title=name, ylim=(0, None))
    axes[0].legend(fontsize=7)
    figure.savefig(path, dpi=90)


def main() -> None:
    """Simulate all fleets and write docs/benchmarks/fleet.json."""
    rows = []
    for engines in FLEETS:
        for load in LOADS:
            for fixed in (0, 4 if engines > 1 else 8):
                rows.append(simulate(engines, load, SD15, (4, 8, 20), fixed))
                print(rows[-1], flush=True)  # a command's output
    folder = Path(__file__).parents[1] / "docs/benchmarks"
    found = {"costs": {str(rows): seconds for rows, seconds in SD15.items()}, "runs": rows}
    (folder / "fleet.json").write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    draw(rows, folder / "fleet.png")


if __name__ == "__main__":
    main()
