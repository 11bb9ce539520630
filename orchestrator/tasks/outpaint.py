"""A picture continued beyond its borders."""

import asyncio

import numpy as np

from orchestrator.arrays import Pixels
from orchestrator.diffusion.inputs import Start
from orchestrator.diffusion.latents import Size
from orchestrator.diffusion.stages import Stage, Steps
from orchestrator.errors import InvalidRequestError, Violation
from orchestrator.imaging import masks
from orchestrator.imaging.boxes import Box
from orchestrator.imaging.layers import opaque, resized, with_alpha
from orchestrator.imaging.masks import Mask
from orchestrator.imaging.tone import match_around
from orchestrator.params import LayoutParams, Outpaint
from orchestrator.tasks.canvas import Canvas
from orchestrator.tasks.context import TaskContext, TaskResult
from orchestrator.tasks.finish import finish
from orchestrator.tasks.frame import Frame, contained, room
from orchestrator.tasks.painting import Scene, Steering, cut, paint
from orchestrator.tasks.pictures import load, size_of
from orchestrator.tasks.plan import Plan, task_of

STRENGTH = 0.95
"""Not 1, so that the border's colours, spread over what is to be painted, are still felt at the first step."""
BLUR = 16
"""The start is blurred, where it is to be painted, by this many pixels of the network."""
MATCH_REACH = 8
"""Colours and light are matched to the old picture's along this many times the feather."""
FEATHER_SHARE = 1 / 32
"""Part of the picture's shorter side along which the old picture fades into the new one."""


async def outpaint(plan: Plan, context: TaskContext) -> TaskResult:
    """Put the picture into the middle, and paint around it. Raises as tasks.run does."""
    task = task_of(plan, Outpaint)
    async with context.stage(Stage.PREPARE):
        pictures = await load(plan, context)
        result = Frame.of(size_of(pictures.main), plan.size, LayoutParams(), context.max_pixels)
        frame, layout = result.reduced(plan.layout)
        box = place(frame, layout)
        feather = max(1, round(FEATHER_SHARE * min(box.width, box.height)))
        canvas = Canvas.choose(context.family.networks.aspect_sizes, *frame.output_size)

        def work() -> tuple[Pixels, Mask, Scene]:
            whole = spread(resized(pictures.main, (box.width, box.height)), frame.output_size, box)
            mask = masks.outpainting_mask(frame.output_size, box, feather)
            start, small_mask = canvas.put(opaque(whole)), canvas.put_mask(mask)
            start = _blurred(start, small_mask)
            scene = Scene(
                size=canvas.size,
                start=Start(start, STRENGTH),
                mask=small_mask,
                steering=Steering.of(start, task.edges),
            )
            return whole, mask, scene

        whole, mask, scene = await asyncio.to_thread(work)
        await context.begin(scene.prepare_result)
    painted = await paint(plan, context, scene)

    async def compose(steps: Steps) -> Pixels:
        new = await cut(painted, canvas, frame.output_size, context, steps)
        return await asyncio.to_thread(laid, new)

    def laid(new: Pixels) -> Pixels:
        known = mask < masks.CHANGED
        matched = match_around(new, opaque(whole), known, MATCH_REACH * feather)
        result = matched if whole.shape[2] == 3 else with_alpha(matched)
        within = box.rows, box.columns
        result[within] = masks.blend(whole[within], result[within], mask[within], feather)
        return result

    result = Frame.scaled(result.source_size, result.output_size, result.output_size)
    return await finish(plan, context, result, compose, pictures=pictures, steps=painted.steps)


def place(frame: Frame, layout: LayoutParams) -> Box:
    """Where the picture is placed: in the middle, as large as it is or as it fits.

    Raises:
        InvalidRequestError: nothing is left to be painted, or no room for the picture.
    """
    (width, height), inner = frame.output_size, room(frame.output_size, layout)
    source = frame.source_size
    size = source if source[0] <= inner[0] and source[1] <= inner[1] else contained(source, inner)
    if size == frame.output_size:
        text = f"{width} x {height} leaves nothing to paint around a picture of {source[0]} x {source[1]}"
        raise InvalidRequestError(Violation("size", text))
    return Box((width - size[0]) // 2, (height - size[1]) // 2, *size)


def spread(picture: Pixels, size: Size, box: Box) -> Pixels:
    """The picture in its box, its outermost pixels repeated around it."""
    width, height = size
    return np.pad(picture, ((box.top, height - box.bottom), (box.left, width - box.right), (0, 0)), mode="edge")


def _blurred(start: Pixels, mask: Mask) -> Pixels:
    """The start with what is to be painted blurred: streaks of single pixels would be taken for content."""
    size = size_of(start)
    small = max(1, size[0] // BLUR), max(1, size[1] // BLUR)
    return np.where(mask[..., None] >= masks.CHANGED, resized(resized(start, small), size), start)
