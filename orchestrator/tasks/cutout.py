"""The main object of a picture: how much of each pixel belongs to it, and its own colours."""

import asyncio

import numpy as np

from orchestrator.arrays import Pixels
from orchestrator.diffusion.latents import from_pixels
from orchestrator.diffusion.stages import Steps
from orchestrator.errors import EngineFaultError, PreconditionError, Reason, Violation
from orchestrator.imaging import mattes
from orchestrator.imaging.closed_form import Matte
from orchestrator.imaging.layers import opaque, resized, with_alpha
from orchestrator.params import Removal
from orchestrator.tasks.context import TaskContext
from orchestrator.tasks.people import find_people

REMOVE = "background.remove"


async def object_matte(context: TaskContext, picture: Pixels, field: str, steps: Steps) -> Matte:
    """Float32 (H, W) in [0, 1]: the picture's own opacity where it has any, else what the network finds, refined.

    Raises:
        PreconditionError: there is no object; the field is named.
        UnsupportedTaskError, EngineUnavailableError, EngineFaultError: of the matting network.
        Whatever the listener raises.
    """
    if picture.shape[2] == 4:
        matte = await asyncio.to_thread(lambda: np.asarray(picture[..., 3] / np.float32(255), np.float32))
    else:
        matte = await _matte(context, picture, steps)
    if not await asyncio.to_thread(mattes.has_object, matte):
        said = "needs a picture with an object: no object was found in the picture"
        raise PreconditionError(Violation(field, said, Reason.NOT_IN_PICTURE))
    return matte


async def find_object(context: TaskContext, picture: Pixels, field: str, steps: Steps) -> Pixels:
    """RGBA of the picture's object, in its own colours. Raises as object_matte does."""
    matte = await object_matte(context, picture, field, steps)
    return await asyncio.to_thread(_cut, picture, matte)


async def cut_out(context: TaskContext, picture: Pixels, removal: Removal, steps: Steps) -> Pixels:
    """RGBA of what stays of a picture when its background is removed.

    Raises:
        PreconditionError: there is no object, or no person where one is to stay.
        What object_matte and find_people raise.
    """
    matte = await object_matte(context, picture, REMOVE, steps)
    if removal is not Removal.AUTO:
        matte = await _chosen(context, picture, matte, removal, steps)
    return await asyncio.to_thread(_cut, picture, matte)


async def _chosen(context: TaskContext, picture: Pixels, matte: Matte, removal: Removal, steps: Steps) -> Matte:
    """The matte of the objects that hold a face, or of those that hold none."""
    people = await find_people(context, await asyncio.to_thread(opaque, picture), steps)
    points = [(float(x), float(y)) for x, y in (person.face.middle for person in people)]
    if removal is Removal.HUMAN and not points:
        said = "needs a picture with a person: no person was found in the picture"
        raise PreconditionError(Violation(REMOVE, said, Reason.NOT_IN_PICTURE))
    holding = removal is Removal.HUMAN
    kept = await asyncio.to_thread(lambda: mattes.keep_parts(matte, points, holding=holding))
    return matte if kept is None else kept


def _cut(picture: Pixels, matte: Matte) -> Pixels:
    if picture.shape[2] == 3:
        picture = mattes.foreground(picture, matte)
    return with_alpha(picture, matte)


async def _matte(context: TaskContext, picture: Pixels, steps: Steps) -> Matte:
    matting = context.tools.need("matting")
    side = matting.side
    small = await asyncio.to_thread(lambda: from_pixels(resized(picture, (side, side))))
    await steps.call()
    answer = await matting(small)
    if answer.shape != (1, 1, side, side) or not np.isfinite(answer).all():
        raise EngineFaultError(f"the matting network answered a tensor of shape {answer.shape}, or not finite")
    return await asyncio.to_thread(lambda: mattes.refine(picture, mattes.close(answer[0, 0])))
