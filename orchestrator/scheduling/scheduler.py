"""Which request may use an engine now. Pure: every method is given the time, and answers who may call.

An engine works for requests of one shape at a time, at most as many as saturate it, to their end: more of them would
only slow each other down. Where many wait the last few percent of throughput count more than that, and more of them
share the engine. The others wait in order (order.py). At each step boundary, which is every network call, a
request that comes much sooner in order may pass: the one that runs is paused until the shorter one has ended.

Between two calls of a request its engine is held for it, HOLD_SHARE of the call before at most: else two requests would
take turns, and both end late.
"""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence

from orchestrator.params import Priority
from orchestrator.scheduling import waits
from orchestrator.scheduling.arrivals import Arrivals, Newcomers
from orchestrator.scheduling.capacity import Capacities, share_batches
from orchestrator.scheduling.costs import CostModel
from orchestrator.scheduling.order import HEAD_START, length_class, start_tag, virtual_time
from orchestrator.scheduling.scheduled import Load, ScheduledRequest, State, Work

PASSING = 0.5
"""A request passes a running one if it takes at most this share of what the running one still takes."""
MOST_PAUSED = 1.0
"""A request that others have passed for this many times its own seconds is not passed any more."""
HOLD_SHARE, MIN_HOLD, MAX_HOLD = 0.25, 0.02, 0.5
"""For which share of its last call an engine is held for a request, within bounds in seconds."""

URGENT = 1.25
"""A request whose deadline is this many times its remaining seconds ahead is next."""

NEVER = float("-inf")

_NEXT = NEVER


class Scheduler:
    """The requests of one process and the engines that they use.

    Attributes:
        capacities: how many requests share an engine.
    """

    def __init__(self, costs: CostModel, fixed: int = 0) -> None:
        """Nothing waits.

        Args:
            costs: what networks cost.
            fixed: requests that may use one engine at once, of whatever shape; 0: as many as saturate it.
        """
        self.capacities = Capacities(costs, fixed)
        self._requests: set[ScheduledRequest] = set()
        self._asking: set[ScheduledRequest] = set()
        self._holding: set[ScheduledRequest] = set()
        self._owners: dict[str, list[ScheduledRequest]] = defaultdict(list)
        self._fair_tags: dict[Hashable, float] = {}
        self._arrivals = Arrivals()
        self._waiting: set[ScheduledRequest] = set()
        self._served = NEVER  # the newest tag up to which any of this busy period was served
        self._touched: set[str] = set()  # engines that were given, taken or asked for since all who ask were tried
        self._flows: dict[tuple[Hashable, Priority], set[ScheduledRequest]] = defaultdict(set)
        self._unordered: set[tuple[Hashable, Priority]] = set()

    # Requests come and go.

    def add(self, request: ScheduledRequest) -> None:
        """A request has come. It is in the order from now on."""
        self._arrivals.note(request.account, request.priority, request.work.seconds, request.arrived)
        self._requests.add(request)
        self._waiting.add(request)
        self._flows[request.flow].add(request)
        self._unordered.add(request.flow)

    def remove(self, request: ScheduledRequest, now: float) -> None:
        """A request has ended, whichever way."""
        self.release(request, now)
        self._requests.discard(request)
        if request.started:
            self._served = max(self._served, request.served)
        if not self._requests:  # a busy period ends
            self._served = NEVER
        self._waiting.discard(request)
        self._flows[request.flow].discard(request)
        self._unordered.add(request.flow)
        self.capacities.forget()
        if all(other.account != request.account for other in self._requests):
            self._fair_tags = {account: tag for account, tag in self._fair_tags.items() if tag > now}

    def next_tag(self, account: Hashable, seconds: float, now: float) -> float:
        """Start tag of a request that comes now and has none from the database; the account's next comes behind it."""
        virtual = self._virtual(now)
        is_waiting = any(request.account == account and not request.started for request in self._requests)
        tag = start_tag(virtual, self._fair_tags.get(account, 0.0), seconds, waits=is_waiting)
        self._fair_tags[account] = tag + seconds
        return tag

    def _newcomers(self, now: float) -> list[Newcomers]:
        """What is expected to come, and with which tags."""
        virtual = self._virtual(now)
        tags: dict[Hashable, float] = defaultdict(lambda: virtual)
        for request in self._requests:
            if not request.started:
                tags[request.account] = max(tags[request.account], request.tag + request.work.seconds)
        return [Newcomers(rate, tags[rate.account]) for rate in self._arrivals.rates(now)]

    def _virtual(self, now: float) -> float:
        newest = max([self._served, *(request.served for request in self._requests if request.started)])
        served = None if newest == NEVER else newest
        waiting = min((request.tag for request in self._requests if not request.started), default=None)
        return virtual_time(now, served, waiting)

    # They use engines. Whoever calls these then calls `grant`.

    def ask(self, request: ScheduledRequest) -> None:
        """A request wants to call a network. An engine that is held for it stays its own unless another may pass."""
        self._holding.discard(request)
        self._asking.add(request)
        request.state = State.ASKING
        if request.owns:
            self._touched.add(request.engine or "")
        else:
            self._waiting.add(request)

    def returned(self, request: ScheduledRequest, seconds: float, now: float) -> None:
        """A call has returned after that many seconds: the engine is held for the next one."""
        self._count(request, now)
        request.state = State.HOLDING
        request.hold_until = now + min(max(HOLD_SHARE * seconds, MIN_HOLD), MAX_HOLD)
        self._holding.add(request)
        self._touched.add(request.engine or "")

    def release(self, request: ScheduledRequest, now: float) -> None:
        """A request needs no engine for a while."""
        self._lose(request, now)
        self._asking.discard(request)
        request.state, request.refused = State.IDLE, ()
        if request.started:
            self._waiting.discard(request)

    def next_time(self) -> float | None:
        """When `grant` is to be called although nothing has happened; None if it need not be."""
        return min((request.hold_until for request in self._holding), default=None) if self._asking else None

    def grant(self, now: float) -> list[ScheduledRequest]:
        """Those that may call now, of those that ask: each has its engine."""
        for request in [request for request in self._holding if request.hold_until <= now]:
            self.release(request, now)
        self.capacities.backlog = round(len(self._waiting) / max(1, sum(map(bool, self._owners.values()))))
        granted: list[ScheduledRequest] = []
        reserved: dict[str, ScheduledRequest] = {}
        refused: set[Work] = set()
        for request in self.order(now, self._asking):
            if request.work in refused and not request.owns and not request.done:
                continue  # one like it, before it in order, found no engine
            engine = self._place(request, reserved, now)
            if engine is None:
                refused.add(request.work)
            else:
                self._give(request, engine, now)
                granted.append(request)
        self._touched = {request.engine or "" for request in (*granted, *(each for each in self._asking if each.owns))}
        return granted

    def is_wanted(self, engine: str) -> bool:
        """Whether a request uses that engine, or waits for one."""
        return bool(self._owners.get(engine) or self._asking)

    def peers(self, engine: str, last: Hashable) -> int:
        """How many requests hold that engine after a call of the same kind: their next ones could share a batch."""
        return sum(request.engine == engine and request.last == last for request in self._holding)

    def load(self) -> dict[str, Load]:
        """What the requests want of engines, by family."""
        found: dict[str, Load] = defaultdict(Load)
        for request in self._requests:
            if request.owns:
                found[request.family].working += 1
            elif request in self._waiting:
                found[request.family].waiting_seconds += request.remaining
        return found

    # What will happen.

    def order(self, now: float, requests: Iterable[ScheduledRequest] | None = None) -> list[ScheduledRequest]:
        """Requests in the order in which engines serve them; all by default."""
        return sorted(self._requests if requests is None else requests, key=lambda request: self.key(request, now))

    def forecast(self, now: float) -> dict[ScheduledRequest, waits.Forecast]:
        """When each request will begin to use an engine and end, if as much comes as came lately."""
        return waits.forecast(self.order(now), self.capacities, self._newcomers(now), now)

    def key(self, request: ScheduledRequest, now: float) -> tuple[float, float, int]:
        """What requests are ordered by: least first."""
        if self._unordered:
            self._set_keys()
        if request.deadline is not None and now >= request.deadline - URGENT * request.remaining:
            return (_NEXT, *request.key[1:])  # what came later, and may pass, must not make it late
        if request.started and not request.owns and self._has_waited(request, now):
            return (_NEXT, *request.key[1:])
        return request.key

    def _set_keys(self) -> None:
        """Set the keys. An account's own requests share its tags so that its short ones have the earlier of them."""
        for flow in self._unordered:
            requests = self._flows[flow]
            tags = sorted(request.tag for request in requests)
            shortest = sorted(
                requests, key=lambda request: (request.arrived + length_class(request.work.seconds), request.number)
            )
            for request, tag in zip(shortest, tags, strict=True):
                finish = min(tag, request.tag) + length_class(request.work.seconds) - HEAD_START[request.priority]
                request.key = finish, request.arrived, request.number
            if not requests:
                del self._flows[flow]
        self._unordered.clear()

    def _place(self, request: ScheduledRequest, reserved: dict[str, ScheduledRequest], now: float) -> str | None:
        """The engine that may work for a request now; None if there is none.

        Its own rather than one where it shares a batch, and that rather than an idle one. "" if nobody knows an engine:
        then the call itself finds out.
        """
        engines = request.engines()
        if request.owns and request.engine is not None and request.engine in engines:  # one that has started continues
            passing = reserved.get(request.engine)
            if passing is None or not self._passes(passing, request, now):
                return request.engine
        fitting, passable = [], []
        for engine in self._changed(request, engines, now):
            if (owner := reserved.get(engine)) is not None and self._passes(owner, request, now):
                continue
            others = [other for other in self._owners[engine] if other is not request]
            passed = [self._passes(request, other, now) for other in others]
            kept = [o for o, is_passed in zip(others, passed, strict=True) if o.state is State.CALLING or not is_passed]
            if self._fits(request, engine, kept):
                is_own = engine == request.engine
                shares = any(share_batches(request.work, other.work) for other in kept)
                fitting.append((not is_own, not shares, len(others), engine))
            elif all(passed):
                passable.append(engine)
        if fitting:
            return min(fitting)[-1]
        reserved.update(
            {engine: request for engine in passable if engine not in reserved}
        )  # once their steps have ended
        request.refused = engines
        return None if engines else ""

    def _changed(self, request: ScheduledRequest, engines: Sequence[str], now: float) -> Sequence[str]:
        """The engines that may have a turn for a request now: those that changed since it was refused."""
        if request.owns or request.refused != engines or self.key(request, now)[0] == _NEXT:
            return engines
        return [engine for engine in self._touched if engine in engines]

    def _fits(self, request: ScheduledRequest, engine: str, others: Sequence[ScheduledRequest]) -> bool:
        return self.capacities.fits(request.work, engine, [other.work for other in others])

    def _give(self, request: ScheduledRequest, engine: str, now: float) -> None:
        others = [other for other in self._owners[engine] if other is not request]
        if not (request.owns and engine == request.engine) and not self.capacities.fits(
            request.work, engine, [other.work for other in others]
        ):
            for other in others:
                if other.state is not State.CALLING and self._passes(request, other, now):
                    self._pause(other, now)
        if request.owns and request.engine != engine:
            self._lose(request, now)
        if not request.owns:
            request.paused += now - request.since if request.started else 0.0
            request.owns, request.engine, request.since = True, engine or None, now
            self._owners[engine].append(request)
        self._asking.discard(request)
        self._waiting.discard(request)
        self._touched.add(engine)
        request.state, request.started, request.refused = State.CALLING, True, ()

    def _pause(self, request: ScheduledRequest, now: float) -> None:
        """Take the engine from a request. It goes on when it asks, or asks already, and its turn has come."""
        asks = request.state is State.ASKING
        self._lose(request, now)
        request.state = State.ASKING if asks else State.IDLE
        if asks:
            self._waiting.add(request)

    def _lose(self, request: ScheduledRequest, now: float) -> None:
        self._holding.discard(request)
        if request.owns:
            self._count(request, now)
            self._owners[request.engine or ""].remove(request)
            self._touched.add(request.engine or "")
            request.owns = False

    def _count(self, request: ScheduledRequest, now: float) -> None:
        """Count the time since the last count as work that is done; in company it gets less done."""
        company = [other.work for other in self._owners[request.engine or ""] if other is not request]
        request.done += (now - request.since) / self.capacities.slowdown(request.work, request.engine or "", company)
        request.since = now

    def _passes(self, request: ScheduledRequest, other: ScheduledRequest, now: float) -> bool:
        """Whether a request may use an engine that another holds, which then waits until it has ended."""
        if self.capacities.fixed:
            return False
        mine, theirs = self.key(request, now), self.key(other, now)
        if mine >= theirs:
            return False
        if request.deadline is not None and mine[0] == _NEXT:
            return True
        return request.remaining <= PASSING * other.remaining and other.paused < MOST_PAUSED * other.work.seconds

    @staticmethod
    def _has_waited(request: ScheduledRequest, now: float) -> bool:
        """Whether others have passed a request for as long as they may."""
        return request.paused + now - request.since >= MOST_PAUSED * request.work.seconds
