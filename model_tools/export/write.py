"""Writes a part of a checkpoint as a model folder, and accepts it only if it does what torch does.

One copy of the weights is in memory at a time: torch's answers are kept, and the network is dropped, before the graph
is read again. The engine that will serve verifies: OpenVINO as engines/network.py opens it, ONNX Runtime on the CPU for
engine onnx and, since no TensorRT is here, for TensorRT's graphs (those in bfloat16, which it lacks, by OpenVINO).
"""

from __future__ import annotations

import ctypes
import gc
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import onnx
import openvino as ov
import torch

from engines.network import NetworkError, list_files, read_digest
from model_tools.export import folders, quantize, recipes, tensorrt, verify
from model_tools.export.contracts import Named
from model_tools.export.graphs import ExportError, trace
from model_tools.export.onnx_weights import halve_weights, join_weights, save_graph
from model_tools.export.runners import open_with_onnxruntime, open_with_openvino

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import nn

    from model_tools.export.parts import Part
    from model_tools.export.recipes import Engine, Precision, Recipe

Calibration = Callable[["Path"], "list[dict[str, NDArray[np.generic]]]"]
"""From a network's float32 graph to inputs of it in use: see calibration.py."""
FILES = {"openvino": "graph.onnx", "onnx": "model.onnx", "tensorrt": "graph.onnx"}


@dataclass(frozen=True, slots=True)
class Written:
    """A model folder that was accepted.

    Attributes:
        sha256: of its graph, as config.pbtxt says it.
        check: how far it is from torch, as it will be served.
        bytes: of the graph's files.
    """

    sha256: str
    check: verify.Check
    bytes: int


def write_part(
    part: Part,
    folder: Path,
    *,
    precision: Precision,
    engine: Engine,
    calibration: Calibration | None = None,
    profile: tensorrt.Profile | None = None,
) -> Written:
    """Write a part to a model folder, in place of what is there.

    Args:
        part: of parts.plan.
        folder: REPOSITORY/NAME.
        precision: of weights and arithmetic: see recipes.py.
        engine: what will serve it.
        calibration: for int8 and fp8; without it, ranges are those of random inputs, which are not what it will see.
        profile: sides and batches for TensorRT.

    Raises:
        ExportError: weights or outputs are not finite, torch is missed by more than the precision's bound, a row
            depends on its batch, or no graph can be made of the network. The folder is then gone.
    """
    recipe = recipes.choose(part, engine, precision)
    shutil.rmtree(folder, ignore_errors=True)
    try:
        return _write(part, folder, recipe, engine, calibration, profile, precision)
    except (NetworkError, quantize.QuantizeError, tensorrt.TensorrtError, ExportError) as error:
        shutil.rmtree(folder)
        raise ExportError(f"{part.role}: {error}") from error


def _write(
    part: Part,
    folder: Path,
    recipe: Recipe,
    engine: Engine,
    calibration: Calibration | None,
    profile: tensorrt.Profile | None,
    precision: Precision,
) -> Written:
    work, version = folder / "work", folder / "1"
    work.mkdir(parents=True)
    version.mkdir()
    graph = work / FILES[engine]
    expected = _export(part, graph, recipe)
    free_memory()
    if recipe.quantised:
        inputs = calibration(graph) if calibration else _random_inputs(part)
        (work / "quantised").mkdir()
        quantize.quantize(graph, work / "quantised" / graph.name, inputs, recipe.quantised)
        graph = work / "quantised" / graph.name
        free_memory()
    tensors = folders.describe_graph(onnx.load(graph, load_external_data=False))
    path = _place(graph, version, engine)
    shutil.rmtree(work)
    shown, read_by_triton = (recipe.computed, None) if engine == "openvino" else (precision, path)
    folders.write_folder(folder.parent, folder.name, *tensors, precision=shown, sides=part.sides, graph=read_by_triton)
    if engine == "tensorrt":
        tensorrt.describe(folder, profile or tensorrt.Profile())
    free_memory()
    check = _verify(part, path, recipe, engine, expected)
    return Written(read_digest(path), check, sum(file.stat().st_size for file in list_files(path)))


def _export(part: Part, path: Path, recipe: Recipe) -> list[list[verify.Array]]:
    """Write the graph, its weights next to it; torch's answers in float32, of the weights as they are stored."""
    module = part.build().eval().requires_grad_(requires_grad=False)
    _demand_finite(module)
    if recipe.halved:
        verify.halved(module)
    expected = verify.answers(Named(module, list(part.graph.inputs)), part.cases)
    if not all(np.isfinite(output).all() for outputs in expected for output in outputs):
        raise ExportError("the network gives values that are not finite for random inputs, in torch already")
    model = trace(Named(module, list(part.graph.inputs), recipe.dtype), part.graph)
    if recipe.halved:
        halve_weights(model)
    save_graph(model, path, external=True)
    return expected


def _demand_finite(module: nn.Module) -> None:
    for name, tensor in module.state_dict().items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise ExportError(f"weights {name} are not finite")


def _random_inputs(part: Part) -> list[dict[str, NDArray[np.generic]]]:
    return [{name: tensor.numpy() for name, tensor in case.items()} for case in part.cases]


def _place(graph: Path, version: Path, engine: Engine) -> Path:
    """Move a graph to where the engine looks for it; weights inside where a file can hold them."""
    if join_weights(graph) or engine != "openvino":
        for file in list_files(graph):
            shutil.move(file, version / file.name)
        return version / graph.name
    # OpenVINO's own format: its weights are mapped into memory, not read.
    path = version / "graph.xml"
    ov.save_model(ov.Core().read_model(str(graph)), str(path), compress_to_fp16=False)
    return path


def _verify(part: Part, path: Path, recipe: Recipe, engine: Engine, expected: list[list[verify.Array]]) -> verify.Check:
    try:
        if engine == "openvino" and recipe.computed != "f32":
            # What bf16 hides would show here.
            verify.compare(open_with_openvino(path, "f32"), part.cases, expected).demand(recipes.EXACT.bound)
            free_memory()
        by_openvino = engine == "openvino" or recipe.dtype == torch.bfloat16
        run = open_with_openvino(path, recipe.computed) if by_openvino else open_with_onnxruntime(path)
        check = verify.compare(run, part.cases, expected)
        check.demand(recipe.bound, rows=recipe.rows)
    except ValueError as error:
        raise ExportError(str(error)) from error
    return check


def free_memory() -> None:
    """Give back what is no longer used: glibc keeps it for itself otherwise."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
