"""A picture enhanced by classical means."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import MappingProxyType

import numpy as np

from orchestrator.arrays import Pixels
from orchestrator.imaging.enhancing import colors, light, noise, sharpness
from orchestrator.imaging.enhancing.hidden import seen_colours
from orchestrator.params import Enhancement, EnhancementKind, EnhancementMethod

Work = Callable[..., Pixels]
"""An RGB picture and a level to a picture; what is in _BY_OPACITY takes the opacity of its pixels as well."""
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


_BY_OPACITY = frozenset({EnhancementKind.DENOISE, EnhancementKind.EXPOSURE_CORRECTION, EnhancementKind.WHITE_BALANCE})
"""What measures the whole picture first."""


async def enhance(picture: Pixels, enhancements: Sequence[Enhancement]) -> Pixels:
    """Everything but faces, in the order of EnhancementKind; what is transparent stays so, and counts for nothing."""
    kinds = list(EnhancementKind)
    for each in sorted(enhancements, key=lambda one: kinds.index(one.kind)):
        if each.kind is not EnhancementKind.FACE_ENHANCE:
            work = partial(_enhanced, picture, each)
            picture = await asyncio.get_running_loop().run_in_executor(_ENHANCERS, work)
    return picture


def _enhanced(picture: Pixels, enhancement: Enhancement) -> Pixels:
    work, amount = _WORKS[enhancement.kind, enhancement.way], enhancement.amount
    if picture.shape[2] == 3:
        return work(picture, amount)
    colours, opacity = seen_colours(picture), picture[..., 3]
    if enhancement.kind in _BY_OPACITY:
        return np.dstack([work(colours, amount, np.ascontiguousarray(opacity)), opacity])
    return np.dstack([work(colours, amount), opacity])
