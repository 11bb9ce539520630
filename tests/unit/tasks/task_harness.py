"""A place where tasks run over fakes: a family with every network, pictures made here, results as arrays."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from orchestrator.arrays import Pixels
from orchestrator.decoding.decoders import Decoders
from orchestrator.diffusion.inputs import PipelineInputs
from orchestrator.diffusion.pipeline import Pipeline
from orchestrator.diffusion.stages import StepDone, Timer
from orchestrator.imaging.decode import DecodeLimits
from orchestrator.models.fakes import FakeNetworks
from orchestrator.models.families import Families
from orchestrator.params import ImageSource, RequestParams, Task
from orchestrator.provenance.marking import Marking
from orchestrator.tasks.budget import Budgets, JobMemory
from orchestrator.tasks.context import PrepareResult, TaskContext, TaskResult
from orchestrator.tasks.plan import Plan, plan, with_prompts
from orchestrator.tasks.run import run
from tests.unit.orchestrator.world import DECODING, FAMILIES, params, write_families

EVERYTHING = (
    FAMILIES.replace(
        'vae_decoder = "small_vae_decoder"',
        """vae_decoder = "small_vae_decoder"
vae_encoder = "small_vae_encoder"
controlled_unet = "small_unet"
image_encoder = "small_image_encoder"
""",
    )
    + """
[tools]
matting = "matting"
face_detector = "face_detector"
face_landmarks = "face_landmarks"
upscaler = "upscaler"
nsfw = "nsfw"
"""
)


@dataclass
class TaskHarness:
    """Runs tasks, and keeps what was reported on the way.

    Attributes:
        files: pictures by URL.
        networks: the fakes; None if the family's are not ready.
        prepared: what tasks reported when they started.
        steps: what the listener got.
        scenes: what the pipeline was given.
        stop_at: called with each step; what it raises ends the work.
        budgets: of memory.
    """

    family_text: str
    folder: Path
    fakes: FakeNetworks = field(default_factory=FakeNetworks)
    files: dict[str, bytes] = field(default_factory=dict)
    prepared: list[PrepareResult] = field(default_factory=list)
    steps: list[StepDone] = field(default_factory=list)
    scenes: list[PipelineInputs] = field(default_factory=list)
    timer: Timer = field(default_factory=lambda: Timer("small"))
    stop_at: Callable[[StepDone], object] = lambda _: None
    max_pixels: int = 4096 * 4096
    ready: bool = True
    budgets: Budgets = field(default_factory=lambda: Budgets.of(1 << 30, 1 << 32))
    marking: Marking = field(default_factory=lambda: Marking(version="1.2.3"))

    async def plan(self, task: Task, **fields: Any) -> Plan:
        """A plan of the small family; `fields` are those of RequestParams."""
        registry = Families.load(write_families(self.folder, self.family_text))
        family = registry.get(None)
        pipeline, asked = Pipeline(family, registry.folder), params(task=task, **fields)
        return await with_prompts(plan(asked, family, pipeline), asked, family, pipeline)

    async def run(self, task: Task, **fields: Any) -> TaskResult:
        """The picture of a task."""
        registry = Families.load(write_families(self.folder, self.family_text))
        family = registry.get(None)
        pipeline = _Recording(family, registry.folder)
        pipeline.scenes = self.scenes
        with self.budgets.job(_forever) as memory:
            return await run(await self.plan(task, **fields), self._task_context(family, pipeline, memory))

    async def picture(self, task: Task, **fields: Any) -> Pixels:
        """The picture of a task as an array, RGB or RGBA; its size is what was reported."""
        result = await self.run(task, **fields)
        pixels = opened(result.encoded.data)
        assert pixels.shape[:2] == (result.height, result.width)
        return pixels

    def _task_context(self, family: Any, pipeline: Pipeline, memory: JobMemory) -> TaskContext:
        async def fetch(url: str, _: str) -> bytes:
            return self.files[url]

        async def listener(done: StepDone) -> None:
            self.steps.append(done)
            self.stop_at(done)

        async def begin(prepared: PrepareResult) -> None:
            self.prepared.append(prepared)

        return TaskContext(
            family=family,
            pipeline=pipeline,
            networks=self.fakes.networks("small") if self.ready else None,
            tools=self.fakes.tools(),
            fetch=fetch,
            memory=memory,
            decoders=Decoders(DECODING, at_once=2, seconds=60),
            limits=DecodeLimits(),
            max_input_bytes=1 << 25,
            max_pixels=self.max_pixels,
            listener=listener,
            timer=self.timer,
            begin=begin,
            marking=self.marking,
            models=lambda: (),
        )


async def _forever(waiting: Awaitable[None]) -> None:
    """Nobody stops these jobs."""
    await waiting


class _Recording(Pipeline):
    """Keeps what it was given."""

    scenes: list[PipelineInputs]

    async def run(self, networks: Any, inputs: PipelineInputs, listener: Any, timer: Any) -> Any:
        """See Pipeline.run."""
        self.scenes.append(inputs)
        return await super().run(networks, inputs, listener, timer)


def source(picture: Pixels) -> ImageSource:
    """A picture as a request brings it."""
    return ImageSource(data=png(picture))


def png(picture: Pixels) -> bytes:
    """A picture's file; RGB, RGBA or grey."""
    code = {2: None, 3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}[picture.shape[2] if picture.ndim == 3 else 2]
    ok, data = cv2.imencode(".png", picture if code is None else cv2.cvtColor(picture, code))
    assert ok
    return data.tobytes()


def opened(data: bytes) -> Pixels:
    """A file's picture, RGB or RGBA."""
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert picture is not None
    code = cv2.COLOR_BGR2RGB if picture.shape[2] == 3 else cv2.COLOR_BGRA2RGBA
    return np.asarray(cv2.cvtColor(picture, code), np.uint8)


def noise(width: int, height: int, channels: int = 3, seed: int = 1) -> Pixels:
    """A picture in which no two places are alike."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)


def scene(width: int, height: int, *, item: tuple[int, int, int, int] | None = None) -> Pixels:
    """A light background; a dark, textured item at (left, top, width, height)."""
    picture = np.full((height, width, 3), 240, np.uint8)
    if item is not None:
        left, top, item_width, item_height = item
        picture[top : top + item_height, left : left + item_width] = noise(item_width, item_height) // 8
    return picture


def request(task: Task, **fields: Any) -> RequestParams:
    """See world.params."""
    return params(task=task, **fields)
