"""A picture changed by the prompt, with its edges kept or not."""

import asyncio

from orchestrator.arrays import Pixels
from orchestrator.diffusion.inputs import Start
from orchestrator.diffusion.stages import Stage, Steps
from orchestrator.imaging.layers import opaque, resized, with_alpha
from orchestrator.params import EdgesParams, ImageToImage
from orchestrator.tasks.canvas import Canvas
from orchestrator.tasks.context import TaskContext, TaskResult
from orchestrator.tasks.finish import finish
from orchestrator.tasks.frame import Frame
from orchestrator.tasks.painting import Scene, Steering, cut, image_prompt, paint
from orchestrator.tasks.pictures import load, size_of
from orchestrator.tasks.plan import Plan, task_of


async def image_to_image(plan: Plan, context: TaskContext) -> TaskResult:
    """Start from the picture, as far as the strength says. Raises as tasks.run does."""
    task = task_of(plan, ImageToImage)
    return await repaint(plan, context, task.strength, task.edges, task.likeness)


async def repaint(
    plan: Plan, context: TaskContext, strength: float, edges: EdgesParams | None, likeness: float = 0.0
) -> TaskResult:
    """The picture painted over at that strength, like the pictures that came with it; what is transparent stays so."""
    async with context.stage(Stage.PREPARE):
        pictures = await load(plan, context)
        source = pictures.main
        frame = Frame.of(size_of(source), plan.size, plan.layout, context.max_pixels)
        canvas = Canvas.choose(context.family.networks.aspect_sizes, *frame.source_size)

        def scene() -> Scene:
            start = opaque(canvas.put(source))
            return Scene(
                size=canvas.size,
                start=Start(start, strength),
                image_prompt=image_prompt(pictures, likeness),
                steering=Steering.of(start, edges),
            )

        prepared = await asyncio.to_thread(scene)
        await context.begin(prepared.prepare_result)
    painted = await paint(plan, context, prepared)

    async def compose(steps: Steps) -> Pixels:
        picture = await cut(painted, canvas, frame.content_size, context, steps)
        if source.shape[2] == 3:
            return picture
        return await asyncio.to_thread(lambda: with_alpha(picture, resized(source, frame.content_size)[..., 3] / 255))

    return await finish(plan, context, frame, compose, pictures=pictures, steps=painted.steps)
