"""What tasks hand to the pipeline, and what they keep of it."""

import asyncio
from dataclasses import dataclass, replace

from orchestrator.arrays import Pixels
from orchestrator.diffusion.inputs import Control, ImagePrompt, PipelineInputs, Start
from orchestrator.diffusion.latents import Size
from orchestrator.diffusion.stages import Steps
from orchestrator.imaging import geometry
from orchestrator.imaging.edges import Edges, canny, control_picture
from orchestrator.imaging.layers import opaque, resized
from orchestrator.imaging.masks import Mask
from orchestrator.params import EdgesParams
from orchestrator.tasks.canvas import Canvas
from orchestrator.tasks.context import PrepareResult, TaskContext
from orchestrator.tasks.enlarge import grow
from orchestrator.tasks.frame import covering
from orchestrator.tasks.pictures import Pictures, size_of
from orchestrator.tasks.plan import Plan


@dataclass(frozen=True, slots=True)
class Steering:
    """A picture that steers, and its thresholds if it is one of edges. Its kind is the plan's."""

    control: Control | None = None
    thresholds: tuple[float, float] | None = None

    @classmethod
    def by(cls, edges: Edges, scale: float) -> "Steering":
        """By an edge picture of the network's size."""
        size = edges.image.shape[1], edges.image.shape[0]
        return cls(Control(control_picture(edges.image, size), scale), (edges.low, edges.high))

    @classmethod
    def of(cls, start: Pixels, wanted: EdgesParams | None) -> "Steering":
        """By Canny's edges of a picture of the network's size; by none where none are wanted."""
        if wanted is None:
            return cls()
        return cls.by(canny(start, wanted.low_threshold, wanted.high_threshold), wanted.scale)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What is to be painted.

    Attributes:
        size: of the network, pixels.
        start, mask, image_prompt: see PipelineInputs.
        steering: by a picture.
    """

    size: Size
    start: Start | None = None
    mask: Mask | None = None
    image_prompt: ImagePrompt | None = None
    steering: Steering = Steering()

    @property
    def prepare_result(self) -> PrepareResult:
        """What is reported before it is painted."""
        return PrepareResult(self.size, self.steering.thresholds)


@dataclass(frozen=True, slots=True)
class Painted:
    """What the network generated: uint8 (H, W, 3) of the scene's size, and the number of steps."""

    pixels: Pixels
    steps: int


def image_prompt(pictures: Pictures, likeness: float) -> ImagePrompt | None:
    """The pictures that steer, next to the one that a task starts from; None without one. Call it in a thread."""
    others = tuple(map(opaque, pictures.others))
    return ImagePrompt(others[0], likeness, more=others[1:]) if others else None


async def paint(plan: Plan, context: TaskContext, scene: Scene) -> Painted:
    """Run the pipeline. Raises what Pipeline.run raises."""
    control = scene.steering.control
    inputs = PipelineInputs(
        prompt_ids=plan.prompt_ids,
        negative_ids=plan.negative_ids,
        size=scene.size,
        seed=plan.seed,
        sampler=plan.sampler,
        steps=plan.steps,
        guidance_scale=plan.guidance_scale,
        guidance=plan.guidance,
        skip_tolerance=plan.skip_tolerance,
        start=scene.start,
        mask=scene.mask,
        control=None if control is None else replace(control, kind=plan.control_kind),
        image_prompt=scene.image_prompt,
        prompt_weights=plan.prompt_weights,
        negative_weights=plan.negative_weights,
        clip_skip=plan.clip_skip,
    )
    pixels = await context.pipeline.run(context.painting, inputs, context.listener, context.timer)
    return Painted(pixels, context.pipeline.steps_walked(inputs))


async def cover(painted: Painted, size: Size, context: TaskContext, steps: Steps) -> Pixels:
    """What was painted, as large as it must be to cover `size`, its middle. Raises as enlarge.grow does."""
    grown = await grow(painted.pixels, covering(size_of(painted.pixels), size), context.tools, steps)
    return await asyncio.to_thread(geometry.cover, grown, *size)


async def cut(painted: Painted, canvas: Canvas, size: Size, context: TaskContext, steps: Steps) -> Pixels:
    """The picture's part of what was painted, at `size`. Raises as enlarge.grow does."""
    part = painted.pixels[canvas.box.rows, canvas.box.columns]
    grown = await grow(part, size, context.tools, steps)
    return await asyncio.to_thread(resized, grown, size)
