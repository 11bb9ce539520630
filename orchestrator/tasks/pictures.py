"""The client's pictures: fetched, measured, and decoded once there is room for all of them."""

import asyncio
from collections.abc import Coroutine, Iterable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from orchestrator.arrays import Pixels
from orchestrator.diffusion.latents import Size
from orchestrator.errors import InvalidRequestError, Reason, Violation
from orchestrator.imaging import sniff
from orchestrator.imaging.decode import Measured, not_a_picture
from orchestrator.params import ImageFormat, ImageSource
from orchestrator.params.storage import is_storage
from orchestrator.provenance.marking import Parent, inspect
from orchestrator.tasks import memory_needs
from orchestrator.tasks.context import TaskContext
from orchestrator.tasks.enhance import enhance
from orchestrator.tasks.frame import result_size
from orchestrator.tasks.limits import WEBP_SIDE
from orchestrator.tasks.plan import Plan, text_size
from orchestrator.tasks.safety import screen

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Pictures:
    """What came with a request: uint8 (H, W, 3) RGB, or (H, W, 4) RGBA with straight alpha.

    Attributes:
        image: that the task starts from; None where it starts from none.
        mask: of inpaint.
        replace: what goes behind the picture.
        caption: what is laid over the result.
        replacement: what takes the place of a picture that the safety filter stops.
        others: that go with it: new face of face_swap, references of image_to_image and inpaint, in their order.
        parents: what the files of image, replace and caption, those that are given, state about their origin.
    """

    image: Pixels | None
    mask: Pixels | None
    replace: Pixels | None
    caption: Pixels | None
    replacement: Pixels | None = None
    parents: tuple[Parent, ...] = ()
    others: tuple[Pixels, ...] = ()

    @property
    def main(self) -> Pixels:
        """The picture that the task starts from."""
        if self.image is None:
            raise ValueError("this task starts from no picture")
        return self.image


async def load(plan: Plan, context: TaskContext) -> Pictures:
    """Fetch and decode all pictures of a request, and enhance the one that the task starts from.

    Raises:
        InvalidRequestError: one cannot be fetched or read, or all of it needs more memory than there is; the field is
            named, and the others are given up.
        PictureFilteredError: the request has its inputs screened, and one reaches the threshold.
    """
    task = plan.task
    main, masked = f"{task.name}.image", f"{task.name}.mask"
    around = {field: source for field, source in task.sources.items() if field not in {main, masked}}
    wanted: tuple[tuple[ImageSource | None, str], ...] = (
        (task.sources.get(main), main),
        (task.sources.get(masked), masked),
        (plan.background.replace, "background.replace"),
        (None if plan.caption is None else plan.caption.image, "caption.image"),
        (None if plan.safety is None else plan.safety.replacement, "safety.replacement"),
        *((source, field) for field, source in around.items()),
    )
    given = [(source, field) for source, field in wanted if source is not None]
    await _reserve_fetching(given, context)
    files = await _together(_fetch(source, field, context) for source, field in given)
    context.memory.fetched.keep(sum(len(file.data) for file in files if file.is_fetched))
    need = await _reserve_work(plan, context, files)
    decoded = dict(
        zip([file.field for file in files], await _together(_decode(f, context) for f in files), strict=True)
    )
    context.memory.working.keep(need.working)
    image, mask, behind, caption, replacement = (decoded.get(field) for _, field in wanted[:5])
    others = {field: decoded[field] for field in around}
    if plan.safety is not None and plan.safety.inputs:
        shown = {main: image, "background.replace": behind, "caption.image": caption, **others}
        for field, picture in shown.items():
            if picture is not None:
                await screen(context, plan.safety, picture, replacement, field)
    seen = {main, "background.replace", "caption.image", *around}
    data = [file.data for file in files if file.field in seen]
    parents = await asyncio.to_thread(lambda: tuple(inspect(each) for each in data))
    if image is not None and plan.enhancements:
        image = await enhance(image, plan.enhancements)
    return Pictures(image, mask, behind, caption, replacement, parents, tuple(others.values()))


async def _reserve_fetching(given: Iterable[tuple[ImageSource, str]], context: TaskContext) -> None:
    """Wait for memory for the files that are fetched, as large as they may be."""
    fields = [field for source, field in given if source.url is not None]
    if fields:
        await context.memory.fetch(len(fields) * context.max_input_bytes, fields[0])


async def _reserve_work(plan: Plan, context: TaskContext, files: "list[_File]") -> memory_needs.Need:
    """Wait for memory for decoding the files and working on them."""
    main = next((file.measured for file in files if file.field == f"{plan.task.name}.image"), None)
    own = text_size(plan.size, context.family) if main is None else (main.width, main.height)
    result = result_size(own, plan.size, plan.layout, context.max_pixels)
    if plan.output.format is ImageFormat.WEBP and max(result) > WEBP_SIDE:
        said = (
            f"must not be webp: the result has {result[0]} x {result[1]} pixels, and WebP holds {WEBP_SIDE} on a side;"
        )
        raise InvalidRequestError(Violation("output.format", f"{said} ask for png or jpeg"))
    need = memory_needs.needed(plan, [file.measured for file in files], main, result)
    await context.memory.work(need.most, files[0].field if files else "size")
    return need


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
    """A picture that is not decoded yet."""

    field: str
    data: bytes
    is_fetched: bool
    measured: Measured


async def _fetch(source: ImageSource, field: str, context: TaskContext) -> _File:
    data = (source.data if source.url is None else await context.fetch(source.url, field)) or b""
    if data and source.url is not None and is_storage(source.url) and sniff.format_of(data) is None:
        raise InvalidRequestError(Violation(field, not_a_picture(data), Reason.STORAGE_NOT_IMAGE))
    measured = await context.decoders.measure(data, context.limits, field)
    return _File(field, data, source.url is not None, measured)


async def _decode(file: _File, context: TaskContext) -> Pixels:
    # No more than measured: a file may hold another size than its header says.
    limits = replace(context.limits, max_pixels=min(context.limits.max_pixels, file.measured.decoded))
    return await context.decoders.decode(file.data, limits, file.field, file.measured.memory)
