"""A picture from text alone."""

from contextlib import nullcontext

from orchestrator.arrays import Pixels
from orchestrator.diffusion.latents import choose_aspect_size
from orchestrator.diffusion.stages import Stage, Steps
from orchestrator.params import LayoutParams, SizeParams
from orchestrator.tasks.context import TaskContext, TaskResult
from orchestrator.tasks.finish import finish
from orchestrator.tasks.frame import Frame
from orchestrator.tasks.painting import Scene, cover, paint
from orchestrator.tasks.pictures import load
from orchestrator.tasks.plan import Plan, text_size


async def text_to_image(plan: Plan, context: TaskContext) -> TaskResult:
    """Paint at the nearest of the family's sizes, and cover the size that was asked for. Raises as tasks.run does."""
    size = text_size(plan.size, context.family)
    frame = Frame.of(size, SizeParams(), LayoutParams(), context.max_pixels)
    scene = Scene(size=choose_aspect_size(context.family.networks.aspect_sizes, *size))
    async with context.stage(Stage.PREPARE) if plan.sources else nullcontext():
        pictures = await load(plan, context)
    await context.begin(scene.prepare_result)
    painted = await paint(plan, context, scene)

    async def compose(steps: Steps) -> Pixels:
        return await cover(painted, frame.content_size, context, steps)

    return await finish(plan, context, frame, compose, pictures=pictures, steps=painted.steps)
