"""Which part of a picture FIT_CROP keeps."""

import asyncio

from orchestrator.arrays import Pixels
from orchestrator.diffusion.latents import Size
from orchestrator.diffusion.stages import Steps
from orchestrator.imaging import crops
from orchestrator.imaging.boxes import Box
from orchestrator.imaging.layers import resized
from orchestrator.imaging.mattes import object_box
from orchestrator.params import CropGravity
from orchestrator.tasks.context import TaskContext
from orchestrator.tasks.cutout import object_matte
from orchestrator.tasks.frame import Frame, around_item, contained
from orchestrator.tasks.pictures import size_of
from orchestrator.tasks.plan import Plan


def is_item_alone(plan: Plan) -> bool:
    """Whether the result is a box around the object, and the padding: as product photographs are cut."""
    layout = plan.layout
    padded = bool(layout.padding_pixels or layout.padding_share)
    return layout.crops_to_item and (padded or (plan.background.remove is not None and not plan.size.is_given))


async def item_alone(
    plan: Plan, context: TaskContext, picture: Pixels, frame: Frame, steps: Steps
) -> tuple[Frame, Pixels]:
    """A box around the picture's object, at the size that leaves the padding free, and the frame in which it is placed.

    Raises:
        PreconditionError: there is no object.
        InvalidRequestError: the padding leaves no room, or the result would be too large.
        What object_matte raises.
    """
    matte = await object_matte(context, picture, "layout.gravity", steps)
    box = await asyncio.to_thread(object_box, matte)
    item_frame = around_item(frame, (box.width, box.height), plan.size, plan.layout, context.max_pixels)
    part = picture[box.rows, box.columns]
    return item_frame, await asyncio.to_thread(resized, part, item_frame.content_size)


async def crop_box(context: TaskContext, picture: Pixels, target: Size, gravity: CropGravity, steps: Steps) -> Box:
    """The largest part of target's ratio, with most detail, or the main object, or the middle of the picture in it.

    Raises:
        PreconditionError: there is no object to keep.
        What object_matte raises, for CropGravity.ITEM.
    """
    have = size_of(picture)
    size = target if target[0] <= have[0] and target[1] <= have[1] else contained(target, have)
    if gravity is CropGravity.ITEM:
        matte = await object_matte(context, picture, "layout.gravity", steps)
        return await asyncio.to_thread(crops.around, matte, size)
    if gravity is CropGravity.CENTER:
        return crops.central(picture, size)
    return await asyncio.to_thread(crops.most_detailed, picture, size)
