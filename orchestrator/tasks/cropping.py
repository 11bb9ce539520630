"""Which part of a picture is kept where it is cut."""

from orchestrator.diffusion.latents import Pixels, Size
from orchestrator.diffusion.stages import Steps
from orchestrator.imaging.boxes import Box
from orchestrator.params import CropGravity
from orchestrator.tasks.frame import contained
from orchestrator.tasks.pictures import size_of
from orchestrator.tasks.workshop import Workshop


async def crop_box(workshop: Workshop, picture: Pixels, target: Size, gravity: CropGravity, steps: Steps) -> Box:
    """The largest part of target's ratio."""
    width, height = contained(target, size_of(picture))
    have = size_of(picture)
    return Box((have[0] - width) // 2, (have[1] - height) // 2, width, height)
