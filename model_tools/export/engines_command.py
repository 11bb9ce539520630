"""`python -m model_tools engines FOLDER...`: TensorRT engines of model folders: what is to be built, and the building.

It writes engine.json and config.tensorrt.pbtxt into each folder (tensorrt.py). With --build it starts NVIDIA's Triton
image on this machine's GPU, which builds (helm/imagegen/files/engines.py); the chart's Job does the same in a cluster.
No image is named here: it must be the one that will serve, by its digest.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

from model_tools.export.folders import MAX_BATCH_SIZE
from model_tools.export.tensorrt import PRECISIONS, Profile, TensorrtError, describe

SCRIPT = Path(__file__).parents[2] / "helm" / "imagegen" / "files" / "engines.py"
CACHE = Path(".local") / "engines"
GPUS = {"docker": ("--gpus", "all"), "podman": ("--device", "nvidia.com/gpu=all", "--security-opt", "label=disable")}
"""How each runtime is asked for GPUs; podman by NVIDIA's CDI."""


def container_command(folders: list[Path], image: str, runtime: str, cache: Path) -> list[str]:
    """What builds the engines of these model folders into `cache`.

    Raises:
        TensorrtError: two folders have the same name.
    """
    names = [folder.name for folder in folders]
    if double := sorted({name for name in names if names.count(name) > 1}):
        raise TensorrtError(f"two folders are called {double[0]}")
    mounts = [
        *((str(folder.resolve()), f"/models/{folder.name}", "ro") for folder in folders),
        (str(SCRIPT), "/scripts/engines.py", "ro"),
        (str(cache.resolve()), "/engines", "rw"),
    ]
    return [
        *(runtime, "run", "--rm", *GPUS[runtime]),
        *(word for mount in mounts for word in ("--volume", ":".join(mount))),
        *(image, "python3", "/scripts/engines.py", "build", "--models", "/models", "--engines", "/engines"),
    ]


def build(folders: list[Path], image: str | None, runtime: str, cache: Path) -> int:
    """Build the engines, what is there already left as it is; the container's exit code.

    Raises:
        TensorrtError: no image is named, the runtime is not installed, or two folders have the same name.
    """
    if not image:
        raise TensorrtError("--build needs --image: NVIDIA's Triton image, the one that will serve, by its digest")
    command = container_command(folders, image, runtime, cache)
    if shutil.which(runtime) is None:
        raise TensorrtError(f"{runtime} is not installed here")
    cache.mkdir(parents=True, exist_ok=True)
    return subprocess.run(command, check=False).returncode  # noqa: S603  # words of ours, and what the user asked for


def main(words: list[str]) -> int:
    """Describe the folders, and build if that is asked for; exit code 1, and a line, if it cannot be done."""
    arguments = _parse(words)
    try:
        profile = Profile(_sides(arguments), arguments.rows)
        for folder in arguments.folders:
            shapes = describe(folder, profile, arguments.precision)
            print(f"{folder.name}: {shapes}")
        if arguments.build:
            return build(arguments.folders, arguments.image, arguments.runtime, arguments.cache)
    except TensorrtError as error:
        print(f"engines: {error}", file=sys.stderr)
        return 1
    return 0


def _parse(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m model_tools engines", description=__doc__.split("\n", 1)[0])
    parser.add_argument("folders", metavar="FOLDER", nargs="+", type=Path)
    sides = parser.add_mutually_exclusive_group()
    sides.add_argument("--sides", type=_three, help="smallest, usual and largest side of pictures: 512:1024:1536")
    sides.add_argument("--sizes", type=_two, help="the same, the smallest being usual: 512..1024")
    parser.add_argument("--rows", type=_three, default=Profile.rows, help=f"of a batch: 1:2:{MAX_BATCH_SIZE}")
    parser.add_argument("--precision", choices=PRECISIONS, default="strong", help="strong: as the graph has it")
    parser.add_argument("--build", action="store_true", help="build on this machine's GPU")
    parser.add_argument("--image", help="NVIDIA's Triton image, for --build")
    parser.add_argument("--runtime", choices=GPUS, default="docker")
    parser.add_argument("--cache", type=Path, default=CACHE, help=f"where engines are kept: {CACHE}")
    return parser.parse_args(words)


def _sides(arguments: argparse.Namespace) -> tuple[int, int, int]:
    if arguments.sizes:
        low, high = arguments.sizes
        return low, low, high
    sides: tuple[int, int, int] = arguments.sides or Profile.sides
    return sides


def _three(text: str) -> tuple[int, int, int]:
    low, usual, high = (int(word) for word in text.split(":"))
    return low, usual, high


def _two(text: str) -> tuple[int, int]:
    low, high = (int(word) for word in text.split(".."))
    return low, high


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
