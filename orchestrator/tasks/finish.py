"""The last stage of every task: the background, the fit, the file."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import numpy as np

from orchestrator.arrays import Pixels
from orchestrator.diffusion.stages import Stage, Steps
from orchestrator.imaging import codec, geometry
from orchestrator.imaging.boxes import Box
from orchestrator.imaging.closed_form import Matte
from orchestrator.imaging.codec import Encoded
from orchestrator.imaging.composite import Composite, Layer
from orchestrator.imaging.density import with_density
from orchestrator.imaging.layers import filled, frame_color, opaque, resized
from orchestrator.imaging.mattes import object_box
from orchestrator.imaging.placement import Sides, cut_sides, offset
from orchestrator.params import BackgroundParams, Enhancement, Fit, OutputParams
from orchestrator.provenance import invisible
from orchestrator.provenance.marking import Parent, Work
from orchestrator.provenance.origin import Origin
from orchestrator.tasks.caption import caption_layer
from orchestrator.tasks.context import TaskContext, TaskResult
from orchestrator.tasks.cropping import crop_box, is_item_alone, item_alone
from orchestrator.tasks.cutout import cut_out
from orchestrator.tasks.face_enhance import enhance_faces
from orchestrator.tasks.frame import Frame, covering, with_item
from orchestrator.tasks.limits import COMPOSED_SIDE
from orchestrator.tasks.people import find_people
from orchestrator.tasks.pictures import Pictures, size_of
from orchestrator.tasks.plan import Plan
from orchestrator.tasks.safety import screen

Channels = tuple[int, ...]
"""A colour: red, green, blue, and opacity where it has any; 0 to 255 each."""
Compose = Callable[[Steps], Awaitable[Pixels]]
"""Composes the task's picture, of frame.content_size, from what was painted."""


def in_thread(compose: Callable[[], Pixels]) -> Compose:
    """Composing that needs no network, in a thread."""
    return lambda _: asyncio.to_thread(compose)


async def finish(
    plan: Plan,
    context: TaskContext,
    frame: Frame,
    compose: Compose,
    *,
    pictures: Pictures | None = None,
    steps: int = 0,
    under: Pixels | None = None,
) -> TaskResult:
    """Compose the task's picture, of frame.content_size, fit it into frame.output_size, and write the file.

    Faces are enhanced first. `under` is laid under the task's picture, in the same place. The background is removed
    before the picture is fitted, and an object that a side of the photograph cuts then is at that side of the canvas;
    a colour and another picture are laid behind all of the result, what FIT_CANVAS adds included; a caption over it.

    Raises:
        PreconditionError: there is no object where background.remove needs one; no quality fits output.max_file_size.
        UnsupportedTaskError, EngineUnavailableError, EngineFaultError: of the networks that are needed here.
        PictureFilteredError: the safety filter stops the picture.
        Whatever the listener raises.
    """
    if plan.faces is not None:
        compose = await _with_faces(plan, context, compose, plan.faces)
    background, layout = plan.background, plan.layout
    async with context.stage(Stage.FINISH) as finishing:
        picture = await compose(finishing)
        color = await asyncio.to_thread(_color, background, picture)
        cut = Sides()
        if background.remove is not None:
            is_photograph = picture.shape[2] == 3
            picture = await cut_out(context, picture, background.remove, finishing)
            if is_photograph:
                cut = await asyncio.to_thread(lambda shown: cut_sides(_matte(shown)), picture)
            frame, picture = await asyncio.to_thread(_around_item, plan, picture, frame, context.max_pixels)
        box = None
        if is_item_alone(plan):
            frame, picture = await item_alone(plan, context, picture, frame, finishing)
        elif layout.fit is Fit.CROP and frame.full != frame.output_size:
            box = await crop_box(context, picture, frame.output_size, layout.gravity, finishing)
        result = await asyncio.to_thread(_laid_out, plan, picture, frame, box, color, pictures, under, cut)
        score = None
        if plan.safety is not None:
            seen = await asyncio.to_thread(_seen, result)
            score = await screen(context, plan.safety, seen, None if pictures is None else pictures.replacement)
        result = await _with_invisible_mark(plan, context, result)
        encoded = await asyncio.to_thread(write, plan, context, result, () if pictures is None else pictures.parents)
    return TaskResult(encoded, *frame.output_size, steps, plan.sampler if plan.paints else None, nsfw_score=score)


async def _with_faces(plan: Plan, context: TaskContext, compose: Compose, wanted: Enhancement) -> Compose:
    """The task's picture with better faces: composed in the last stage's time, before the stages of painting them."""
    async with context.timer.stage(Stage.FINISH) as calls:
        finishing = Steps(context.listener, Stage.FINISH, calls)
        picture = await compose(finishing)
        people = await find_people(context, await asyncio.to_thread(opaque, picture), finishing)
    better = await enhance_faces(plan, context, picture, people, wanted)
    return in_thread(lambda: better)


def _matte(picture: Pixels) -> Matte:
    return np.asarray(picture[..., 3] / np.float32(255), np.float32)


def _around_item(plan: Plan, picture: Pixels, frame: Frame, max_pixels: int) -> tuple[Frame, Pixels]:
    """The frame and the picture, enlarged where the object that was cut out is smaller than size.min_length."""
    if plan.size.min_length is None:
        return frame, picture
    box = object_box(_matte(picture))
    larger = with_item(frame, (box.width, box.height), plan.size, max_pixels)
    return larger, resized(picture, larger.content_size) if larger is not frame else picture


def _color(background: BackgroundParams, picture: Pixels) -> Channels | None:
    """What colour is laid behind everything, RGB or RGBA; or None."""
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
    color: Channels | None,
    pictures: Pictures | None,
    under: Pixels | None,
    cut: Sides,
) -> Composite:
    """The result's layers: a colour, another picture behind, what is under the task's picture, that one, a caption."""
    layer = Layer.lazy if frame.is_large else Layer.eager
    target = frame.output_size
    layers = []
    if color is not None:
        layers.append(Layer.lazy(filled((1, 1), color), Box(0, 0, *target)))
    if pictures is not None and pictures.replace is not None:
        layers.append(_covering(pictures.replace, frame))
    if box is not None:
        layers.append(layer(picture[box.rows, box.columns], Box(0, 0, *target)))
    else:
        width, height = frame.full
        left = offset(width, target[0], first=cut.left, last=cut.right)
        top = offset(height, target[1], first=cut.top, last=cut.bottom)
        layers += [layer(each, Box(left, top, width, height)) for each in (under, picture) if each is not None]
    if plan.caption is not None and pictures is not None and pictures.caption is not None:
        layers.append(caption_layer(pictures.caption, plan.caption, target, layer))
    result = Composite(target, tuple(layers))
    return result if frame.is_large else Composite(target, (Layer(result.whole(), Box(0, 0, *target)),))


def _covering(picture: Pixels, frame: Frame) -> Layer:
    """A picture that covers the result, its middle."""
    target = frame.output_size
    if not frame.is_large:
        return Layer(geometry.cover(picture, *target), Box(0, 0, *target))
    size = covering(size_of(picture), target)
    return Layer.lazy(picture, Box((target[0] - size[0]) // 2, (target[1] - size[1]) // 2, *size))


def _seen(result: Composite) -> Pixels:
    """The result as the safety filter looks at it."""
    return result.reduced(COMPOSED_SIDE).whole()


async def _with_invisible_mark(plan: Plan, context: TaskContext, result: Composite) -> Composite:
    """The result with the operator's mark, if it is one that a network generated or changed."""
    mark = context.marking.invisible
    if mark is None or plan.origin is Origin.EDITED:
        return result
    encoder, decoder = context.tools.need("watermark_encoder"), context.tools.need("watermark_decoder")
    seen = await asyncio.to_thread(_seen, result)
    return await asyncio.to_thread(result.changed, await invisible.change_of(encoder, decoder, seen, mark))


def write(plan: Plan, context: TaskContext, result: Composite, parents: tuple[Parent, ...]) -> Encoded:
    """The file with its marks. Takes long: call it in a thread."""

    def encode(output: OutputParams) -> Encoded:
        one = result.layers[0].picture
        is_whole = len(result.layers) == 1 and size_of(one) == result.size
        encoded = codec.encode(one, output) if is_whole else codec.encode_composite(result, output)
        if output.dpi is None:
            return encoded
        return replace(encoded, data=with_density(encoded.data, output.format, output.dpi))

    work = Work(
        origin=plan.origin,
        recipe=plan.recipe,
        family=plan.family if plan.paints else None,
        seed=plan.seed,
        models=context.models(),
        parents=parents,
    )
    return context.marking.write(encode, plan.output, work)
