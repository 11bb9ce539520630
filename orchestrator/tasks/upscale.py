"""A picture enlarged, with detail painted in tile by tile."""

import asyncio
from dataclasses import dataclass

import numpy as np

from orchestrator.arrays import Pixels
from orchestrator.diffusion.inputs import Start
from orchestrator.diffusion.latents import Size
from orchestrator.diffusion.stages import Stage, Steps
from orchestrator.imaging.boxes import Box
from orchestrator.imaging.layers import opaque, resized, with_alpha
from orchestrator.imaging.tone import match_low_frequencies
from orchestrator.models.tables import NetworkTable
from orchestrator.params import Upscale
from orchestrator.tasks.canvas import Canvas
from orchestrator.tasks.context import PrepareResult, TaskContext, TaskResult
from orchestrator.tasks.enlarge import enlarge
from orchestrator.tasks.finish import finish
from orchestrator.tasks.frame import Frame, contained
from orchestrator.tasks.limits import GENERATION_SIDE, kept_share, source_blend, upscale_strength
from orchestrator.tasks.painting import Scene, paint
from orchestrator.tasks.pictures import load, size_of
from orchestrator.tasks.plan import Plan, task_of

BORDER = 64
"""Pixels of its own reflection, at least, that the networks see around a picture: what they do at the border of what
they see, where they pad with zeros, stays outside the result."""


async def upscale(plan: Plan, context: TaskContext) -> TaskResult:
    """Enlarge plainly and paint detail in, as much as the family's `upscale_detail` says. Raises as tasks.run does."""
    task = task_of(plan, Upscale)
    async with context.stage(Stage.PREPARE) as steps:
        pictures = await load(plan, context)
        frame = Frame.of(size_of(pictures.main), plan.size, plan.layout, context.max_pixels)
        painting = None
        if context.family.upscale_detail:
            painting = await _prepare(context, pictures.main, generation_size(frame.content_size), task, steps)
        await context.begin(painting.scene.prepare_result if painting else PrepareResult((0, 0)))
    painted = await paint(plan, context, painting.scene) if painting else None
    share = 1 - context.family.upscale_detail * (1 - source_blend(task.fidelity))

    async def compose(steps: Steps) -> Pixels:
        if painting is None or painted is None:
            plain, kept = await asyncio.to_thread(opaque, pictures.main), kept_share(task.fidelity)
            picture = await enlarge(plain, frame.content_size, context.tools, steps, kept=kept)
        else:
            detailed = await asyncio.to_thread(painting.joined, painted.pixels, share)
            picture = await enlarge(detailed, frame.content_size, context.tools, steps)
        return await _with_opacity(picture, pictures.main, frame)

    return await finish(plan, context, frame, compose, pictures=pictures, steps=painted.steps if painted else 0)


@dataclass(frozen=True, slots=True)
class _Painting:
    """What detail is painted into: the plain enlargement, and where it is on the canvas that the network sees."""

    plain: Pixels
    canvas: Canvas
    scene: Scene

    def joined(self, painted: Pixels, share: float) -> Pixels:
        """What was painted with the picture's own colours and light, and this share of the plain enlargement."""
        detail = self.canvas.cut(painted, size_of(self.plain))
        detailed = match_low_frequencies(detail, self.plain).astype(np.float32)
        return np.asarray(np.rint(detailed + np.float32(share) * (self.plain - detailed)), np.uint8)


async def _prepare(context: TaskContext, picture: Pixels, size: Size, task: Upscale, steps: Steps) -> _Painting:
    """The picture at the size that has most detail and is allowed; what is larger is enlarged plainly from there."""
    family = context.family
    plain = await enlarge(await asyncio.to_thread(opaque, picture), size, context.tools, steps)
    canvas = around(size, family.networks)
    strength = family.upscale_detail * upscale_strength(task.fidelity)
    start = Start(await asyncio.to_thread(canvas.put, plain), strength)
    return _Painting(plain, canvas, Scene(size=canvas.size, start=start))


async def _with_opacity(picture: Pixels, source: Pixels, frame: Frame) -> Pixels:
    if source.shape[2] == 3:
        return picture
    return await asyncio.to_thread(lambda: with_alpha(picture, resized(source, frame.content_size)[..., 3] / 255))


def generation_size(size: Size) -> Size:
    """The size at which detail is painted: the result's own, or what of its ratio fits into GENERATION_SIDE."""
    return size if max(size) <= GENERATION_SIDE else contained(size, (GENERATION_SIDE, GENERATION_SIDE))


def around(size: Size, table: NetworkTable) -> Canvas:
    """A picture in the middle of the least size at which the UNet paints it, its reflection around it.

    That is whole tiles, in multiples of the UNet's grain.
    """
    width, height = (
        max(tile, -(-(side + 2 * BORDER) // table.grain) * table.grain)
        for side, tile in zip(size, table.tile_size, strict=True)
    )
    return Canvas((width, height), Box((width - size[0]) // 2, (height - size[1]) // 2, *size))
