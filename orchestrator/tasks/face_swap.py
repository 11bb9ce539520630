"""The first found face of a picture replaced by that of another one."""

import asyncio

import numpy as np

from orchestrator.diffusion.latents import Pixels, choose_bucket
from orchestrator.diffusion.pipeline import ImagePrompt, Stage, Start
from orchestrator.diffusion.stages import Steps
from orchestrator.errors import PreconditionError
from orchestrator.imaging import faces
from orchestrator.imaging.boxes import Box
from orchestrator.imaging.face_swap import Swapped, swap
from orchestrator.imaging.layers import opaque, resized, with_alpha
from orchestrator.params import FaceSwap
from orchestrator.tasks.face import SIDE, no_face
from orchestrator.tasks.finish import finish, in_thread
from orchestrator.tasks.frame import Frame
from orchestrator.tasks.painting import Painted, Scene, paint
from orchestrator.tasks.people import Person, around, find_people
from orchestrator.tasks.pictures import load, size_of
from orchestrator.tasks.plan import Plan, task_of
from orchestrator.tasks.workshop import Begun, Made, Workshop


async def face_swap(plan: Plan, workshop: Workshop) -> Made:
    """Warp the new face into the place of the old one, and generate over it a little. Raises as tasks.run does."""
    task = task_of(plan, FaceSwap)
    async with workshop.stage(Stage.PREPARE) as steps:
        pictures = await load(plan, workshop)
        main, (donor, *_) = pictures.main, pictures.others
        frame = Frame.of(size_of(main), plan.size, plan.layout, workshop.max_pixels)
        picture, donor = await asyncio.to_thread(lambda: (opaque(main), opaque(donor)))
        old = await _first(workshop, picture, "face_swap.image", steps)
        new = await _first(workshop, donor, "face_swap.face", steps)
        swapped = await asyncio.to_thread(lambda: swap(picture, old.points, donor, new.points))
        box = around(old.face, picture)
        shown, scene = await asyncio.to_thread(_scene, task, workshop, swapped.picture, box, donor, new)
        workshop.begin(scene.begun if task.strength else Begun((0, 0)))
    blended, steps_walked = swapped.picture, 0
    if task.strength:
        painted = await paint(plan, workshop, scene)
        unpainted = await workshop.pipeline.reconstruct(workshop.painting, shown, workshop.listener, workshop.timer)
        blended = await asyncio.to_thread(_blended, swapped, box, painted, unpainted)
        steps_walked = painted.steps

    def compose() -> Pixels:
        whole = blended if main.shape[2] == 3 else with_alpha(blended, main[..., 3] / 255)
        return resized(whole, frame.made)

    return await finish(plan, workshop, frame, in_thread(compose), pictures=pictures, steps=steps_walked)


async def _first(workshop: Workshop, picture: Pixels, field: str, steps: Steps) -> Person:
    """The face that is meant: the largest; of equal ones the leftmost."""
    people = await find_people(workshop, picture, steps)
    if not people:
        raise PreconditionError(no_face(field))
    chosen = faces.choose([person.face for person in people])
    return next(person for person in people if person.face is chosen)


def _scene(
    task: FaceSwap, workshop: Workshop, picture: Pixels, box: Box, donor: Pixels, new: Person
) -> tuple[Pixels, Scene]:
    """What is generated over, at the network's size: the new face in its place, steered by the donor's own."""
    crop = np.ascontiguousarray(picture[box.rows, box.columns])
    size = choose_bucket(workshop.family.networks.buckets, *size_of(crop))
    shown = resized(crop, size)
    face = faces.inner_face(donor, new.face, new.landmarks, SIDE)
    start = Start(shown, task.strength) if task.strength else None
    return shown, Scene(size=size, start=start, image_prompt=ImagePrompt(face, task.likeness, face=True))


def _blended(swapped: Swapped, box: Box, painted: Painted, unpainted: Pixels) -> Pixels:
    """The new face with what generation has changed of it; what the autoencoder alone loses is lost to nobody."""
    size = box.width, box.height
    after, before = (resized(each, size).astype(np.float32) for each in (painted.pixels, unpainted))
    result = swapped.picture.copy()
    part = result[box.rows, box.columns]
    weight = swapped.mask[box.rows, box.columns, None]
    part[:] = np.rint(np.clip(part + weight * (after - before), 0, 255))
    return result
