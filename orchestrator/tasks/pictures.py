"""The client's pictures: fetched and decoded, all at once."""

import asyncio
from dataclasses import dataclass

from orchestrator.diffusion.latents import Pixels, Size
from orchestrator.imaging.decode import decode
from orchestrator.params import ImageSource, Inpaint, TextToImage
from orchestrator.tasks.plan import Plan
from orchestrator.tasks.workshop import Workshop


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
    return await asyncio.to_thread(decode, data or b"", workshop.limits, field)
