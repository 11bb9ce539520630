"""The client's pictures: fetched and decoded, all at once."""

import asyncio
import contextvars
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from orchestrator.diffusion.latents import Pixels, Size
from orchestrator.imaging.decode import decode
from orchestrator.params import ImageSource, Inpaint, TextToImage
from orchestrator.tasks.plan import Plan
from orchestrator.tasks.workshop import Workshop

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
    """

    image: Pixels | None
    mask: Pixels | None
    replace: Pixels | None

    @property
    def main(self) -> Pixels:
        """The picture that the task starts from."""
        if self.image is None:
            raise ValueError("this task starts from no picture")
        return self.image


async def load(plan: Plan, workshop: Workshop) -> Pictures:
    """Fetch and decode all pictures of a request.

    Raises:
        InvalidRequestError: one cannot be fetched or read; the field is named, and the others are given up.
    """
    task = plan.task
    wanted = (
        (None if isinstance(task, TextToImage) else task.image, f"{task.name}.image"),
        (task.mask if isinstance(task, Inpaint) else None, f"{task.name}.mask"),
        (plan.background.replace, "background.replace"),
    )
    reads = [asyncio.create_task(_read(source, field, workshop)) for source, field in wanted]
    try:
        return Pictures(*await asyncio.gather(*reads))
    finally:
        for read in reads:
            read.cancel()
        await asyncio.gather(*reads, return_exceptions=True)  # nothing goes on after the job's end


def size_of(picture: Pixels) -> Size:
    """Width and height."""
    return picture.shape[1], picture.shape[0]


async def _read(source: ImageSource | None, field: str, workshop: Workshop) -> Pixels | None:
    if source is None:
        return None
    data = source.data if source.url is None else await workshop.fetch(source.url, field)
    # As asyncio.to_thread: what is logged there bears the request's id.
    read = partial(contextvars.copy_context().run, decode, data or b"", workshop.limits, field)
    return await asyncio.get_running_loop().run_in_executor(_READERS, read)
