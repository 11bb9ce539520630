"""The first found face of a picture replaced by that of another one."""

import asyncio
from dataclasses import replace

import numpy as np

from orchestrator.arrays import Pixels
from orchestrator.diffusion.inputs import ImagePrompt, Start
from orchestrator.diffusion.latents import choose_aspect_size
from orchestrator.diffusion.stages import Stage, Steps
from orchestrator.errors import PreconditionError
from orchestrator.imaging import faces
from orchestrator.imaging.boxes import Box
from orchestrator.imaging.enhancing.painted_faces import blend
from orchestrator.imaging.face_swap import Swapped, swap
from orchestrator.imaging.layers import opaque, resized, with_alpha
from orchestrator.params import EdgesParams, FaceSwap
from orchestrator.tasks.context import PrepareResult, TaskContext, TaskResult
from orchestrator.tasks.face import SIDE, no_face
from orchestrator.tasks.face_enhance import EDGES
from orchestrator.tasks.finish import finish, in_thread
from orchestrator.tasks.frame import Frame
from orchestrator.tasks.painting import Painted, Scene, Steering, paint
from orchestrator.tasks.people import Person, around, find_people
from orchestrator.tasks.pictures import load, size_of
from orchestrator.tasks.plan import Plan, task_of

DETAIL = 2.0
"""How much of the detail that was generated is taken, for each unit of strength; all of it at most."""


async def face_swap(plan: Plan, context: TaskContext) -> TaskResult:
    """Warp the new face into the place of the old one, and generate over it a little. Raises as tasks.run does."""
    task = task_of(plan, FaceSwap)
    async with context.stage(Stage.PREPARE) as steps:
        pictures = await load(plan, context)
        main, (donor, *_) = pictures.main, pictures.others
        frame = Frame.of(size_of(main), plan.size, plan.layout, context.max_pixels)
        picture, donor = await asyncio.to_thread(lambda: (opaque(main), opaque(donor)))
        old = await _first(context, picture, "face_swap.image", steps)
        new = await _first(context, donor, "face_swap.face", steps)
        swapped = await asyncio.to_thread(lambda: swap(picture, old.points, donor, new.points))
        box = around(old.face, picture)
        shown, scene = await asyncio.to_thread(_scene, task, context, swapped.picture, box, donor, new)
        await context.begin(scene.prepare_result if task.strength else PrepareResult((0, 0)))
    blended, steps_walked = swapped.picture, 0
    if task.strength:
        kind = context.family.networks.edge_kind or 0
        painted = await paint(replace(plan, control_kind=kind), context, scene)
        unpainted = await context.pipeline.reconstruct(context.painting, shown, context.listener, context.timer)
        detail = min(1.0, DETAIL * task.strength)
        blended = await asyncio.to_thread(_blended, swapped, box, painted, unpainted, detail)
        steps_walked = painted.steps

    def compose() -> Pixels:
        whole = blended if main.shape[2] == 3 else with_alpha(blended, main[..., 3] / 255)
        return resized(whole, frame.content_size)

    return await finish(plan, context, frame, in_thread(compose), pictures=pictures, steps=steps_walked)


async def _first(context: TaskContext, picture: Pixels, field: str, steps: Steps) -> Person:
    """The face that is meant: the largest; of equal ones the leftmost."""
    people = await find_people(context, picture, steps)
    if not people:
        raise PreconditionError(no_face(field))
    chosen = faces.choose([person.face for person in people])
    return next(person for person in people if person.face is chosen)


def _scene(
    task: FaceSwap, context: TaskContext, picture: Pixels, box: Box, donor: Pixels, new: Person
) -> tuple[Pixels, Scene]:
    """What is generated over, at the network's size: the new face in its place, steered by the donor's own."""
    crop = np.ascontiguousarray(picture[box.rows, box.columns])
    size = choose_aspect_size(context.family.networks.aspect_sizes, *size_of(crop))
    shown = resized(crop, size)
    face = faces.inner_face(donor, new.face, new.landmarks, SIDE)
    start = Start(shown, task.strength) if task.strength else None
    steering = Steering.of(shown, EdgesParams(scale=EDGES) if "edges" in context.family.abilities else None)
    prompt = ImagePrompt(face, task.likeness, face=True)
    return shown, Scene(size=size, start=start, image_prompt=prompt, steering=steering)


def _blended(swapped: Swapped, box: Box, painted: Painted, unpainted: Pixels, detail: float) -> Pixels:
    """The new face with the detail that generation has changed of it; light, colours and all that is outside stay."""
    result = swapped.picture.copy()
    part = result[box.rows, box.columns]
    detailed = blend(part, unpainted, painted.pixels, smoothing=0.0, detail=detail).astype(np.float32)
    weight = swapped.mask[box.rows, box.columns, None]
    part[:] = np.rint(part + weight * (detailed - part))
    return result
