"""Which part of a picture FIT_CROP keeps."""

import asyncio

from orchestrator.diffusion.latents import Pixels, Size
from orchestrator.diffusion.stages import Steps
from orchestrator.imaging import crops
from orchestrator.imaging.boxes import Box
from orchestrator.params import CropGravity
from orchestrator.tasks.cutout import object_matte
from orchestrator.tasks.frame import contained
from orchestrator.tasks.pictures import size_of
from orchestrator.tasks.workshop import Workshop


async def crop_box(workshop: Workshop, picture: Pixels, target: Size, gravity: CropGravity, steps: Steps) -> Box:
    """The largest part of target's ratio, with most detail, or the main object, or the middle of the picture in it.

    Raises:
        PreconditionError: there is no object to keep.
        What object_matte raises, for CropGravity.ITEM.
    """
    have = size_of(picture)
    size = target if target[0] <= have[0] and target[1] <= have[1] else contained(target, have)
    if gravity is CropGravity.ITEM:
        matte = await object_matte(workshop, picture, "layout.gravity", steps)
        return await asyncio.to_thread(crops.around, matte, size)
    if gravity is CropGravity.CENTER:
        return crops.central(picture, size)
    return await asyncio.to_thread(crops.most_detailed, picture, size)
