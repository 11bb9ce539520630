"""The main object of a picture, kept, before a background that is painted by the prompt."""

import asyncio

import numpy as np

from orchestrator.arrays import Pixels
from orchestrator.diffusion.inputs import Start
from orchestrator.diffusion.latents import Size
from orchestrator.diffusion.stages import Stage, Steps
from orchestrator.imaging.layers import frame_color, opaque, over, placed, resized, with_alpha
from orchestrator.imaging.masks import Mask
from orchestrator.imaging.mattes import object_box, without_strays
from orchestrator.imaging.placement import Sides, cut_sides, place
from orchestrator.params import Color, Fit, GenerateBackground, LayoutParams
from orchestrator.tasks.canvas import Canvas
from orchestrator.tasks.context import TaskContext, TaskResult
from orchestrator.tasks.cutout import find_object
from orchestrator.tasks.finish import finish
from orchestrator.tasks.frame import Frame, room
from orchestrator.tasks.painting import Scene, Steering, cut, paint
from orchestrator.tasks.pictures import load, size_of
from orchestrator.tasks.plan import Plan, task_of

FIELD = "generate_background.image"
SOLID = 0.95
"""The network paints under what is less opaque than this, so that nothing of the old background remains at its edge."""
COLOR_STRENGTH = 0.9
"""How much of a colour that the background starts from is painted over."""
GREY = (128, 128, 128)
"""Behind the object, for the VAE, where no colour is given: in the middle of all colours."""


async def generate_background(plan: Plan, context: TaskContext) -> TaskResult:
    """Find the object, place it, and paint the rest. Raises as tasks.run does."""
    task = task_of(plan, GenerateBackground)
    async with context.stage(Stage.PREPARE) as steps:
        pictures = await load(plan, context)
        source = pictures.main
        frame = _frame(plan, size_of(source), context.max_pixels)
        found = await find_object(context, source, FIELD, steps)
        canvas = Canvas.choose(context.family.networks.aspect_sizes, *frame.content_size)

        def work() -> tuple[Pixels, Scene]:
            item = _arranged(plan, task, found, frame, is_photograph=source.shape[2] == 3)
            return item, _scene(task, canvas.put_object(item), _behind(task.color, source), canvas.size)

        item, scene = await asyncio.to_thread(work)
        await context.begin(scene.prepare_result)
    painted = await paint(plan, context, scene)

    async def compose(steps: Steps) -> Pixels:
        background = await cut(painted, canvas, frame.content_size, context, steps)
        return await asyncio.to_thread(over, item, background)

    return await finish(plan, context, frame, compose, pictures=pictures, steps=painted.steps)


def _frame(plan: Plan, source_size: Size, max_pixels: int) -> Frame:
    """FIT_CANVAS says how large the background is; the other fits are of the whole picture, with the object in it."""
    frame = Frame.of(source_size, plan.size, LayoutParams(fit=plan.layout.fit), max_pixels)
    if plan.layout.fit is not Fit.CANVAS:
        return frame
    return Frame.scaled(frame.source_size, frame.output_size, frame.output_size)


def _arranged(plan: Plan, task: GenerateBackground, found: Pixels, frame: Frame, *, is_photograph: bool) -> Pixels:
    """The object in its place: RGBA of frame.content_size. It is resized once, if at all.

    An object that a photograph's edge cuts is at the canvas's edge (placement.place); one that came cut out already
    may fill its picture, and is in the middle.
    """
    _, layout = frame.reduced(plan.layout)
    padded = layout.padding(*frame.content_size) > 0
    moves = task.item_area is not None or (layout.fit is Fit.CANVAS and (plan.size.is_given or padded))
    if not moves:
        return resized(found, frame.content_size)
    matte = without_strays(np.asarray(found[..., 3] / np.float32(255), np.float32))
    box = object_box(matte)
    size = item_size((box.width, box.height), room(frame.content_size, layout), task.item_area or 1.0)
    placement = place(box, size, frame.content_size, cut_sides(matte) if is_photograph else Sides())
    part, where = placement.part, placement.box
    item = with_alpha(found[part.rows, part.columns], matte[part.rows, part.columns])
    return placed(resized(item, (where.width, where.height)), frame.content_size, where.left, where.top)


def item_size(box: Size, within: Size, area: float) -> Size:
    """The size of an object that fills `area` of what it is placed in, or less where it would not fit otherwise."""
    (width, height), (room_width, room_height) = box, within
    scale = min(room_width / width, room_height / height, (area * room_width * room_height / (width * height)) ** 0.5)
    return min(room_width, max(1, round(width * scale))), min(room_height, max(1, round(height * scale)))


def _behind(color: Color | None, source: Pixels) -> tuple[int, int, int] | None:
    """The colour that the background starts from."""
    if color is None:
        return None
    return frame_color(source) if color.auto else color.rgba[:3]


def _scene(task: GenerateBackground, item: Pixels, color: tuple[int, int, int] | None, size: Size) -> Scene:
    """`item` is RGBA at the network's size."""
    start = opaque(item, color or GREY)
    mask: Mask = (item[..., 3] < 255 * SOLID).astype(np.float32)
    strength = 1.0 if color is None else COLOR_STRENGTH
    return Scene(size=size, start=Start(start, strength), mask=mask, steering=Steering.of(start, task.edges))
