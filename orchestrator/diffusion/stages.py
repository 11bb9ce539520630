"""Stages of a request: how long each takes, and who listens to its steps."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum

from common import tracing
from orchestrator import metrics
from orchestrator.diffusion.sampling import Latents


class Stage(StrEnum):
    """Stages of a request, in order."""

    PREPARE = "prepare"
    ENCODE = "encode"
    DENOISE = "denoise"
    DECODE = "decode"
    FINISH = "finish"


@dataclass(frozen=True, slots=True)
class StepDone:
    """A step of a stage is done. `x0` is the predicted picture's latents after a denoising step, else None.

    With `tick`, no further step is done, but a network call within one: nothing to report, a chance to stop.
    """

    stage: Stage
    step: int
    total: int
    x0: Latents | None = None
    tick: bool = False


StepListener = Callable[[StepDone], Awaitable[None]]
"""Called with every step. What it raises ends the pipeline before anything more is asked of a network."""


@dataclass(frozen=True, slots=True)
class StageTime:
    """Wall time of a stage, seconds, the network calls in it, and the denoising steps that were extrapolated."""

    stage: Stage
    seconds: float
    calls: int
    skipped: int = 0


@dataclass(slots=True)
class Calls:
    """Counts the network calls, and the skipped steps, of a stage that still runs."""

    count: int = 0
    skipped: int = 0


@dataclass(slots=True)
class Timer:
    """Collects the stages of one request."""

    family: str
    _found: dict[Stage, StageTime] = field(default_factory=dict)
    _excluded: float = 0.0

    @property
    def stages(self) -> tuple[StageTime, ...]:
        """Each stage once, in the order in which they ended first; what it did several times is put together."""
        return tuple(self._found.values())

    def exclude(self, seconds: float) -> None:
        """Leave out of the stage that runs that many seconds for which it only waited."""
        self._excluded += seconds

    @asynccontextmanager
    async def stage(self, stage: Stage, calls: int = 0) -> AsyncIterator[Calls]:
        """Time what runs inside, which may count further calls; a stage that fails is not noted."""
        start, counter, excluded = time.perf_counter(), Calls(calls), self._excluded
        with tracing.span(f"stage {stage.value}"):
            yield counter
            exemplar = tracing.exemplar()
        seconds = time.perf_counter() - start - (self._excluded - excluded)
        before = self._found.get(stage, StageTime(stage, 0.0, 0))
        self._found[stage] = StageTime(
            stage, before.seconds + seconds, before.calls + counter.count, before.skipped + counter.skipped
        )
        metrics.STAGE.labels(self.family, stage.value).observe(seconds, exemplar=exemplar)


@dataclass(slots=True)
class Steps:
    """The steps of one stage: counts their network calls, and reports steps, and calls in between, to the listener."""

    listener: StepListener
    stage: Stage
    calls: Calls
    total: int = 1
    _done: int = 0
    _called: bool = False

    async def call(self) -> None:
        """Before each network call: raises what the listener raises, if the step had a call already."""
        if self._called:
            await self.listener(StepDone(self.stage, self._done, self.total, tick=True))
        self._called = True
        self.calls.count += 1

    async def done(self, x0: Latents | None = None) -> None:
        """After each step."""
        self._done, self._called = self._done + 1, False
        tracing.event("step", {"imagegen.step": self._done, "imagegen.steps": self.total})
        await self.listener(StepDone(self.stage, self._done, self.total, x0))
