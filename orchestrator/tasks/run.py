"""From a plan to a picture's file: each task by its name."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

from orchestrator.arrays import Pixels
from orchestrator.imaging.boxes import Box
from orchestrator.imaging.composite import Composite, Layer
from orchestrator.params import TaskName
from orchestrator.provenance.origin import Origin
from orchestrator.tasks.context import TaskContext, TaskResult
from orchestrator.tasks.control import control
from orchestrator.tasks.edit import edit
from orchestrator.tasks.face import face
from orchestrator.tasks.face_swap import face_swap
from orchestrator.tasks.finish import write
from orchestrator.tasks.generate_background import generate_background
from orchestrator.tasks.image_to_image import image_to_image
from orchestrator.tasks.inpaint import inpaint
from orchestrator.tasks.outpaint import outpaint
from orchestrator.tasks.pictures import size_of
from orchestrator.tasks.plan import Plan
from orchestrator.tasks.safety import PictureFilteredError
from orchestrator.tasks.text_to_image import text_to_image
from orchestrator.tasks.upscale import upscale

TASKS: Mapping[TaskName, Callable[[Plan, TaskContext], Awaitable[TaskResult]]] = {
    TaskName.TEXT_TO_IMAGE: text_to_image,
    TaskName.IMAGE_TO_IMAGE: image_to_image,
    TaskName.INPAINT: inpaint,
    TaskName.GENERATE_BACKGROUND: generate_background,
    TaskName.FACE: face,
    TaskName.CONTROL: control,
    TaskName.UPSCALE: upscale,
    TaskName.OUTPAINT: outpaint,
    TaskName.EDIT: edit,
    TaskName.FACE_SWAP: face_swap,
}


async def run(plan: Plan, context: TaskContext) -> TaskResult:
    """Make the picture and write it as the file that was asked for.

    Raises:
        InvalidRequestError: a picture cannot be fetched or read, or the size that follows from it is too large.
        PreconditionError: the request cannot be met with these pictures; or no quality fits output.max_file_size.
        UnsupportedTaskError: a network is missing.
        FilteredError: the safety filter stops a picture, and the request names no replacement.
        EngineUnavailableError, EngineFaultError: from the networks.
        Whatever the listener raises.
    """
    try:
        return await TASKS[plan.task.name](plan, context)
    except PictureFilteredError as found:
        if found.replacement is None:
            raise found.refusal() from None
        return await _replaced(plan, context, found, found.replacement)


async def _replaced(plan: Plan, context: TaskContext, found: PictureFilteredError, picture: Pixels) -> TaskResult:
    """The replacement as the result, in its own size: nothing of it was generated."""
    unmarked = replace(plan, origin=Origin.EDITED, recipe=None)
    width, height = size_of(picture)
    result = Composite((width, height), (Layer(picture, Box(0, 0, width, height)),))
    encoded = await asyncio.to_thread(write, unmarked, context, result, ())
    return TaskResult(encoded, width, height, 0, None, nsfw_score=found.score, filtered=True)
