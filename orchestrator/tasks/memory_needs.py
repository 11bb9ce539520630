"""Bytes that a request's pictures take: while they are decoded, and while they are worked on."""

from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from common.errors import SettingsError
from orchestrator.config import Settings
from orchestrator.diffusion.latents import Size
from orchestrator.imaging.decode import BYTES_A_PIXEL, FILE_COPIES, FIXED_MEMORY, Measured
from orchestrator.memory import PictureMemory
from orchestrator.params import Edit, ImageFormat
from orchestrator.tasks.budget import MIB
from orchestrator.tasks.limits import COMPOSED_PIXELS
from orchestrator.tasks.plan import Plan

DECODED = 4
"""Bytes of a pixel once it is decoded."""
ENHANCING = 40
"""For each pixel of the picture that is enhanced first. docs/files.md has the figures of this table."""
PLAIN, COMPOSING = 36, 52
"""For each pixel of the result: where it is only resized, and where objects are cut out or painted parts blended."""
WRITING = {ImageFormat.PNG: 8, ImageFormat.JPEG: 6, ImageFormat.WEBP: 32}
"""For each pixel of the result: the file, and what its encoder takes."""
MOST_URLS = 7
"""Pictures of one request."""
MEGAPIXEL = 1_000_000
LOWERING = 0.9
"""Steps in which defaults are lowered on small machines."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Need:
    """Bytes that a request takes while its pictures are decoded, and from then on."""

    decoding: int
    working: int

    @property
    def most(self) -> int:
        """What it has to reserve."""
        return max(self.decoding, self.working)


def needed(plan: Plan, pictures: Sequence[Measured], main: Measured | None, result: Size) -> Need:
    """What a request takes with these pictures, `main` the one that the task starts from."""
    decoded = sum(DECODED * each.decoded for each in pictures)
    working = decoded + FIXED_MEMORY // 4
    if main is not None and plan.enhancements:
        working += ENHANCING * main.pixels
    working += _result(PLAIN if _is_plain(plan) else COMPOSING, WRITING[plan.output.format], result[0] * result[1])
    return Need(decoding=sum(each.memory for each in pictures), working=working)


def fitted(settings: Settings, memory: PictureMemory) -> Settings:
    """The settings, with defaults lowered where this machine cannot hold the largest picture that they allow.

    Raises:
        SettingsError: a value that the operator set can never fit, or the machine is too small; with the numbers.
    """
    for name, least in (("max_input_bytes", MIB), ("max_input_pixels", MEGAPIXEL), ("max_pixels", MEGAPIXEL)):
        value: int = getattr(settings, name)
        needs, has = _largest(settings, name), memory.fetched if name == "max_input_bytes" else memory.working
        if needs <= has:
            continue
        lowered = settings
        while _largest(lowered, name) > has and getattr(lowered, name) >= least:
            lowered = settings.model_copy(update={name: int(getattr(lowered, name) * LOWERING)})
        if name in settings.model_fields_set or getattr(lowered, name) < least:
            raise _too_large(name, value, needs, has, memory)
        log.warning("default_lowered", setting=f"IMAGEGEN_{name.upper()}", value=getattr(lowered, name), default=value)
        settings = lowered
    return settings


def _largest(settings: Settings, name: str) -> int:
    """Bytes that the largest picture takes which a setting allows."""
    if name == "max_input_bytes":
        return MOST_URLS * settings.max_input_bytes
    if name == "max_input_pixels":
        files = FIXED_MEMORY + FILE_COPIES * settings.max_input_bytes
        return files + max(BYTES_A_PIXEL.values()) * settings.max_input_pixels
    return _result(COMPOSING, WRITING[ImageFormat.PNG], settings.max_pixels)


def _too_large(name: str, value: int, needs: int, has: int, memory: PictureMemory) -> SettingsError:
    parts = {
        "messages that arrive": memory.arriving,
        "files that wait": memory.held,
        "fetched files": memory.fetched,
        "working": memory.working,
    }
    listed = ", ".join(f"{size // MIB} MiB for {use}" for use, size in parts.items())
    return SettingsError(
        f"IMAGEGEN_{name.upper()}={value} may need {needs // MIB} MiB, and {has // MIB} MiB are available: of the"
        f" {memory.limit // MIB} MiB of this machine or its cgroup {memory.total // MIB} MiB are for pictures"
        f" ({listed}). Lower IMAGEGEN_{name.upper()}, raise the memory limit, or set IMAGEGEN_PICTURE_MEMORY"
    )


def _result(composing: int, writing: int, pixels: int) -> int:
    """Bytes for a result: it is composed, and then written, of which a large one is enlarged as it is written."""
    if pixels <= COMPOSED_PIXELS:
        return (composing + writing) * pixels
    return max(composing * COMPOSED_PIXELS, DECODED * COMPOSED_PIXELS + writing * pixels)


def _is_plain(plan: Plan) -> bool:
    return isinstance(plan.task, Edit) and plan.background.remove is None and plan.faces is None
