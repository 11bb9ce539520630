"""What every task works with: networks, a way to fetch pictures, limits, and listeners."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from orchestrator.decoding.decoders import Decoders
from orchestrator.diffusion.latents import Size
from orchestrator.diffusion.pipeline import Pipeline
from orchestrator.diffusion.stages import Stage, StepListener, Steps, Timer
from orchestrator.errors import EngineUnavailableError
from orchestrator.imaging.codec import Encoded
from orchestrator.imaging.decode import DecodeLimits
from orchestrator.models.contracts import Networks
from orchestrator.models.families import Family
from orchestrator.models.source import ModelDigest
from orchestrator.models.tools import Tools
from orchestrator.params import SamplerName
from orchestrator.provenance.marking import Marking
from orchestrator.tasks.budget import JobMemory

Fetch = Callable[[str, str], Awaitable[bytes]]
"""The file behind a URL; the second is the request's field that errors name."""


@dataclass(frozen=True, slots=True)
class PrepareResult:
    """What a task has decided when it has read the pictures.

    Attributes:
        network_size: at which the networks work, pixels; (0, 0) where nothing is painted.
        edges: Canny's low and high threshold, where edges steer.
    """

    network_size: Size
    edges: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class TaskResult:
    """A finished picture.

    Attributes:
        encoded: its file.
        width, height: pixels.
        steps: denoising steps that were walked; 0 where nothing was painted.
        sampler: that walked them.
        nsfw_score: what the safety filter gave; None if it was not asked.
        filtered: whether it put the replacement in the place of the picture.
    """

    encoded: Encoded
    width: int
    height: int
    steps: int
    sampler: SamplerName | None
    nsfw_score: float | None = None
    filtered: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskContext:
    """What a task works with, for one request.

    Attributes:
        family: that paints.
        pipeline: the family's.
        networks: the family's; None while they are not ready, which only tasks that do not paint can do with.
        tools: networks of no family.
        fetch: gets pictures.
        memory: the request's share of the memory for pictures.
        decoders: read pictures.
        limits: of pictures that are read.
        max_input_bytes: of a file that is fetched.
        max_pixels: of generated pictures.
        listener: called with every step; what it raises ends the work.
        timer: of the stages.
        begin: called once, when the pictures have been read; returns when an engine is free for the request.
        marking: how files are marked.
        models: the networks that have taken part so far.
    """

    family: Family
    pipeline: Pipeline
    networks: Networks | None
    tools: Tools
    fetch: Fetch
    memory: JobMemory
    decoders: Decoders
    limits: DecodeLimits
    max_input_bytes: int
    max_pixels: int
    listener: StepListener
    timer: Timer
    begin: Callable[[PrepareResult], Awaitable[None]]
    marking: Marking
    models: Callable[[], tuple[ModelDigest, ...]]

    @property
    def painting(self) -> Networks:
        """The family's networks.

        Raises:
            EngineUnavailableError: they are not ready.
        """
        if self.networks is None:
            raise EngineUnavailableError(f"the networks of family {self.family.name!r} are not ready")
        return self.networks

    @asynccontextmanager
    async def stage(self, stage: Stage) -> AsyncIterator[Steps]:
        """A stage of the task's own, which is one step. What runs inside reports its network calls."""
        async with self.timer.stage(stage) as calls:
            steps = Steps(self.listener, stage, calls)
            yield steps
        await steps.done()
