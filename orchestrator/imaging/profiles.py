"""Embedded ICC profiles to sRGB (Little CMS)."""

from io import BytesIO

import numpy as np
import structlog
from PIL import Image, ImageCms

log = structlog.get_logger()

MODES = {"RGB ": "RGB", "GRAY": "L", "CMYK": "CMYK"}
"""ICC colour space of a profile -> Pillow mode of the pixels that it describes."""

SAME = 2
"""A profile that moves no colour by more 8-bit steps than this is sRGB, written with other rounding."""


def to_srgb(profile: bytes | None, mode: str) -> ImageCms.ImageCmsTransform | None:
    """What turns pixels of Pillow mode "RGB", "L" or "CMYK" into sRGB; None where nothing is to do.

    Relative colorimetric with black point compensation. None too for a profile that is broken or that describes other
    pixels than these: such a picture is read as if it had none.
    """
    if not profile:
        return None
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        space = source.profile.xcolor_space
        if MODES.get(space) != mode:
            log.info("ICC profile ignored", reason=f"it describes {space!r}, the pixels are {mode}")
            return None
        transform = ImageCms.buildTransform(
            source,
            ImageCms.createProfile("sRGB"),
            mode,
            "RGB",
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
        return None if _changes_nothing(transform, mode) else transform
    except Exception as error:  # noqa: BLE001 - a profile is bytes from outside; whatever is wrong, it is ignored
        log.info("ICC profile ignored", reason=repr(error))
        return None


def _changes_nothing(transform: ImageCms.ImageCmsTransform, mode: str) -> bool:
    """Whether sRGB goes in: then the file's own bytes are kept, which a trip through Lab would round."""
    if mode == "CMYK":
        return False
    levels = np.arange(0, 256, 15, dtype=np.uint8)
    colours = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(1, -1, 3)
    before = Image.fromarray(colours if mode == "RGB" else levels[None])
    after = ImageCms.applyTransform(before, transform)
    if after is None:  # only where it works in place
        return False
    shift = np.asarray(after, np.int16) - np.asarray(before.convert("RGB"), np.int16)
    return bool(np.abs(shift).max() <= SAME)
