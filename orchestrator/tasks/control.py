"""A picture that keeps another's edges; or a picture from a drawing, or from a control picture as it is."""

import asyncio
from collections.abc import Callable
from functools import partial

import numpy as np

from orchestrator.arrays import Pixels
from orchestrator.diffusion.inputs import Control as PipelineControl
from orchestrator.diffusion.stages import Stage, Steps
from orchestrator.imaging.edges import Edges, canny, drawing_edges
from orchestrator.imaging.layers import opaque, resized
from orchestrator.params import Control, EdgesParams
from orchestrator.tasks.canvas import Canvas
from orchestrator.tasks.context import TaskContext, TaskResult
from orchestrator.tasks.finish import finish
from orchestrator.tasks.frame import Frame
from orchestrator.tasks.image_to_image import repaint
from orchestrator.tasks.kinds import is_client_supplied
from orchestrator.tasks.painting import Scene, Steering, cut, paint
from orchestrator.tasks.pictures import load, size_of
from orchestrator.tasks.plan import Plan, task_of

Steer = Callable[[Pixels, Canvas], Steering]
"""The client's picture, and where it is placed at the network, to what steers."""


async def control(plan: Plan, context: TaskContext) -> TaskResult:
    """Start from the picture and its edges; or from noise, steered by a drawing's edges or a picture as it is.

    Raises as tasks.run does.
    """
    task = task_of(plan, Control)
    if is_client_supplied(context.family.networks.control_kinds[plan.control_kind]):
        return await _from_noise(plan, context, partial(_as_it_is, scale=task.edges.scale))
    if task.edges_only:
        return await _from_noise(plan, context, partial(_by_drawing, wanted=task.edges))
    return await repaint(plan, context, task.effective_strength, task.edges)


async def _from_noise(plan: Plan, context: TaskContext, steer: Steer) -> TaskResult:
    async with context.stage(Stage.PREPARE):
        pictures = await load(plan, context)
        frame = Frame.of(size_of(pictures.main), plan.size, plan.layout, context.max_pixels)
        canvas = Canvas.choose(context.family.networks.aspect_sizes, *frame.source_size)
        steering = await asyncio.to_thread(steer, pictures.main, canvas)
        prepared = Scene(size=canvas.size, steering=steering)
        await context.begin(prepared.prepare_result)
    painted = await paint(plan, context, prepared)

    async def compose(steps: Steps) -> Pixels:
        return await cut(painted, canvas, frame.content_size, context, steps)

    return await finish(plan, context, frame, compose, pictures=pictures, steps=painted.steps)


def _as_it_is(picture: Pixels, canvas: Canvas, scale: float) -> Steering:
    """The picture's own colours in [0, 1]: what it shows (depth, a pose) is the client's business."""
    shown = canvas.put(opaque(picture))
    image = np.ascontiguousarray(shown.transpose(2, 0, 1), np.float32) / np.float32(255)
    return Steering(PipelineControl(image, scale))


def _by_drawing(drawing: Pixels, canvas: Canvas, wanted: EdgesParams) -> Steering:
    edges = _edges(drawing, (canvas.box.width, canvas.box.height), wanted)
    return Steering.by(Edges(canvas.put_edges(edges.image), edges.low, edges.high), wanted.scale)


def _edges(drawing: Pixels, size: tuple[int, int], wanted: EdgesParams) -> Edges:
    """Lines and outlines; Canny's edges alone where the client names their thresholds."""
    if wanted.low_threshold is None:
        return drawing_edges(drawing, size)
    return canny(resized(drawing, size), wanted.low_threshold, wanted.high_threshold)
