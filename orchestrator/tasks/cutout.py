"""The main object of a picture: how much of each pixel belongs to it."""

import asyncio

import numpy as np

from orchestrator.diffusion.latents import Pixels, from_pixels
from orchestrator.diffusion.stages import Steps
from orchestrator.errors import EngineFaultError, PreconditionError
from orchestrator.imaging.layers import resized, with_alpha
from orchestrator.imaging.masks import Mask
from orchestrator.params import Removal
from orchestrator.tasks.workshop import Workshop

LEAST_SHARE, LEAST_OPACITY = 1e-4, 0.5
"""An object is there if it makes up this share of the picture at least, and any of it is as opaque as this."""


async def object_alpha(workshop: Workshop, picture: Pixels, field: str, steps: Steps) -> Mask:
    """Float32 (H, W) in [0, 1]: the picture's own opacity where it has any, else what the matting network finds.

    Raises:
        PreconditionError: there is no object; the field is named.
        UnsupportedTaskError, EngineUnavailableError, EngineFaultError: of the matting network.
        Whatever the listener raises.
    """
    if picture.shape[2] == 4:
        alpha = np.asarray(picture[..., 3] / np.float32(255), np.float32)
    else:
        alpha = await _matte(workshop, picture, steps)
    if float(alpha.mean()) < LEAST_SHARE or float(alpha.max()) < LEAST_OPACITY:
        raise PreconditionError(f"{field}: no object was found in the picture")
    return alpha


async def find_object(workshop: Workshop, picture: Pixels, field: str, steps: Steps) -> Pixels:
    """RGBA of the picture's object. Raises as object_alpha does."""
    alpha = await object_alpha(workshop, picture, field, steps)
    return picture if picture.shape[2] == 4 else await asyncio.to_thread(with_alpha, picture, alpha)


async def cut_out(workshop: Workshop, picture: Pixels, removal: Removal, steps: Steps) -> Pixels:
    """RGBA of the picture's object. Raises as object_alpha does."""
    alpha = await object_alpha(workshop, picture, "background.remove", steps)
    return await asyncio.to_thread(with_alpha, picture, alpha)


async def _matte(workshop: Workshop, picture: Pixels, steps: Steps) -> Mask:
    matting = workshop.tools.need("matting")
    side = matting.side
    small = await asyncio.to_thread(lambda: from_pixels(resized(picture, (side, side))))
    await steps.call()
    answer = await matting(small)
    if answer.shape != (1, 1, side, side) or not np.isfinite(answer).all():
        raise EngineFaultError(f"the matting network answered a tensor of shape {answer.shape}, or not finite")
    return await asyncio.to_thread(_to_size, answer[0, 0], (picture.shape[1], picture.shape[0]))


def _to_size(alpha: Mask, size: tuple[int, int]) -> Mask:
    grey = np.rint(alpha[..., None].repeat(3, axis=2) * 255).astype(np.uint8)
    return np.asarray(resized(grey, size)[..., 0] / np.float32(255), np.float32)
