"""The client's pictures: fetched, measured, and decoded once there is room for all of them."""

import asyncio
import contextvars
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

from orchestrator.diffusion.latents import Pixels, Size
from orchestrator.imaging.decode import DecodeLimits, decode, measure
from orchestrator.params import ImageSource, Inpaint, TextToImage
from orchestrator.provenance.marking import Parent, inspect
from orchestrator.tasks.enhance import enhance
from orchestrator.tasks.plan import Plan
from orchestrator.tasks.safety import screen
from orchestrator.tasks.workshop import Workshop

T = TypeVar("T")

_READERS = ThreadPoolExecutor(max_workers=2, thread_name_prefix="decode")
"""Of this process. A decoder that has begun cannot be stopped: so files that are slow to read, sent and cancelled again
and again, hold up each other and not the rest of the work; and no more than two pay the price of decoding at once."""


@dataclass(frozen=True, slots=True)
class Pictures:
    """What came with a request: uint8 (H, W, 3) RGB, or (H, W, 4) RGBA with straight alpha.

    Attributes:
        image: that the task starts from; None where it starts from none.
        mask: of inpaint.
        replace: what goes behind the picture.
        caption: what is laid over the result.
        replacement: what takes the place of a picture that the safety filter stops.
        parents: what the files of image, replace and caption, those that are given, state about their origin.
    """

    image: Pixels | None
    mask: Pixels | None
    replace: Pixels | None
    caption: Pixels | None
    replacement: Pixels | None = None
    parents: tuple[Parent, ...] = ()

    @property
    def main(self) -> Pixels:
        """The picture that the task starts from."""
        if self.image is None:
            raise ValueError("this task starts from no picture")
        return self.image


async def load(plan: Plan, workshop: Workshop) -> Pictures:
    """Fetch and decode all pictures of a request, and make the one that the task starts from better.

    Raises:
        InvalidRequestError: one cannot be fetched or read; the field is named, and the others are given up.
        PictureFilteredError: the request has its inputs screened, and one reaches the threshold.
    """
    task = plan.task
    wanted = (
        (None if isinstance(task, TextToImage) else task.image, f"{task.name}.image"),
        (task.mask if isinstance(task, Inpaint) else None, f"{task.name}.mask"),
        (plan.background.replace, "background.replace"),
        (None if plan.caption is None else plan.caption.image, "caption.image"),
        (None if plan.safety is None else plan.safety.replacement, "safety.replacement"),
    )
    files = await _together(_fetch(source, field, workshop) for source, field in wanted)
    there = [(file.pixels, field) for file, (_, field) in zip(files, wanted, strict=True) if file is not None]
    if there:
        await workshop.reserve(sum(pixels for pixels, _ in there), there[0][1])
    decoding = (_decode(file, field, workshop.limits) for file, (_, field) in zip(files, wanted, strict=True))
    image, mask, behind, caption, replacement = await _together(decoding)
    if plan.safety is not None and plan.safety.inputs:
        for picture, (_, field) in zip((image, behind, caption), (wanted[0], wanted[2], wanted[3]), strict=True):
            if picture is not None:
                await screen(workshop, plan.safety, picture, replacement, field)
    shown = [file.data for file in (files[0], files[2], files[3]) if file is not None]
    parents = await asyncio.to_thread(lambda: tuple(inspect(data) for data in shown))
    if image is not None and plan.enhancements:
        image = await enhance(image, plan.enhancements)
    return Pictures(image, mask, behind, caption, replacement, parents)


def size_of(picture: Pixels) -> Size:
    """Width and height."""
    return picture.shape[1], picture.shape[0]


async def _together(work: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """What all of them answer. If one fails, the others end before its error goes on."""
    running = [asyncio.create_task(each) for each in work]
    try:
        return list(await asyncio.gather(*running))
    finally:
        for each in running:
            each.cancel()
        await asyncio.gather(*running, return_exceptions=True)  # nothing goes on after the job's end


@dataclass(frozen=True, slots=True)
class _File:
    """A picture that is not decoded yet, and how many pixels it will have."""

    data: bytes
    pixels: int


async def _fetch(source: ImageSource | None, field: str, workshop: Workshop) -> _File | None:
    if source is None:
        return None
    data = (source.data if source.url is None else await workshop.fetch(source.url, field)) or b""
    return _File(data, await _read(measure, data, field, workshop.limits))


async def _decode(file: _File | None, field: str, limits: DecodeLimits) -> Pixels | None:
    if file is None:
        return None
    # No more than measured: a file may hold another size than its header says.
    return await _read(decode, file.data, field, replace(limits, max_pixels=min(limits.max_pixels, file.pixels)))


async def _read(work: Callable[[bytes, DecodeLimits, str], T], data: bytes, field: str, limits: DecodeLimits) -> T:
    """What `work` answers of a file, in a thread."""
    # As asyncio.to_thread: what is logged there bears the request's id.
    read = partial(contextvars.copy_context().run, work, data, limits, field)
    return await asyncio.get_running_loop().run_in_executor(_READERS, read)
