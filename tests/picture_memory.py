"""`python -m tests.picture_memory`: what docs/files.md says of memory. Needs root, and cgroups of either version.

python -m tests.picture_memory eight PNG           # eight files of 8192 x 8192 RGBA pixels at once
python -m tests.picture_memory large JPEG 10000 10000   # one result of that size
"""

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

from PIL import Image

from orchestrator.config import Settings
from orchestrator.memory import PictureMemory
from orchestrator.params import Edit, Fit, ImageFormat, ImageSource, LayoutParams, OutputParams, SizeParams
from orchestrator.tasks.budget import Budgets
from tests.unit.orchestrator.world import DECODING
from tests.unit.tasks.task_harness import EVERYTHING, TaskHarness

LIMIT = 4 << 30
"""Of the group: the chart's."""
SIDE = 8192
PHOTOGRAPH = Path(__file__).parents[1] / "local" / "pictures" / "astronaut.jpg"
_MOUNT = Path("/sys/fs/cgroup")


class Group:
    """A cgroup that this process, and all that it starts, runs in."""

    def __init__(self) -> None:
        """Make it, and enter it."""
        self._is_v2 = (_MOUNT / "cgroup.controllers").exists()
        self._parent = _MOUNT if self._is_v2 else _MOUNT / "memory"
        self._folder = self._parent / f"picture_memory_{os.getpid()}"
        self._folder.mkdir()
        (self._folder / ("memory.max" if self._is_v2 else "memory.limit_in_bytes")).write_text(str(LIMIT))
        self._enter(self._folder)

    def leave(self) -> None:
        """Leave and remove it."""
        self._enter(self._parent)
        self._folder.rmdir()

    @property
    def peak(self) -> int:
        """The most that was taken so far, MiB."""
        name = "memory.peak" if self._is_v2 else "memory.max_usage_in_bytes"
        return int((self._folder / name).read_text()) >> 20

    def _enter(self, folder: Path) -> None:
        (folder / "cgroup.procs").write_text(str(os.getpid()))


@contextmanager
def harness(memory: PictureMemory) -> Iterator[TaskHarness]:
    """Tasks with the real decoders and the budget of the group's limit."""
    with tempfile.TemporaryDirectory() as folder:
        made = TaskHarness(EVERYTHING, Path(folder))
        made.max_pixels, made.budgets = Settings().max_pixels, Budgets.of(memory.fetched, memory.working)
        yield made


async def generate(tasks: TaskHarness, data: bytes, size: SizeParams, image_format: ImageFormat) -> None:
    """One result, and what it took."""
    start, output = time.perf_counter(), OutputParams(format=image_format, quality=90)
    made = await tasks.run(
        Edit(image=ImageSource(data=data)), size=size, layout=LayoutParams(fit=Fit.CROP), output=output
    )
    seconds = time.perf_counter() - start
    print(f"{made.width} x {made.height}, {len(made.encoded.data) >> 20} MiB, {seconds:.1f} s", flush=True)


async def eight(tasks: TaskHarness, image_format: str) -> None:
    """Eight small files of many pixels at once, as results of 4096 x 4096."""
    file = BytesIO()
    options = {"lossless": True, "quality": 0, "method": 0} if image_format == "WEBP" else {"compress_level": 9}
    Image.new("RGBA", (SIDE, SIDE), (200, 30, 40, 128)).save(file, image_format, **options)
    print(f"8 files of {len(file.getvalue())} bytes, {SIDE} x {SIDE} pixels")
    size = SizeParams(width=4096, height=4096)
    await asyncio.gather(*(generate(tasks, file.getvalue(), size, ImageFormat.PNG) for _ in range(8)))


async def large(tasks: TaskHarness, image_format: str, width: str, height: str) -> None:
    """A photograph of 512 x 512, enlarged."""
    size = SizeParams(width=int(width), height=int(height))
    await generate(tasks, PHOTOGRAPH.read_bytes(), size, ImageFormat[image_format])


KINDS: dict[str, Callable[..., Coroutine[None, None, None]]] = {"eight": eight, "large": large}


def main(what: str, *arguments: str) -> None:
    """Run it within the group."""
    group = Group()
    try:
        memory = PictureMemory.of(Settings())
        print(memory)
        before = group.peak
        with harness(memory) as tasks:
            asyncio.run(KINDS[what](tasks, *arguments))
        print(f"peak {group.peak} MiB; {before} MiB before")
    finally:
        DECODING.close()
        group.leave()


if __name__ == "__main__":
    main(*sys.argv[1:])
