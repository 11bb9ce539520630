"""Bytes that a request's pictures take: while they are decoded, and while they are worked on."""

from collections.abc import Sequence
from dataclasses import dataclass

from common.settings import SettingsError
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
"""For each pixel of the picture that is made better first. docs/files.md has the figures of this table."""
PLAIN, COMPOSING = 36, 52
"""For each pixel of the result: where it is only resized, and where objects are cut out or painted parts blended."""
WRITING = {ImageFormat.PNG: 8, ImageFormat.JPEG: 6, ImageFormat.WEBP: 32}
"""For each pixel of the result: the file, and what its encoder takes."""
MOST_URLS = 7
"""Pictures of one request."""


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


def check(settings: Settings, memory: PictureMemory) -> None:
    """Refuse settings whose largest picture can never be read, or whose largest result can never be generated.

    Raises:
        SettingsError: with the numbers.
    """
    files = MOST_URLS * settings.max_input_bytes
    largest = FIXED_MEMORY + FILE_COPIES * settings.max_input_bytes
    largest += max(BYTES_A_PIXEL.values()) * settings.max_input_pixels
    result = _result(COMPOSING, WRITING[ImageFormat.PNG], settings.max_pixels)
    for name, value, needs, has in (
        ("MAX_INPUT_BYTES", settings.max_input_bytes, files, memory.fetched),
        ("MAX_INPUT_PIXELS", settings.max_input_pixels, largest, memory.working),
        ("MAX_PIXELS", settings.max_pixels, result, memory.working),
    ):
        if needs > has:
            parts = {
                "messages that arrive": memory.arriving,
                "files that wait": memory.held,
                "fetched files": memory.fetched,
                "working": memory.working,
            }
            listed = ", ".join(f"{size // MIB} MiB for {use}" for use, size in parts.items())
            raise SettingsError(
                f"IMAGEGEN_{name}={value} may need {needs // MIB} MiB, and {has // MIB} MiB are there for it: of the"
                f" {memory.limit // MIB} MiB of this machine or its cgroup {memory.total // MIB} MiB are for pictures"
                f" ({listed}). Lower IMAGEGEN_{name}, raise the memory limit, or set IMAGEGEN_PICTURE_MEMORY"
            )


def _result(composing: int, writing: int, pixels: int) -> int:
    """Bytes for a result: it is composed, and then written, of which a large one is enlarged as it is written."""
    if pixels <= COMPOSED_PIXELS:
        return (composing + writing) * pixels
    return max(composing * COMPOSED_PIXELS, DECODED * COMPOSED_PIXELS + writing * pixels)


def _is_plain(plan: Plan) -> bool:
    return isinstance(plan.task, Edit) and plan.background.remove is None and plan.faces is None
