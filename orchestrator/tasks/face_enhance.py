"""Faces of a picture, repainted a little."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from orchestrator.arrays import Pixels
from orchestrator.diffusion.inputs import Start
from orchestrator.diffusion.latents import choose_aspect_size
from orchestrator.imaging.enhancing.painted_faces import blend
from orchestrator.imaging.layers import resized
from orchestrator.params import EdgesParams, Enhancement
from orchestrator.tasks.context import TaskContext
from orchestrator.tasks.painting import Scene, Steering, paint
from orchestrator.tasks.people import Person, around
from orchestrator.tasks.pictures import size_of
from orchestrator.tasks.plan import Plan

MOST_FACES = 6
"""The largest that are repainted."""
EDGES = 0.8
"""How much the edges of a face are kept, where the family can keep edges."""


async def enhance_faces(
    plan: Plan, context: TaskContext, picture: Pixels, people: Sequence[Person], wanted: Enhancement
) -> Pixels:
    """The largest faces of a picture painted over a little, each in a soft ellipse; without faces as it is.

    Raises:
        UnsupportedTaskError, EngineUnavailableError, EngineFaultError: from the networks.
        Whatever the listener raises.
    """
    can_steer = "edges" in context.family.abilities
    quiet = replace(plan, preview_interval=0, control_kind=context.family.networks.edge_kind or 0)
    for person in people[:MOST_FACES]:
        box = around(person.face, picture)
        crop = np.ascontiguousarray(picture[box.rows, box.columns, :3])
        size = choose_aspect_size(context.family.networks.aspect_sizes, *size_of(crop))
        shown = await asyncio.to_thread(resized, crop, size)
        steering = await asyncio.to_thread(Steering.of, shown, EdgesParams(scale=EDGES) if can_steer else None)
        scene = Scene(size=size, start=Start(shown, wanted.strength), steering=steering)
        painted = await paint(quiet, context, scene)
        unpainted = await context.pipeline.reconstruct(context.painting, shown, context.listener, context.timer)
        blended = await asyncio.to_thread(blend, crop, unpainted, painted.pixels, wanted.smooth, wanted.detail)
        picture = picture.copy()
        picture[box.rows, box.columns, :3] = blended
    return picture
