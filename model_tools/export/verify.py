"""Compares an exported graph, run by an engine, with the torch module it came from."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import openvino as ov
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Array = NDArray[np.float32]
Case = dict[str, Tensor]
Runner = Callable[[Case], Sequence[Array]]
"""Runs a graph: inputs by name to outputs in the graph's order."""

# Two engines sum in different orders; with the same float16 weights that is all that may differ.
BOUND = 2e-3


@dataclass(frozen=True, slots=True)
class Check:
    """The largest differences seen, relative to the largest value of the same output of torch."""

    against_torch: float
    between_rows: float

    def demand(self, bound: float = BOUND, *, rows: float | None = None) -> None:
        """Raises ValueError where torch is missed by more than the bound, or a row depends on its batch.

        `rows`: how much it may depend, where that is another bound.
        """
        if not (math.isfinite(self.against_torch) and math.isfinite(self.between_rows)):
            raise ValueError("it gives values that are not finite")
        if not self.against_torch <= bound:
            raise ValueError(f"the graph differs from torch by {self.against_torch:.2e}, the bound is {bound:.0e}")
        if not self.between_rows <= (bound if rows is None else rows):
            raise ValueError(f"a row differs by {self.between_rows:.2e} from the same row alone")


def open_graph(graph: Path | bytes | ov.Model, threads: int = 0) -> ov.CompiledModel:
    """A graph (its file, ONNX, or opened) compiled for the CPU in float32. 0 threads leaves the count to OpenVINO."""
    settings: dict[str, str | int] = {"INFERENCE_PRECISION_HINT": "f32"}
    if threads:
        settings["INFERENCE_NUM_THREADS"] = threads
    core = ov.Core()
    model = graph if isinstance(graph, ov.Model) else core.read_model(graph)
    return core.compile_model(model, "CPU", settings)


def run_graph(compiled: ov.CompiledModel, inputs: Case) -> Array:
    """The graph's first output."""
    result: Array = compiled({name: value.numpy() for name, value in inputs.items()})[0].copy()
    return result


def halved(module: nn.Module) -> nn.Module:
    """The module with each large parameter rounded to float16, as export stores them. Changes the module itself."""
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.numel() >= 1024:
                parameter.copy_(parameter.half())
    return module


def check_graph(path: Path, module: nn.Module, cases: list[Case]) -> Check:
    """Runs each case by OpenVINO in float32, whole and row by row.

    The cases hold the graph's inputs by name, in the module's order.
    """
    compiled = open_graph(path)
    count = len(compiled.outputs)

    def run(case: Case) -> list[Array]:
        result = compiled({name: value.numpy() for name, value in case.items()})
        return [result[number].copy() for number in range(count)]

    return compare(run, cases, answers(module, cases))


def answers(module: nn.Module, cases: Sequence[Case]) -> list[list[Array]]:
    """Torch's outputs for each case."""
    found: list[list[Array]] = []
    for case in cases:
        with torch.inference_mode():
            output = module(*case.values())
        outputs = output if isinstance(output, tuple) else (output,)
        found.append([tensor.float().numpy() for tensor in outputs])
    return found


def compare(run: Runner, cases: Sequence[Case], expected: Sequence[Sequence[Array]]) -> Check:
    """Runs each case, whole and row by row, and compares all outputs with torch's; not finite: NaN."""
    against, between = [0.0], [0.0]
    for case, outputs in zip(cases, expected, strict=True):
        got = run(case)
        sizes = [float(np.abs(output).max()) or 1.0 for output in outputs]
        against += [_differ(*pair) / size for *pair, size in zip(got, outputs, sizes, strict=True)]
        rows = len(next(iter(case.values())))
        for row in range(rows if rows > 1 else 0):
            alone = run({name: value[row : row + 1] for name, value in case.items()})
            together = [output[row : row + 1] for output in got]
            between += [_differ(*pair) / size for *pair, size in zip(alone, together, sizes, strict=True)]
    return Check(float(np.max(against)), float(np.max(between)))


def _differ(one: Array, other: Array) -> float:
    """The largest difference; NaN where a value of either is not finite, or their shapes differ."""
    if one.shape != other.shape or not (np.isfinite(one).all() and np.isfinite(other).all()):
        return math.nan
    return float(np.abs(one - other).max())


def unet_cases(shapes: list[tuple[int, int, int]], text_length: int, text_width: int) -> list[Case]:
    """Random inputs for a UNet: one case for each (batch, height, width) in latent positions."""
    random = torch.Generator().manual_seed(0)
    return [
        {
            "sample": torch.randn(batch, 4, height, width, generator=random),
            "timestep": torch.randint(0, 1000, (batch, 1), generator=random).float(),
            "encoder_hidden_states": torch.randn(batch, text_length, text_width, generator=random),
        }
        for batch, height, width in shapes
    ]


def latent_cases(shapes: list[tuple[int, int, int]]) -> list[Case]:
    """Random latents: one case for each (batch, height, width)."""
    random = torch.Generator().manual_seed(0)
    return [{"latents": torch.randn(batch, 4, height, width, generator=random)} for batch, height, width in shapes]


def token_cases(batches: list[int], length: int, words: int) -> list[Case]:
    """Random token ids, the end of each row padded by zeros."""
    random = torch.Generator().manual_seed(0)
    cases: list[Case] = []
    for batch in batches:
        ids = torch.randint(1, words, (batch, length), generator=random, dtype=torch.int32)
        ends = torch.randint(2, length + 1, (batch, 1), generator=random)
        cases.append({"input_ids": torch.where(torch.arange(length) < ends, ids, 0).int()})
    return cases
