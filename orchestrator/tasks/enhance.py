"""A picture made better by classical means."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import MappingProxyType

import numpy as np

from orchestrator.diffusion.latents import Pixels
from orchestrator.imaging.enhancing import colors, light, noise, sharpness
from orchestrator.params import Enhancement, EnhancementKind, EnhancementMethod

Work = Callable[[Pixels, float], Pixels]
"""An RGB picture and a level to a picture."""
_ENHANCERS = ThreadPoolExecutor(max_workers=2, thread_name_prefix="enhance")
"""Of this process: work that takes seconds and cannot be stopped holds up its like alone."""

_WORKS: Mapping[tuple[EnhancementKind, EnhancementMethod | None], Work] = MappingProxyType(
    {
        (EnhancementKind.CLEAN, None): noise.clean,
        (EnhancementKind.DENOISE, EnhancementMethod.V1): noise.denoise,
        (EnhancementKind.DENOISE, EnhancementMethod.V2): partial(noise.denoise, strong=True),
        (EnhancementKind.EXPOSURE_CORRECTION, None): light.expose,
        (EnhancementKind.WHITE_BALANCE, None): colors.balance,
        (EnhancementKind.LIGHT, EnhancementMethod.CONTRAST): light.contrast,
        (EnhancementKind.LIGHT, EnhancementMethod.HDR_LIGHT): light.fuse,
        (EnhancementKind.LIGHT, EnhancementMethod.HDR_LIGHT_ADVANCED): partial(light.fuse, advanced=True),
        (EnhancementKind.COLOR, EnhancementMethod.CONTRAST): colors.strengthen,
        (EnhancementKind.COLOR, EnhancementMethod.HDR_LIGHT): partial(colors.strengthen, vibrance=True),
        (EnhancementKind.COLOR, EnhancementMethod.HDR_LIGHT_ADVANCED): partial(
            colors.strengthen, vibrance=True, keep_skin=True
        ),
        (EnhancementKind.DEBLUR, EnhancementMethod.V1): sharpness.unsharp,
        (EnhancementKind.DEBLUR, EnhancementMethod.V2): sharpness.deconvolve,
    }
)


async def enhance(picture: Pixels, enhancements: Sequence[Enhancement]) -> Pixels:
    """Everything but faces, in the order of EnhancementKind; what is transparent stays so."""
    kinds = list(EnhancementKind)
    for each in sorted(enhancements, key=lambda one: kinds.index(one.kind)):
        if each.kind is not EnhancementKind.FACE_ENHANCE:
            work = partial(_enhanced, picture, _WORKS[each.kind, each.way], each.amount)
            picture = await asyncio.get_running_loop().run_in_executor(_ENHANCERS, work)
    return picture


def _enhanced(picture: Pixels, work: Work, amount: float) -> Pixels:
    colours = work(np.ascontiguousarray(picture[..., :3]), amount)
    return np.concatenate([colours, picture[..., 3:]], axis=2)
