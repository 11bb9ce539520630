"""A part of a picture painted again."""

import asyncio

import numpy as np

from orchestrator.arrays import Pixels
from orchestrator.diffusion.inputs import Start
from orchestrator.diffusion.latents import Size
from orchestrator.diffusion.stages import Stage, Steps
from orchestrator.errors import PreconditionError, Reason, Violation
from orchestrator.imaging import masks
from orchestrator.imaging.boxes import Box
from orchestrator.imaging.layers import opaque, resized, with_alpha
from orchestrator.imaging.masks import Mask
from orchestrator.imaging.tone import match_around
from orchestrator.params import Fit, Inpaint
from orchestrator.tasks.canvas import Canvas
from orchestrator.tasks.context import TaskContext, TaskResult
from orchestrator.tasks.finish import finish
from orchestrator.tasks.frame import Frame
from orchestrator.tasks.painting import Scene, Steering, cut, image_prompt, paint
from orchestrator.tasks.pictures import load, size_of
from orchestrator.tasks.plan import Plan, task_of

MATCH_REACH = 4
"""Colours and light are matched to the old picture's along this many times the width of the blend."""
SURROUNDINGS = 2
"""The part of the picture that the network sees is this many times as wide and high as the masked part."""


async def inpaint(plan: Plan, context: TaskContext) -> TaskResult:
    """Paint where the mask is white, and leave every other pixel as it is. Raises as tasks.run does."""
    task = task_of(plan, Inpaint)
    async with context.stage(Stage.PREPARE):
        pictures = await load(plan, context)
        frame = Frame.of(size_of(pictures.main), plan.size, plan.layout, context.max_pixels)
        sizes = context.family.networks.aspect_sizes

        def work() -> tuple[Pixels, Mask, Box, Canvas, Scene]:
            whole, mask = resized(pictures.main, frame.content_size), _mask(task, pictures.mask, frame.content_size)
            part = seen(mask, max(map(min, sizes)))
            canvas = Canvas.choose(sizes, part.width, part.height)
            start = opaque(canvas.put(whole[part.rows, part.columns]))
            scene = Scene(
                size=canvas.size,
                start=Start(start, task.strength),
                mask=canvas.put_mask(mask[part.rows, part.columns]),
                image_prompt=image_prompt(pictures, task.likeness),
                steering=Steering.of(start, task.edges),
            )
            return whole, mask, part, canvas, scene

        whole, mask, part, canvas, scene = await asyncio.to_thread(work)
        await context.begin(scene.prepare_result)
    painted = await paint(plan, context, scene)

    under = pictures.main if _keeps_own_pixels(plan, frame, pictures.main) else None

    async def compose(steps: Steps) -> Pixels:
        new = await cut(painted, canvas, (part.width, part.height), context, steps)
        return await asyncio.to_thread(laid, new)

    def laid(new: Pixels) -> Pixels:
        result = put_back(whole, new, mask, part, band(mask, part, canvas))
        return result if under is None else with_alpha(result, (mask >= masks.CHANGED).astype(np.float32))

    return await finish(plan, context, frame, compose, pictures=pictures, steps=painted.steps, under=under)


def _keeps_own_pixels(plan: Plan, frame: Frame, source: Pixels) -> bool:
    """Whether a large picture's own pixels are laid under what was painted, which is smaller."""
    as_it_is = plan.background.remove is None and plan.faces is None and plan.layout.fit is not Fit.CROP
    return frame.is_large and as_it_is and source.shape[2] == 3


def seen(mask: Mask, least: int) -> Box:
    """The masked part with its surroundings, at least `least` pixels wide and high where the picture is."""
    height, width = mask.shape
    spans = []
    for axis, side in ((0, width), (1, height)):
        changed = np.flatnonzero((mask >= masks.CHANGED).any(axis=axis))
        first, last = int(changed[0]), int(changed[-1]) + 1
        length = min(side, max(SURROUNDINGS * (last - first), least))
        spans.append((min(max(0, (first + last - length) // 2), side - length), length))
    (left, box_width), (top, box_height) = spans
    return Box(left, top, box_width, box_height)


def band(mask: Mask, part: Box, canvas: Canvas) -> int:
    """Pixels of the blend: one latent's worth, and at most a quarter of the way to the middle of what is masked."""
    latent = 8 * max(part.width / canvas.box.width, part.height / canvas.box.height)
    far = max(mask.shape)
    depth = float(masks.blend_weights(mask, far).max()) * (far + 1)
    return int(max(1, round(min(latent, depth / 4))))


def put_back(whole: Pixels, new: Pixels, mask: Mask, part: Box, width: int) -> Pixels:
    """`new` in its part of the picture, where the mask is set, blended over `width` pixels inside the mask."""
    result = whole.copy()
    old = whole[part.rows, part.columns]
    changes = mask[part.rows, part.columns]
    new = match_around(new, opaque(old), changes < masks.CHANGED, MATCH_REACH * width)
    if whole.shape[2] == 4:  # what is painted is opaque
        new = with_alpha(new)
    result[part.rows, part.columns] = masks.blend(old, new, changes, width)
    return result


def _mask(task: Inpaint, picture: Pixels | None, size: Size) -> Mask:
    if picture is None:
        raise ValueError("inpaint has no mask")
    try:
        return masks.read_mask(picture, size, by_opacity=task.mask_by_opacity)
    except PreconditionError as error:
        raise PreconditionError(Violation("inpaint.mask", str(error), Reason.NOT_IN_PICTURE)) from error
