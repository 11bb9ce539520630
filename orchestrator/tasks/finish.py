"""The last stage of every task: the background, the fit, the file."""

import asyncio
from collections.abc import Awaitable, Callable

from orchestrator.diffusion.latents import Pixels, Size
from orchestrator.diffusion.pipeline import Stage
from orchestrator.diffusion.stages import Steps
from orchestrator.imaging import codec, geometry
from orchestrator.imaging.boxes import Box
from orchestrator.imaging.codec import Encoded
from orchestrator.imaging.layers import border_color, filled, over, placed, resized
from orchestrator.params import BackgroundParams, Fit, OutputParams
from orchestrator.tasks.cropping import crop_box
from orchestrator.tasks.cutout import cut_out
from orchestrator.tasks.frame import Frame
from orchestrator.tasks.pictures import size_of
from orchestrator.tasks.plan import Plan
from orchestrator.tasks.workshop import Made, Workshop

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
    replace: Pixels | None = None,
    steps: int = 0,
) -> Made:
    """Compose the task's picture, of frame.made, fit it into frame.target, and write the file.

    The background is removed before the picture is fitted; a colour and another picture are laid behind all of the
    result, what FIT_CANVAS adds included.

    Raises:
        PreconditionError: there is no object where background.remove needs one; no quality fits output.max_file_size.
        UnsupportedTaskError, EngineUnavailableError, EngineFaultError: of the matting network, where it is needed.
        Whatever the listener raises.
    """
    background, layout = plan.background, plan.layout
    async with workshop.stage(Stage.FINISH) as telling:
        picture = await compose(telling)
        behind = await asyncio.to_thread(_behind, background, picture, frame.target)
        if background.remove is not None:
            picture = await cut_out(workshop, picture, background.remove, telling)
        box = None
        if layout.fit is Fit.CROP and size_of(picture) != frame.target:
            box = await crop_box(workshop, picture, frame.target, layout.gravity, telling)
        encoded = await asyncio.to_thread(_write, picture, frame, box, behind, replace, plan.output)
    return Made(encoded, *frame.target, steps, plan.sampler if plan.paints else None)


def _behind(background: BackgroundParams, picture: Pixels, size: Size) -> Pixels | None:
    """What is laid behind everything: one colour at `size`, or nothing."""
    color = background.color
    if color is None:
        return None
    if color.auto:
        return filled(size, border_color(picture))
    return filled(size, color.rgba if color.alpha < 255 else color.rgba[:3])


def _write(
    picture: Pixels, frame: Frame, box: Box | None, behind: Pixels | None, replace: Pixels | None, output: OutputParams
) -> Encoded:
    fitted = _fitted(picture, frame, box)
    if replace is not None:
        fitted = over(fitted, geometry.cover(replace, *frame.target))
    if behind is not None:
        fitted = over(fitted, behind)
    return codec.encode(fitted, output)


def _fitted(picture: Pixels, frame: Frame, box: Box | None) -> Pixels:
    if box is not None:
        return resized(picture[box.rows, box.columns], frame.target)
    width, height = size_of(picture)
    if (width, height) == frame.target:
        return picture
    return placed(picture, frame.target, (frame.target[0] - width) // 2, (frame.target[1] - height) // 2)
