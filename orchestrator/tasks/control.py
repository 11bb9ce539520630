"""A picture that keeps another's edges; or a picture from a drawing, of which the edges are all that counts."""

import asyncio

from orchestrator.diffusion.latents import Pixels
from orchestrator.diffusion.pipeline import Stage
from orchestrator.imaging.edges import Edges, canny, drawing_edges
from orchestrator.imaging.layers import resized
from orchestrator.params import Control, EdgesParams
from orchestrator.tasks.canvas import Canvas
from orchestrator.tasks.finish import finish, in_thread
from orchestrator.tasks.frame import Frame
from orchestrator.tasks.image_to_image import repaint
from orchestrator.tasks.painting import Scene, Steering, paint
from orchestrator.tasks.pictures import load, size_of
from orchestrator.tasks.plan import Plan, task_of
from orchestrator.tasks.workshop import Made, Workshop


async def control(plan: Plan, workshop: Workshop) -> Made:
    """Start from the picture and its edges, or from the drawing's edges alone. Raises as tasks.run does."""
    task = task_of(plan, Control)
    if task.edges_only:
        return await _from_drawing(plan, workshop, task.edges)
    return await repaint(plan, workshop, task.walked_strength, task.edges)


async def _from_drawing(plan: Plan, workshop: Workshop, wanted: EdgesParams) -> Made:
    async with workshop.stage(Stage.PREPARE):
        pictures = await load(plan, workshop)
        frame = Frame.of(size_of(pictures.main), plan.size, plan.layout, workshop.max_pixels)
        canvas = Canvas.choose(workshop.family.networks.buckets, *frame.own)

        def scene() -> Scene:
            edges = _edges(pictures.main, (canvas.box.width, canvas.box.height), wanted)
            whole = Edges(canvas.put_edges(edges.image), edges.low, edges.high)
            return Scene(size=canvas.size, steering=Steering.by(whole, wanted.scale))

        prepared = await asyncio.to_thread(scene)
        workshop.begin(prepared.begun)
    painted = await paint(plan, workshop, prepared)
    return await finish(
        plan,
        workshop,
        frame,
        in_thread(lambda: canvas.cut(painted.pixels, frame.made)),
        pictures=pictures,
        steps=painted.steps,
    )


def _edges(drawing: Pixels, size: tuple[int, int], wanted: EdgesParams) -> Edges:
    """Lines and outlines; Canny's edges alone where the client names their thresholds."""
    if wanted.low_threshold is None:
        return drawing_edges(drawing, size)
    return canny(resized(drawing, size), wanted.low_threshold, wanted.high_threshold)
