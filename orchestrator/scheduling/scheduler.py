"""Which request may use an engine now. Pure: every method is given the time, and answers who may call.

An engine works for requests of one shape at a time, at most as many as saturate it, to their end: more of them would
only slow each other down. Where many wait the last few percent of throughput count more than that, and more of them
share the engine. The others wait in order (order.py). At each step boundary, which is every network call, a
request that comes much sooner in order may pass: the one that runs is paused until the shorter one has ended.

Between two calls of a request its engine is held for it, HOLD_SHARE of the call before at most: else two requests would
take turns, and both end late.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from itertools import count

from orchestrator.params import Priority
from orchestrator.scheduling.arrivals import Arrivals, Newcomers, delay
from orchestrator.scheduling.costs import CostModel, Shape
from orchestrator.scheduling.order import HEAD_START, length_class, start_tag, virtual_time

PASSING = 0.5
"""A request passes a running one if it takes at most this share of what the running one still takes."""
MOST_PAUSED = 1.0
"""A request that others have passed for so many times its own seconds is not passed any more."""
HOLD_SHARE, MIN_HOLD, MAX_HOLD = 0.25, 0.02, 0.5
"""For which share of its last call an engine is held for a request, within bounds in seconds."""

LEAST = 0.05
"""Share of its expected seconds that a request which has used them up is expected to need yet."""
URGENT = 1.25
"""A request whose deadline is so many times its remaining seconds ahead is next."""

BACKLOG_WEIGHT = 2.0
"""Requests that a call delays, by w that wait for its engine: this times w (1 + w). With w in line an engine is busy
for about w / (1 + w) of the time, so 1 + w as many will come until it is idle again (of M/M/1); by simulation twice."""

NEVER = float("-inf")

_NEXT = NEVER
_arrivals = count()


@dataclass(frozen=True, slots=True)
class Work:
    """What a request is expected to do.

    Attributes:
        seconds: on an engine that works for it alone.
        model: of its steps; None if it has none.
        shape: of their latents.
        rows: of one step.
        max_rows: of one call of the model.
    """

    seconds: float
    model: str | None = None
    shape: Shape = ()
    rows: int = 1
    max_rows: int = 1


class State(Enum):
    """Where a request is."""

    AWAY = "away"
    """It waits for a slot, or works without networks."""
    ASKING = "asking"
    """It waits to call a network."""
    CALLING = "calling"
    HOLDING = "holding"
    """Its call has returned, and its engine is kept for its next one."""


@dataclass(eq=False, slots=True)
class Task:
    """A request, from its arrival to its end. Only the scheduler changes it.

    Attributes:
        account: whose it is.
        priority: its class.
        tag: start tag, Unix seconds.
        work: what it is expected to do.
        engines: addresses of the engines that could serve it now.
        arrived: Unix seconds.
        deadline: by which it is to have ended, Unix seconds; None if it has none.
        state: where it is.
        engine: address of the engine that it uses, or used last.
        owns: an engine works for it, or is held for it.
        started: it has had one.
        done: of work.seconds.
        paused: seconds for which others have passed it.
        last: what its last call was of.
        refused: the engines that had no turn for it when it was last tried; only those that changed are tried again.
    """

    account: Hashable
    priority: Priority
    tag: float
    work: Work
    engines: Callable[[], Sequence[str]]
    arrived: float
    deadline: float | None = None
    state: State = State.AWAY
    engine: str | None = None
    owns: bool = False
    started: bool = False
    done: float = 0.0
    paused: float = 0.0
    last: Hashable = None
    refused: Sequence[str] = ()
    since: float = 0.0
    hold_until: float = 0.0
    key: tuple[float, float, int] = (0.0, 0.0, 0)
    number: int = field(default_factory=lambda: next(_arrivals))

    @property
    def flow(self) -> tuple[Hashable, Priority]:
        """Those whose tags it shares."""
        return self.account, self.priority

    @property
    def served(self) -> float:
        """The tag up to which it was served."""
        return self.tag + min(self.done, self.work.seconds)

    @property
    def remaining(self) -> float:
        """Seconds that it is expected to need an engine for; a little, where it has needed more than expected."""
        return max(self.work.seconds - self.done, LEAST * self.work.seconds)


@dataclass(frozen=True, slots=True)
class Forecast:
    """When a request will begin and end, in seconds from now, as far as is known; `position` starts before it."""

    position: int
    wait: float
    end: float


class Scheduler:
    """The requests of one process and the engines that they use."""

    def __init__(self, costs: CostModel, fixed: int = 0) -> None:
        """Nothing waits.

        Args:
            costs: what networks cost.
            fixed: requests that may use one engine at once, of whatever shape; 0: as many as saturate it.
        """
        self._costs, self._fixed = costs, fixed
        self._tasks: set[Task] = set()
        self._asking: set[Task] = set()
        self._holding: set[Task] = set()
        self._owners: dict[str, list[Task]] = defaultdict(list)
        self._fair_tags: dict[Hashable, float] = {}
        self._arrivals = Arrivals()
        self._waiting: set[Task] = set()
        self._served = NEVER  # the newest tag up to which any of this busy period was served
        self._backlog = 0  # requests that wait, for each engine that works
        self._touched: set[str] = set()  # engines that were given, taken or asked for since all who ask were tried
        self._flows: dict[tuple[Hashable, Priority], set[Task]] = defaultdict(set)
        self._unordered: set[tuple[Hashable, Priority]] = set()
        self._capacities: dict[tuple[Work, str, int], int] = {}  # as the costs are; forgotten when a request ends
        self._slowdowns: dict[tuple[Work, str, int], float] = {}

    # Requests come and go.

    def add(self, task: Task) -> None:
        """A request has come. It is in the order from now on."""
        self._arrivals.note(task.account, task.priority, task.work.seconds, task.arrived)
        self._tasks.add(task)
        self._waiting.add(task)
        self._flows[task.flow].add(task)
        self._unordered.add(task.flow)

    def remove(self, task: Task, now: float) -> None:
        """A request has ended, whichever way."""
        self.release(task, now)
        self._tasks.discard(task)
        if task.started:
            self._served = max(self._served, task.served)
        if not self._tasks:  # a busy period ends
            self._served = NEVER
        self._waiting.discard(task)
        self._flows[task.flow].discard(task)
        self._unordered.add(task.flow)
        self._capacities.clear()
        self._slowdowns.clear()
        if all(other.account != task.account for other in self._tasks):
            self._fair_tags = {account: tag for account, tag in self._fair_tags.items() if tag > now}

    def next_tag(self, account: Hashable, seconds: float, now: float) -> float:
        """Start tag of a request that comes now and has none from the database; the account's next comes behind it."""
        virtual = self._virtual(now)
        waits = any(task.account == account and not task.started for task in self._tasks)
        tag = start_tag(virtual, self._fair_tags.get(account, 0.0), seconds, waits=waits)
        self._fair_tags[account] = tag + seconds
        return tag

    def _newcomers(self, now: float) -> list[Newcomers]:
        """What is expected to come, and with which tags."""
        virtual = self._virtual(now)
        tags: dict[Hashable, float] = defaultdict(lambda: virtual)
        for task in self._tasks:
            if not task.started:
                tags[task.account] = max(tags[task.account], task.tag + task.work.seconds)
        return [Newcomers(rate, tags[rate.account]) for rate in self._arrivals.rates(now)]

    def _virtual(self, now: float) -> float:
        newest = max([self._served, *(task.served for task in self._tasks if task.started)])
        served = None if newest == NEVER else newest
        waiting = min((task.tag for task in self._tasks if not task.started), default=None)
        return virtual_time(now, served, waiting)

    # They use engines. Whoever calls these then calls `grant`.

    def ask(self, task: Task) -> None:
        """A request wants to call a network. An engine that is held for it stays its own unless another may pass."""
        self._holding.discard(task)
        self._asking.add(task)
        task.state = State.ASKING
        if task.owns:
            self._touched.add(task.engine or "")
        else:
            self._waiting.add(task)

    def returned(self, task: Task, seconds: float, now: float) -> None:
        """A call has returned after so many seconds: the engine is held for the next one."""
        self._count(task, now)
        task.state = State.HOLDING
        task.hold_until = now + min(max(HOLD_SHARE * seconds, MIN_HOLD), MAX_HOLD)
        self._holding.add(task)
        self._touched.add(task.engine or "")

    def release(self, task: Task, now: float) -> None:
        """A request needs no engine for a while."""
        self._lose(task, now)
        self._asking.discard(task)
        task.state, task.refused = State.AWAY, ()
        if task.started:
            self._waiting.discard(task)

    def next_time(self) -> float | None:
        """When `grant` is to be called although nothing has happened; None if it need not be."""
        return min((task.hold_until for task in self._holding), default=None) if self._asking else None

    def grant(self, now: float) -> list[Task]:
        """Those that may call now, of those that ask: each has its engine."""
        for task in [task for task in self._holding if task.hold_until <= now]:
            self.release(task, now)
        self._backlog = round(len(self._waiting) / max(1, sum(map(bool, self._owners.values()))))
        granted: list[Task] = []
        reserved: dict[str, Task] = {}
        refused: set[Work] = set()
        for task in self.order(now, self._asking):
            if task.work in refused and not task.owns and not task.done:
                continue  # one like it, before it in order, found no engine
            engine = self._place(task, reserved, now)
            if engine is None:
                refused.add(task.work)
            else:
                self._give(task, engine, now)
                granted.append(task)
        self._touched = {task.engine or "" for task in (*granted, *(each for each in self._asking if each.owns))}
        return granted

    def is_wanted(self, engine: str) -> bool:
        """Whether a request uses that engine, or waits for one."""
        return bool(self._owners.get(engine) or self._asking)

    def peers(self, engine: str, last: Hashable) -> int:
        """How many requests hold that engine after a call of the same kind: their next ones could share a batch."""
        return sum(task.engine == engine and task.last == last for task in self._holding)

    # What will happen.

    def order(self, now: float, tasks: Iterable[Task] | None = None) -> list[Task]:
        """Requests in the order in which engines serve them; all by default."""
        return sorted(self._tasks if tasks is None else tasks, key=lambda task: self.key(task, now))

    def forecast(self, now: float) -> dict[Task, Forecast]:
        """When each request will begin to use an engine and end, if as much comes as came lately."""
        ends: dict[str, list[tuple[float, Task]]] = defaultdict(list)
        found: dict[Task, Forecast] = {}
        position = 0
        newcomers = self._newcomers(now)
        order = self.order(now)
        for task in (*(each for each in order if each.owns), *(each for each in order if not each.owns)):
            engines = [task.engine] if task.owns and task.engine else task.engines()
            starts = {engine: self._start(task, engine, ends[engine]) for engine in engines}
            if not starts:
                found[task] = Forecast(position, 0.0, task.remaining)
                continue
            engine = min(starts, key=starts.__getitem__)
            begin = starts[engine]
            before = [(end, other) for end, other in ends[engine] if end > begin]
            slowdown = self._slowdown(task, engine, [other for _, other in before])
            under_way = now - task.since if task.owns else 0.0
            end = begin + max(task.remaining * slowdown - under_way, 0.0)
            ends[engine] = [*before, (end, task)]
            later = 0.0
            if begin > 0 and not task.started:
                length, waited = length_class(task.work.seconds), now - task.arrived
                later = delay(newcomers, task.flow, task.key[0], length, begin, waited, len(engines))
            found[task] = Forecast(position, begin + later, end + later)
            position += not task.started
        return found

    def capacity(self, task: Task, engine: str) -> int:
        """How many requests like this one saturate an engine."""
        if self._fixed:
            return self._fixed
        work = task.work
        if work.model is None:
            return 1
        if (known := self._capacities.get((work, engine, self._backlog))) is None:
            kind = work.model, work.shape
            behind = BACKLOG_WEIGHT * self._backlog * (1 + self._backlog)
            rows = max(
                self._costs.saturating_rows(*kind, work.max_rows, engine),
                self._costs.fastest_rows(*kind, work.rows, work.max_rows, behind, engine),
            )
            known = self._capacities[work, engine, self._backlog] = max(1, rows // work.rows)
        return known

    def key(self, task: Task, now: float) -> tuple[float, float, int]:
        """What requests are ordered by: least first."""
        if self._unordered:
            self._set_keys()
        if task.deadline is not None and now >= task.deadline - URGENT * task.remaining:
            return (_NEXT, *task.key[1:])  # what came later, and may pass, must not make it late
        if task.started and not task.owns and self._has_waited(task, now):
            return (_NEXT, *task.key[1:])
        return task.key

    def _set_keys(self) -> None:
        """Set the keys. An account's own requests share its tags so that its short ones have the earlier of them."""
        for flow in self._unordered:
            tasks = self._flows[flow]
            tags = sorted(task.tag for task in tasks)
            shortest = sorted(tasks, key=lambda task: (task.arrived + length_class(task.work.seconds), task.number))
            for task, tag in zip(shortest, tags, strict=True):
                finish = min(tag, task.tag) + length_class(task.work.seconds) - HEAD_START[task.priority]
                task.key = finish, task.arrived, task.number
            if not tasks:
                del self._flows[flow]
        self._unordered.clear()

    def _place(self, task: Task, reserved: dict[str, Task], now: float) -> str | None:
        """The engine that may work for a request now; None if there is none.

        Its own rather than one where it shares a batch, and that rather than an idle one. "" if nobody knows an engine:
        then the call itself finds out.
        """
        engines = task.engines()
        if task.owns and task.engine is not None and task.engine in engines:  # who has begun goes on
            passing = reserved.get(task.engine)
            if passing is None or not self._passes(passing, task, now):
                return task.engine
        fitting, passable = [], []
        for engine in self._changed(task, engines, now):
            if (owner := reserved.get(engine)) is not None and self._passes(owner, task, now):
                continue
            others = [other for other in self._owners[engine] if other is not task]
            passed = [self._passes(task, other, now) for other in others]
            kept = [o for o, is_passed in zip(others, passed, strict=True) if o.state is State.CALLING or not is_passed]
            if self._fits(task, kept, engine):
                is_own = engine == task.engine
                shares = any(self._alike(task, other) for other in kept)
                fitting.append((not is_own, not shares, len(others), engine))
            elif all(passed):
                passable.append(engine)
        if fitting:
            return min(fitting)[-1]
        reserved.update({engine: task for engine in passable if engine not in reserved})  # once their steps have ended
        task.refused = engines
        return None if engines else ""

    def _changed(self, task: Task, engines: Sequence[str], now: float) -> Sequence[str]:
        """The engines that may have a turn for a request now: those that changed since it was refused."""
        if task.owns or task.refused != engines or self.key(task, now)[0] == _NEXT:
            return engines
        return [engine for engine in self._touched if engine in engines]

    def _fits(self, task: Task, others: Sequence[Task], engine: str) -> bool:
        """Whether an engine can work for a request together with the others that it works for."""
        if self._fixed or not others:
            return len(others) < max(1, self._fixed)
        return all(self._alike(task, other) for other in others) and len(others) < self.capacity(task, engine)

    def _give(self, task: Task, engine: str, now: float) -> None:
        others = [other for other in self._owners[engine] if other is not task]
        if not (task.owns and engine == task.engine) and not self._fits(task, others, engine):
            for other in others:
                if other.state is not State.CALLING and self._passes(task, other, now):
                    self._pause(other, now)
        if task.owns and task.engine != engine:
            self._lose(task, now)
        if not task.owns:
            task.paused += now - task.since if task.started else 0.0
            task.owns, task.engine, task.since = True, engine or None, now
            self._owners[engine].append(task)
        self._asking.discard(task)
        self._waiting.discard(task)
        self._touched.add(engine)
        task.state, task.started, task.refused = State.CALLING, True, ()

    def _pause(self, task: Task, now: float) -> None:
        """Take the engine from a request. It goes on when it asks, or asks already, and its turn has come."""
        asks = task.state is State.ASKING
        self._lose(task, now)
        task.state = State.ASKING if asks else State.AWAY
        if asks:
            self._waiting.add(task)

    def _lose(self, task: Task, now: float) -> None:
        self._holding.discard(task)
        if task.owns:
            self._count(task, now)
            self._owners[task.engine or ""].remove(task)
            self._touched.add(task.engine or "")
            task.owns = False

    def _count(self, task: Task, now: float) -> None:
        """Count the time since the last count as work that is done; in company it gets less done."""
        company = [other for other in self._owners[task.engine or ""] if other is not task]
        task.done += (now - task.since) / self._slowdown(task, task.engine or "", company)
        task.since = now

    def _passes(self, task: Task, other: Task, now: float) -> bool:
        """Whether a request may use an engine that another holds, which then waits until it has ended."""
        if self._fixed:
            return False
        mine, theirs = self.key(task, now), self.key(other, now)
        if mine >= theirs:
            return False
        if task.deadline is not None and mine[0] == _NEXT:
            return True
        return task.remaining <= PASSING * other.remaining and other.paused < MOST_PAUSED * other.work.seconds

    @staticmethod
    def _has_waited(task: Task, now: float) -> bool:
        """Whether others have passed a request for as long as they may."""
        return task.paused + now - task.since >= MOST_PAUSED * task.work.seconds

    @staticmethod
    def _alike(task: Task, other: Task) -> bool:
        """Whether their steps can share a batch."""
        one, two = task.work, other.work
        return one.model is not None and one.model == two.model and one.shape == two.shape

    def _start(self, task: Task, engine: str, ends: Sequence[tuple[float, Task]]) -> float:
        """When an engine will have room for a request, after those that were placed on it already."""
        shares = [self._fixed > 0 or self._alike(task, other) for _, other in ends]
        unlike = [end for (end, _), is_shared in zip(ends, shares, strict=True) if not is_shared]
        alike = sorted((end for (end, _), is_shared in zip(ends, shares, strict=True) if is_shared), reverse=True)
        room = self.capacity(task, engine)
        return max([0.0, *unlike, *alike[room - 1 : room]])

    def _slowdown(self, task: Task, engine: str, others: Sequence[Task]) -> float:
        """How many times as long a request takes together with the others that an engine works for."""
        work, alike = task.work, 1 + sum(self._alike(task, other) for other in others)
        if work.model is None or alike == 1:
            return 1.0
        company = min(alike, self.capacity(task, engine))
        if (known := self._slowdowns.get((work, engine, company))) is None:
            alone = self._costs.seconds(work.model, work.shape, work.rows, engine)
            together = self._costs.seconds(work.model, work.shape, company * work.rows, engine)
            known = max(1.0, together / alone) if alone and together else 1.0
            self._slowdowns[work, engine, company] = known
        return known
