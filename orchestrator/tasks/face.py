"""An avatar by the prompt, like the largest face of a picture."""

import asyncio

from orchestrator.arrays import Pixels
from orchestrator.diffusion.inputs import ImagePrompt
from orchestrator.diffusion.latents import choose_aspect_size
from orchestrator.diffusion.stages import Stage, Steps
from orchestrator.errors import PreconditionError, Reason, Violation
from orchestrator.imaging import faces
from orchestrator.imaging.layers import opaque
from orchestrator.params import Face, LayoutParams, SizeParams
from orchestrator.tasks.canvas import Canvas
from orchestrator.tasks.context import TaskContext, TaskResult
from orchestrator.tasks.finish import finish
from orchestrator.tasks.frame import Frame
from orchestrator.tasks.painting import Scene, Steering, cover, paint
from orchestrator.tasks.people import find_people
from orchestrator.tasks.pictures import load, size_of
from orchestrator.tasks.plan import Plan, task_of

SIDE = 512
"""Of what is cut out around a face, pixels: image encoders see less."""


def no_face(field: str) -> Violation:
    """The fault of a picture in which no face was found."""
    return Violation(field, "needs a picture with a face: no face was found in the picture", Reason.NOT_IN_PICTURE)


async def face(plan: Plan, context: TaskContext) -> TaskResult:
    """Find the face, and paint from noise what is like it. Raises as tasks.run does."""
    task = task_of(plan, Face)
    async with context.stage(Stage.PREPARE) as steps:
        pictures = await load(plan, context)
        frame = _frame(plan, pictures.main, context.max_pixels)
        cut = await _cut(task, context, await asyncio.to_thread(opaque, pictures.main), steps)
        size = choose_aspect_size(context.family.networks.aspect_sizes, *frame.content_size)
        canvas = Canvas.inside(size, *size_of(cut))
        steering = await asyncio.to_thread(lambda: Steering.of(canvas.put(cut), task.edges))
        prompt = ImagePrompt(cut, task.likeness, face=task.face_only)
        scene = Scene(size=size, image_prompt=prompt, steering=steering)
        await context.begin(scene.prepare_result)
    painted = await paint(plan, context, scene)

    async def compose(steps: Steps) -> Pixels:
        return await cover(painted, frame.content_size, context, steps)

    return await finish(plan, context, frame, compose, pictures=pictures, steps=painted.steps)


def _frame(plan: Plan, source: Pixels, max_pixels: int) -> Frame:
    """The avatar has whatever ratio is asked for; it is smaller than the result only by padding."""
    target = Frame.of(size_of(source), plan.size, LayoutParams(), max_pixels).output_size
    return Frame.of(target, SizeParams(), plan.layout, max_pixels)


async def _cut(task: Face, context: TaskContext, picture: Pixels, steps: Steps) -> Pixels:
    """The head with its hair, or the inner face alone: a square."""
    people = await find_people(context, picture, steps)
    if not people:
        raise PreconditionError(no_face("face.image"))
    chosen = faces.choose([person.face for person in people])
    if not task.face_only:
        return await asyncio.to_thread(faces.head, picture, chosen, SIDE)
    landmarks = next(person.landmarks for person in people if person.face is chosen)
    return await asyncio.to_thread(faces.inner_face, picture, chosen, landmarks, SIDE)
