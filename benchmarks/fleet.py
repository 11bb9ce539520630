"""A fleet of engines on a simulated clock, under the scheduler that the orchestrator runs, with costs as measured.

    .venv/bin/python -m benchmarks.fleet            # writes docs/benchmarks/fleet.json and fleet.png

An engine runs one batch at a time, as long as the cost model says. Between two steps of a request the orchestrator
needs OVERHEAD_SECONDS. Everything else, which request may call when, is orchestrator/scheduling.
"""

import heapq
from collections import defaultdict, deque
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import count

from orchestrator.params import Priority
from orchestrator.scheduling.costs import CostModel
from orchestrator.scheduling.scheduler import Scheduler, Task, Work

OVERHEAD_SECONDS = 0.001
LINGER_SECONDS = 0.005


@dataclass(eq=False, slots=True)
class Request:
    """A request that arrives at `arrival`, seconds from the start, and takes `steps` calls."""

    arrival: float
    steps: int
    work: Work
    account: Hashable = "one"
    priority: Priority = Priority.NORMAL
    deadline: float | None = None
    task: Task | None = None
    announced: float | None = None
    announced_end: float | None = None
    begun: float | None = None
    ended: float | None = None

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
        self._requests: dict[Task, Request] = {}
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
        task = Task(
            request.account, request.priority, tag, request.work, lambda: self._names, self.now, deadline=deadline
        )
        request.task, self._requests[task] = task, request
        self.scheduler.add(task)
        if announce:
            forecast = self.scheduler.forecast(self.now)[task]
            request.announced, request.announced_end = forecast.wait, forecast.end
        self._ask(task)

    def _ask(self, task: Task) -> None:
        self.scheduler.ask(task)
        self._grant()

    def _grant(self) -> None:
        touched = set()
        for task in self.scheduler.grant(self.now):
            request, name = self._requests[task], task.engine or ""
            if request.begun is None:
                request.begun = self.now
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
            task = request.task
            assert task is not None  # noqa: S101  # it has arrived
            request.steps -= 1
            task.last = request.work.model
            self.scheduler.returned(task, seconds, self.now)
            if request.steps:
                self._at(self.now + self._overhead, lambda task=task: self._ask(task))  # type: ignore[misc]
            else:
                request.ended = self.now
                self.scheduler.remove(task, self.now)
                del self._requests[task]
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
