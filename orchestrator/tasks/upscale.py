"""A picture enlarged, with detail painted in tile by tile."""

import asyncio

import numpy as np

from orchestrator.arrays import Pixels
from orchestrator.diffusion.latents import Size
from orchestrator.diffusion.pipeline import Stage, Start
from orchestrator.diffusion.stages import Steps
from orchestrator.imaging.boxes import Box
from orchestrator.imaging.layers import opaque, resized, with_alpha
from orchestrator.imaging.tone import match_low_frequencies
from orchestrator.models.tables import NetworkTable
from orchestrator.params import Upscale
from orchestrator.tasks.canvas import Canvas
from orchestrator.tasks.enlarge import enlarge
from orchestrator.tasks.finish import finish
from orchestrator.tasks.frame import Frame, contained
from orchestrator.tasks.limits import GENERATION_SIDE, source_blend, upscale_strength
from orchestrator.tasks.painting import Scene, paint
from orchestrator.tasks.pictures import load, size_of
from orchestrator.tasks.plan import Plan, task_of
from orchestrator.tasks.workshop import Made, Workshop


async def upscale(plan: Plan, workshop: Workshop) -> Made:
    """Enlarge plainly, paint detail in, and enlarge the rest plainly. Raises as tasks.run does."""
    task = task_of(plan, Upscale)
    async with workshop.stage(Stage.PREPARE) as steps:
        pictures = await load(plan, workshop)
        source = pictures.main
        frame = Frame.of(size_of(source), plan.size, plan.layout, workshop.max_pixels)
        size = generation_size(frame.made)
        plain = await enlarge(await asyncio.to_thread(opaque, source), size, workshop.tools, steps)
        canvas = around(size, workshop.family.networks)
        start = Start(await asyncio.to_thread(canvas.put, plain), upscale_strength(task.fidelity))
        scene = Scene(size=canvas.size, start=start)
        workshop.begin(scene.begun)
    painted = await paint(plan, workshop, scene)

    async def compose(steps: Steps) -> Pixels:
        share = source_blend(task.fidelity)
        detailed = await asyncio.to_thread(lambda: _joined(canvas.cut(painted.pixels, size), plain, share))
        picture = await enlarge(detailed, frame.made, workshop.tools, steps)
        if source.shape[2] == 3:
            return picture
        return await asyncio.to_thread(lambda: with_alpha(picture, resized(source, frame.made)[..., 3] / 255))

    return await finish(plan, workshop, frame, compose, pictures=pictures, steps=painted.steps)


def _joined(painted: Pixels, plain: Pixels, share: float) -> Pixels:
    """What was painted with the picture's own colours and light, and as much of the picture itself as fidelity asks."""
    detailed = match_low_frequencies(painted, plain).astype(np.float32)
    return np.asarray(np.rint(detailed + np.float32(share) * (plain - detailed)), np.uint8)


def generation_size(made: Size) -> Size:
    """The size at which detail is painted: the result's own, or what of its ratio fits into GENERATION_SIDE."""
    return made if max(made) <= GENERATION_SIDE else contained(made, (GENERATION_SIDE, GENERATION_SIDE))


def around(size: Size, table: NetworkTable) -> Canvas:
    """A picture in the middle of the least size at which the UNet paints it: whole tiles, multiples of its grain."""
    width, height = (
        max(tile, -(-side // table.grain) * table.grain) for side, tile in zip(size, table.tile_size, strict=True)
    )
    return Canvas((width, height), Box((width - size[0]) // 2, (height - size[1]) // 2, *size))
