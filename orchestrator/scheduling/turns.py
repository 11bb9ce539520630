"""The scheduler on the event loop: requests wait here for an engine."""

import asyncio
import time
from collections.abc import Callable, Hashable, Sequence

from orchestrator import metrics
from orchestrator.params import Priority
from orchestrator.scheduling.costs import CostModel
from orchestrator.scheduling.scheduled import Load, ScheduledRequest, State, Work
from orchestrator.scheduling.scheduler import Scheduler
from orchestrator.scheduling.waits import Forecast

IDLE_SECONDS = 0.25
"""Between two looks whether an engine is idle."""

Spend = Callable[[str, float], None]
"""Takes a group of engines, and the seconds for which they worked."""


class Turns:
    """The turns of all requests of this process. Lives in one event loop.

    Attributes:
        costs: what networks cost.
        is_merging: calls of requests that share an engine are put together into batches.
    """

    def __init__(self, costs: CostModel, fixed: int = 0) -> None:
        """As Scheduler."""
        self.costs, self.is_merging = costs, not fixed
        self._scheduler = Scheduler(costs, fixed)
        self._waiting: dict[ScheduledRequest, asyncio.Future[None]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._listeners: list[Callable[[], None]] = []
        self._offset = time.time() - time.monotonic()

    @property
    def now(self) -> float:
        """Unix seconds, by a clock that never jumps."""
        return time.monotonic() + self._offset

    def listen(self, listener: Callable[[], None]) -> None:
        """Call `listener` whenever a request has started or ended."""
        self._listeners.append(listener)

    def open(
        self,
        account: Hashable,
        priority: Priority,
        work: Work,
        engines: Callable[[], Sequence[str]],
        *,
        tag: float | None = None,
        deadline: float | None = None,
        spend: Spend | None = None,
        family: str = "",
    ) -> "Turn":
        """A request has come. `close` the turn when it has ended.

        Args:
            account: whose it is.
            priority: its class.
            work: what it is expected to do.
            engines: addresses of the engines that could serve it.
            tag: its start tag; None to draw one.
            deadline: seconds from now in which it is to end.
            spend: called with the group of engines that worked for the request, and for how many seconds.
            family: of its models, for `load`.
        """
        now = self.now
        if tag is None:
            tag = self._scheduler.next_tag(account, work.seconds, now)
        until = None if deadline is None else now + deadline
        request = ScheduledRequest(account, priority, tag, work, engines, now, deadline=until, family=family)
        self._scheduler.add(request)
        return Turn(self, request, spend or _keep_nothing)

    def forecast(self) -> dict[ScheduledRequest, Forecast]:
        """As Scheduler.forecast."""
        return self._scheduler.forecast(self.now)

    def load(self) -> dict[str, Load]:
        """As Scheduler.load."""
        return self._scheduler.load()

    def order(self, requests: Sequence[ScheduledRequest]) -> list[ScheduledRequest]:
        """As Scheduler.order."""
        return self._scheduler.order(self.now, requests)

    async def idle(self, engine: str) -> None:
        """Wait until no request uses an engine, or wants to. Others may begin to use it meanwhile."""
        while self._scheduler.is_wanted(engine):  # noqa: ASYNC110  # nobody hurries
            await asyncio.sleep(IDLE_SECONDS)

    def peers(self, engine: str, last: Hashable) -> int:
        """As Scheduler.peers."""
        return self._scheduler.peers(engine, last)

    async def wait(self, request: ScheduledRequest) -> None:
        """Wait until a request may call a network."""
        self._scheduler.ask(request)
        self._waiting[request] = waiting = asyncio.get_running_loop().create_future()
        began = self.now
        was_started = request.started
        try:
            self.pump()
            await waiting
        except BaseException:
            self._scheduler.release(request, self.now)
            raise
        finally:
            self._waiting.pop(request, None)
            if request.state is State.IDLE:
                self.pump()
        metrics.ENGINE_WAIT.observe(self.now - began)
        if not was_started:
            self._changed()

    def interrupt(self, request: ScheduledRequest, error: Exception) -> None:
        """If a request waits to call a network, let that end with an error."""
        waiting = self._waiting.get(request)
        if waiting is not None and not waiting.done():
            waiting.set_exception(error)

    def returned(self, request: ScheduledRequest, seconds: float, last: Hashable) -> None:
        """As Scheduler.returned."""
        request.last = last
        self._scheduler.returned(request, seconds, self.now)
        self.pump()

    def release(self, request: ScheduledRequest) -> None:
        """As Scheduler.release."""
        if request.state is not State.IDLE:
            self._scheduler.release(request, self.now)
            self.pump()

    def remove(self, request: ScheduledRequest) -> None:
        """As Scheduler.remove."""
        self._scheduler.remove(request, self.now)
        self.pump()
        self._changed()

    def pump(self) -> None:
        """Let those call who may."""
        for request in self._scheduler.grant(self.now):
            waiting = self._waiting.get(request)
            if waiting is None or waiting.done():  # it gave up in this moment
                self._scheduler.release(request, self.now)
            else:
                waiting.set_result(None)
        due = self._scheduler.next_time()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if due is not None:
            self._timer = asyncio.get_running_loop().call_later(max(0.0, due - self.now), self.pump)

    def _changed(self) -> None:
        for listener in self._listeners:
            listener()


class Turn:
    """One request's use of the engines."""

    def __init__(self, turns: Turns, request: ScheduledRequest, spend: Spend) -> None:
        """Created by Turns.open."""
        self.turns, self.request, self.spend = turns, request, spend
        self.waited = 0.0

    @property
    def engine(self) -> str | None:
        """Address of the engine that the request is to use now."""
        return self.request.engine

    @property
    def forecast(self) -> Forecast:
        """When the request will begin and end."""
        return self.turns.forecast()[self.request]

    async def wait(self) -> None:
        """Wait until the request may call a network; `returned` or `release` afterwards."""
        began = self.turns.now
        await self.turns.wait(self.request)
        self.waited += self.turns.now - began

    async def start(self) -> None:
        """Wait until an engine is free for the request, which is then held for its first call."""
        if not self.request.started:
            await self.wait()
            self.returned(0.0)

    def returned(self, seconds: float, last: Hashable = None) -> None:
        """A call has returned, after that many seconds; `last` is equal of calls that could share a batch."""
        self.turns.returned(self.request, seconds, last)

    def stop(self, error: Exception) -> None:
        """If the request waits for an engine, let that end with an error."""
        self.turns.interrupt(self.request, error)

    def release(self) -> None:
        """The request needs no engine for a while."""
        self.turns.release(self.request)

    def close(self) -> None:
        """The request has ended."""
        self.turns.remove(self.request)


def _keep_nothing(engines: str, seconds: float) -> None:
    """Nobody asks who used the engines."""
