"""The last stage of every task: the background, the fit, the file."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import numpy as np

from orchestrator.diffusion.latents import Pixels
from orchestrator.diffusion.pipeline import Stage
from orchestrator.diffusion.stages import Steps
from orchestrator.imaging import codec, geometry
from orchestrator.imaging.boxes import Box
from orchestrator.imaging.codec import Encoded
from orchestrator.imaging.density import with_density
from orchestrator.imaging.layers import filled, frame_color, opaque, over, placed, resized
from orchestrator.imaging.mattes import object_box
from orchestrator.params import BackgroundParams, Enhancement, Fit, OutputParams
from orchestrator.provenance.marking import Parent, Work
from orchestrator.tasks.caption import lay_over
from orchestrator.tasks.cropping import crop_box
from orchestrator.tasks.cutout import cut_out
from orchestrator.tasks.face_enhance import enhance_faces
from orchestrator.tasks.frame import Frame, with_item
from orchestrator.tasks.people import find_people
from orchestrator.tasks.pictures import Pictures, size_of
from orchestrator.tasks.plan import Plan
from orchestrator.tasks.safety import screen
from orchestrator.tasks.workshop import Made, Workshop

Channels = tuple[int, ...]
"""A colour: red, green, blue, and opacity where it has any; 0 to 255 each."""
Compose = Callable[[Steps], Awaitable[Pixels]]
"""Makes the task's picture, of frame.made, of what was painted."""


def in_thread(compose: Callable[[], Pixels]) -> Compose:
    """Composing that needs no network, in a thread."""
    return lambda _: asyncio.to_thread(compose)


async def finish(
    plan: Plan,
    workshop: Workshop,
    frame: Frame,
    compose: Compose,
    *,
    pictures: Pictures | None = None,
    steps: int = 0,
) -> Made:
    """Compose the task's picture, of frame.made, fit it into frame.target, and write the file.

    Faces are made better first. The background is removed before the picture is fitted; a colour and another picture
    are laid behind all of the result, what FIT_CANVAS adds included; a caption over it.

    Raises:
        PreconditionError: there is no object where background.remove needs one; no quality fits output.max_file_size.
        UnsupportedTaskError, EngineUnavailableError, EngineFaultError: of the networks that are needed here.
        PictureFilteredError: the safety filter stops the picture.
        Whatever the listener raises.
    """
    if plan.faces is not None:
        compose = await _with_faces(plan, workshop, compose, plan.faces)
    background, layout = plan.background, plan.layout
    async with workshop.stage(Stage.FINISH) as telling:
        picture = await compose(telling)
        behind = await asyncio.to_thread(_behind, background, picture)
        if background.remove is not None:
            picture = await cut_out(workshop, picture, background.remove, telling)
            frame, picture = await asyncio.to_thread(_around_item, plan, picture, frame, workshop.max_pixels)
        box = None
        if layout.fit is Fit.CROP and size_of(picture) != frame.target:
            box = await crop_box(workshop, picture, frame.target, layout.gravity, telling)
        fitted = await asyncio.to_thread(_laid_out, plan, picture, frame, box, behind, pictures)
        score = None
        if plan.safety is not None:
            score = await screen(workshop, plan.safety, fitted, None if pictures is None else pictures.replacement)
        encoded = await asyncio.to_thread(write, plan, workshop, fitted, () if pictures is None else pictures.parents)
    return Made(encoded, *frame.target, steps, plan.sampler if plan.paints else None, nsfw_score=score)


async def _with_faces(plan: Plan, workshop: Workshop, compose: Compose, wanted: Enhancement) -> Compose:
    """The task's picture with better faces: composed in the last stage's time, before the stages of painting them."""
    async with workshop.timer.stage(Stage.FINISH) as calls:
        telling = Steps(workshop.listener, Stage.FINISH, calls)
        picture = await compose(telling)
        people = await find_people(workshop, await asyncio.to_thread(opaque, picture), telling)
    better = await enhance_faces(plan, workshop, picture, people, wanted)
    return in_thread(lambda: better)


def _around_item(plan: Plan, picture: Pixels, frame: Frame, max_pixels: int) -> tuple[Frame, Pixels]:
    """The frame and the picture, enlarged where the object that was cut out is smaller than size.min_length."""
    if plan.size.min_length is None:
        return frame, picture
    box = object_box(np.asarray(picture[..., 3] / np.float32(255), np.float32))
    larger = with_item(frame, (box.width, box.height), plan.size, max_pixels)
    return larger, resized(picture, larger.made) if larger is not frame else picture


def _behind(background: BackgroundParams, picture: Pixels) -> Channels | None:
    """The colour, of three or four channels, that is laid behind everything; None for none."""
    color = background.color
    if color is None:
        return None
    if color.auto:
        return frame_color(picture)
    return color.rgba if color.alpha < 255 else color.rgba[:3]


def _laid_out(
    plan: Plan,
    picture: Pixels,
    frame: Frame,
    box: Box | None,
    behind: Channels | None,
    pictures: Pictures | None,
) -> Pixels:
    fitted = _fitted(picture, frame, box)
    if pictures is not None and pictures.replace is not None:
        fitted = over(fitted, geometry.cover(pictures.replace, *frame.target))
    if behind is not None:
        fitted = over(fitted, filled(frame.target, behind))
    if plan.caption is not None and pictures is not None and pictures.caption is not None:
        fitted = lay_over(fitted, pictures.caption, plan.caption)
    return fitted


def write(plan: Plan, workshop: Workshop, picture: Pixels, parents: tuple[Parent, ...]) -> Encoded:
    """The file with its marks. Takes long: call it in a thread."""

    def encode(output: OutputParams) -> Encoded:
        encoded = codec.encode(picture, output)
        if output.dpi is None:
            return encoded
        return replace(encoded, data=with_density(encoded.data, output.format, output.dpi))

    work = Work(
        origin=plan.origin,
        recipe=plan.recipe,
        family=plan.family if plan.paints else None,
        seed=plan.seed,
        models=workshop.models(),
        parents=parents,
    )
    return workshop.marking.write(encode, plan.output, work)


def _fitted(picture: Pixels, frame: Frame, box: Box | None) -> Pixels:
    if box is not None:
        return resized(picture[box.rows, box.columns], frame.target)
    width, height = size_of(picture)
    if (width, height) == frame.target:
        return picture
    return placed(picture, frame.target, (frame.target[0] - width) // 2, (frame.target[1] - height) // 2)
