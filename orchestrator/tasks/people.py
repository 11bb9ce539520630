"""Faces of a picture: found by the detector, and confirmed by the landmarks network."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from orchestrator.arrays import Floats, Pixels
from orchestrator.diffusion.latents import from_pixels
from orchestrator.diffusion.stages import Steps
from orchestrator.diffusion.tiles import batches
from orchestrator.errors import EngineFaultError
from orchestrator.imaging import faces
from orchestrator.imaging.boxes import Box
from orchestrator.imaging.faces import Face
from orchestrator.tasks.context import TaskContext
from orchestrator.tasks.pictures import size_of

Place = TypeVar("Place")

ROWS = 8
"""Pictures of one request to a network."""
FACE_ROOM = 1.7
"""Side of what is generated around a face, in sides of the face."""
MOST = 32
"""The most faces that are looked at closely: the largest."""


@dataclass(frozen=True, slots=True)
class Person:
    """A face, and its points (468, 3) in pixels of faces.mesh_crop."""

    face: Face
    landmarks: Floats

    @property
    def points(self) -> faces.Points:
        """The points (468, 2) in the picture's pixels."""
        return faces.mesh_points(self.face, self.landmarks)


def around(face: Face, picture: Pixels) -> Box:
    """A square around a face, FACE_ROOM times its side, as far as the picture goes."""
    width, height = size_of(picture)
    side = min(round(face.side * FACE_ROOM), width, height)
    left, top = (round(middle - side / 2) for middle in face.middle)
    return Box(min(max(0, left), width - side), min(max(0, top), height - side), side, side)


async def find_people(context: TaskContext, picture: Pixels, steps: Steps) -> list[Person]:
    """The faces of an RGB picture; none is no error.

    The whole picture is looked at first, and its parts where no face was found in it: small faces are seen there alone.

    Raises:
        UnsupportedTaskError, EngineUnavailableError, EngineFaultError: of the two networks.
        Whatever the listener raises.
    """
    width, height = size_of(picture)
    for windows in ([Box(0, 0, width, height)], faces.windows(width, height)):
        people = await _confirmed(context, picture, await _detected(context, picture, windows, steps), steps)
        if people:
            return people
    return []


async def _detected(context: TaskContext, picture: Pixels, windows: Sequence[Box], steps: Steps) -> list[Face]:
    detector = context.tools.need("face_detector")
    found: list[Face] = []
    for some in batches(windows, ROWS):
        shown = await asyncio.to_thread(_tensor, faces.to_detector, picture, some)
        await steps.call()
        boxes, scores = await detector(shown)
        _expect("face detector", boxes, scores, len(some))
        for window, box, score in zip(some, boxes, scores, strict=True):
            found += faces.read_faces(box, score, window)
    return sorted(found, key=lambda face: -face.side)[:MOST]


async def _confirmed(context: TaskContext, picture: Pixels, found: Sequence[Face], steps: Steps) -> list[Person]:
    people: list[Person] = []
    for some in batches(found, ROWS):
        shown = await asyncio.to_thread(_tensor, faces.mesh_crop, picture, some)
        await steps.call()
        landmarks, scores = await context.tools.need("face_landmarks")(shown)
        _expect("face landmarks", landmarks, scores, len(some))
        sure = zip(some, landmarks, scores[:, 0], strict=True)
        people += [Person(face, points) for face, points, score in sure if score >= faces.LEAST_MESH_SCORE]
    return people


def _tensor(crop: Callable[[Pixels, Place], Pixels], picture: Pixels, places: Sequence[Place]) -> Floats:
    """What `crop` gives for each place of a picture, as a network takes it."""
    return np.concatenate([from_pixels(crop(picture, place)) for place in places])


def _expect(network: str, first: Floats, second: Floats, rows: int) -> None:
    if len(first) != rows or len(second) != rows or not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise EngineFaultError(f"the {network} network answered {first.shape} and {second.shape}, or not finite")
