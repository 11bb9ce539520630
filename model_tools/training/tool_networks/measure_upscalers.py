"""Compares ways of enlarging on photographs and rendered text that are reduced by area: docs/networks/upscalers.json.

The code of the service enlarges (orchestrator/tasks/enlarge.py, orchestrator/imaging/text.py), with graphs opened in
this process.
"""

import asyncio
import io
import json
import time
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from skimage.metrics import structural_similarity

from engines.network import Network, choose_precision, read_cpu_flags
from model_tools.export.folders import graph_path
from model_tools.training.paths import REPOSITORY
from model_tools.training.photographs import HELD_OUT, OBJECTS, TEXTURES, load
from model_tools.training.tool_networks.realesrgan import EXTRA
from orchestrator.arrays import Floats
from orchestrator.diffusion.stages import Calls, Stage, StepDone, Steps
from orchestrator.imaging import text
from orchestrator.models.tools import Tools
from orchestrator.tasks import enlarge

Pixels = NDArray[np.uint8]
SIDE = 256
"""Longest side of what is reduced, pixels: the middle of a photograph."""
LARGE_SIDE = 128
"""The same for the large network, which takes minutes for a megapixel on a CPU, and is measured on HELD_OUT alone."""
TEXTS = 4
SMOOTHING = 170.0
"""The constant of GMSD for 8-bit pictures."""


class Opened:
    """An upscaling graph in this process, by the contract of orchestrator/models/tools.py, that counts its time."""

    def __init__(self, graph: Path) -> None:
        self._network = Network(graph, choose_precision("auto", read_cpu_flags()))
        self.seconds, self.pixels = 0.0, 0

    @cached_property
    def scale(self) -> int:
        """Found by asking."""
        return int(self._network.run({"image": np.zeros((1, 3, 32, 32), np.float32)})["upscaled"].shape[2]) // 32

    async def __call__(self, image: Floats) -> Floats:
        """See tools.Upscaler."""
        start = time.perf_counter()
        answer = np.array(self._network.run({"image": image})["upscaled"], np.float32)
        self.seconds += time.perf_counter() - start
        self.pixels += image.shape[2] * image.shape[3]
        return answer


def measure_upscalers(path: Path, previous: Path | None) -> None:
    """Write the figures.

    Args:
        path: of the JSON file.
        previous: the graph of a network that was served before, to compare with.
    """
    graphs = {"small": graph_path(REPOSITORY, "upscaler"), "large": graph_path(EXTRA, "upscaler_large")}
    networks = {name: Opened(graph) for name, graph in graphs.items()}
    if previous is not None:
        networks["previous"] = Opened(previous)
    rows = [row for times in (2, 4) for kind in ("photographs", "jpeg", "text") for row in _rows(kind, times, networks)]
    speeds = {name: 1e6 * each.seconds / each.pixels for name, each in networks.items() if each.pixels}
    result = {"seconds_per_megapixel_of_input": speeds, "rows": rows}
    path.write_text(json.dumps(result, indent=1) + "\n")
    for row in rows:
        print(row)
    print(speeds)


def _rows(kind: str, times: int, networks: Mapping[str, Opened]) -> Iterator[dict[str, Any]]:
    """Means over the pictures of one kind, for each way of enlarging."""
    found: dict[str, list[tuple[float, float, float]]] = {}
    for number, whole in enumerate(_pictures(kind)):
        for name, network in {"bicubic": None, "lanczos": None, **networks}.items():
            if name == "large" and (kind != "photographs" or number >= len(HELD_OUT)):
                continue
            side = LARGE_SIDE if name == "large" else SIDE
            picture = _middle(whole, side, times)
            small = _reduced(picture, times, jpeg=kind == "jpeg")
            enlarged = _enlarged(small, picture.shape[1::-1], name, network)
            found.setdefault(name, []).append(_figures(enlarged, picture))
            if kind == "text" and name == "lanczos":
                found.setdefault("strokes", []).append(_figures(text.enlarge(small, picture.shape[1::-1]), picture))
            if kind == "text" and network is not None:
                found.setdefault(f"{name} and strokes", []).append(_figures(_strokes(small, picture, network), picture))
    for name, each in found.items():
        psnr, ssim, gmsd = np.mean(each, axis=0).round(4).tolist()
        yield {
            "kind": kind,
            "times": times,
            "way": name,
            "pictures": len(each),
            "psnr_db": psnr,
            "ssim": ssim,
            "gmsd": gmsd,
        }


def _pictures(kind: str) -> Iterator[Pixels]:
    if kind == "text":
        yield from (written(seed) for seed in range(TEXTS))
    else:
        yield from (load(name) for name in (*HELD_OUT, *OBJECTS, *TEXTURES))


def written(seed: int) -> Pixels:
    """Lines of letters in three typefaces, 14 to 40 pixels high: uint8 (320, 480, 3)."""
    random = np.random.default_rng(seed)
    picture = Image.new("RGB", (480, 320), tuple(random.integers(200, 256, 3).tolist()))
    draw, top = ImageDraw.Draw(picture), 8
    while top < 300:
        size = int(random.integers(14, 40))
        letters = "".join(map(chr, random.integers(65, 123, 40)))
        face = ("DejaVuSans", "DejaVuSerif", "DejaVuSansMono-Bold")[random.integers(3)]
        font = ImageFont.truetype(Path(mpl.get_data_path()) / f"fonts/ttf/{face}.ttf", size)
        draw.text((8, top), letters, fill=tuple(random.integers(0, 120, 3).tolist()), font=font)
        top += int(1.3 * size)
    return np.asarray(picture)


def _middle(picture: Pixels, side: int, times: int) -> Pixels:
    height, width = (min(side, length) // times * times for length in picture.shape[:2])
    top, left = (picture.shape[0] - height) // 2, (picture.shape[1] - width) // 2
    return picture[top : top + height, left : left + width]


def _reduced(picture: Pixels, times: int, *, jpeg: bool) -> Pixels:
    size = picture.shape[1] // times, picture.shape[0] // times
    small = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
    if not jpeg:
        return small
    file = io.BytesIO()
    Image.fromarray(small).save(file, "JPEG", quality=60)
    return np.asarray(Image.open(file).convert("RGB"))


def _enlarged(small: Pixels, size: tuple[int, ...], name: str, network: Opened | None) -> Pixels:
    if name == "bicubic":
        return np.asarray(cv2.resize(small, (size[0], size[1]), interpolation=cv2.INTER_CUBIC), np.uint8)
    return asyncio.run(enlarge.enlarge(small, (size[0], size[1]), Tools(upscaler=network), _steps()))


def _strokes(small: Pixels, picture: Pixels, network: Opened) -> Pixels:
    times = picture.shape[0] // small.shape[0]
    first = asyncio.run(enlarge.multiply(small, times, Tools(upscaler=network), _steps()))
    return text.enlarge(small, (picture.shape[1], picture.shape[0]), first)


def _steps() -> Steps:
    async def listen(_: StepDone) -> None:
        """Nothing is reported."""

    return Steps(listen, Stage.FINISH, Calls())


def _figures(found: Pixels, true: Pixels) -> tuple[float, float, float]:
    """PSNR in dB, SSIM (Wang et al. 2004), and GMSD (Xue et al. 2014; 0 is equal) without its first reduction."""
    psnr = 10 * np.log10(255**2 / np.mean((found.astype(np.float64) - true) ** 2))
    ssim = structural_similarity(found, true, channel_axis=2)
    first, second = (_slopes(cv2.cvtColor(each, cv2.COLOR_RGB2GRAY).astype(np.float64)) for each in (found, true))
    similar = (2 * first * second + SMOOTHING) / (first**2 + second**2 + SMOOTHING)
    return float(psnr), float(ssim), float(similar.std())


def _slopes(grey: NDArray[np.float64]) -> NDArray[np.float64]:
    kernel = np.tile(np.array([1.0, 0.0, -1.0]) / 3, (3, 1))
    across, down = (cv2.filter2D(grey, -1, each) for each in (kernel, np.ascontiguousarray(kernel.T)))
    return np.asarray(np.hypot(across, down), np.float64)
