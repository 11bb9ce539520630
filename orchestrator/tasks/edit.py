"""A picture without any painting."""

import asyncio

from orchestrator.arrays import Pixels
from orchestrator.diffusion.latents import Size
from orchestrator.diffusion.stages import Stage, Steps
from orchestrator.imaging import text
from orchestrator.imaging.layers import resized
from orchestrator.params import Edit, Enlargement
from orchestrator.tasks.context import PrepareResult, TaskContext, TaskResult
from orchestrator.tasks.enlarge import multiply
from orchestrator.tasks.finish import finish
from orchestrator.tasks.frame import Frame
from orchestrator.tasks.pictures import load, size_of
from orchestrator.tasks.plan import Plan, task_of


async def edit(plan: Plan, context: TaskContext) -> TaskResult:
    """Resize, cut out, put before another background. Raises as tasks.run does."""
    async with context.stage(Stage.PREPARE):
        pictures = await load(plan, context)
        frame = Frame.of(size_of(pictures.main), plan.size, plan.layout, context.max_pixels)
        await context.begin(PrepareResult((0, 0)))
    by_strokes = task_of(plan, Edit).enlargement is Enlargement.TEXT
    # Of a large result the picture's own pixels are resized once, as the file is written.
    whole = frame.is_large and not by_strokes and plan.background.remove is None and plan.faces is None

    async def compose(steps: Steps) -> Pixels:
        if whole:
            return pictures.main
        if by_strokes:
            return await _by_strokes(pictures.main, frame.content_size, context, steps)
        return await asyncio.to_thread(resized, pictures.main, frame.content_size)

    return await finish(plan, context, frame, compose, pictures=pictures)


async def _by_strokes(picture: Pixels, size: Size, context: TaskContext, steps: Steps) -> Pixels:
    """The upscaling network's enlargement, where there is one, its strokes sharpened."""
    visible = await asyncio.to_thread(text.visible_colours, picture)
    first = await multiply(visible, text.times_of(picture, size), context.tools, steps)
    return await asyncio.to_thread(text.enlarge, picture, size, first)
