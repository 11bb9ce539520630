"""Compares an exported graph, run by OpenVINO in float32, with the torch module it came from."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import openvino as ov
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

# Two engines sum in different orders; with the same float16 weights that is all that may differ.
BOUND = 2e-3


@dataclass(frozen=True, slots=True)
class Check:
    """The largest differences seen, relative to the largest output of torch."""

    against_torch: float
    between_rows: float

    def demand(self, bound: float = BOUND) -> None:
        """Raises ValueError where torch is missed by more than the bound, or a row depends on its batch."""
        if not self.against_torch <= bound:
            raise ValueError(f"the graph differs from torch by {self.against_torch:.2e}, the bound is {bound:.0e}")
        if not self.between_rows <= bound:
            raise ValueError(f"a row differs by {self.between_rows:.2e} from the same row alone")


def open_graph(path: Path, threads: int = 0) -> ov.CompiledModel:
    """The graph compiled for the CPU, computing in float32. 0 threads leaves the count to OpenVINO."""
    settings: dict[str, str | int] = {"INFERENCE_PRECISION_HINT": "f32"}
    if threads:
        settings["INFERENCE_NUM_THREADS"] = threads
    return ov.Core().compile_model(str(path), "CPU", settings)


def run_graph(compiled: ov.CompiledModel, inputs: dict[str, Tensor]) -> NDArray[np.float32]:
    """The graph's one output."""
    result: NDArray[np.float32] = compiled({name: value.numpy() for name, value in inputs.items()})[0].copy()
    return result


def halved(module: nn.Module) -> nn.Module:
    """The module with each large parameter rounded to float16, as export stores them. Changes the module itself."""
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.numel() >= 1024:
                parameter.copy_(parameter.half().float())
    return module


def check_graph(path: Path, module: nn.Module, cases: list[dict[str, Tensor]]) -> Check:
    """Runs each case, whole and row by row. The cases hold the graph's inputs by name, in the module's order.

    Of several outputs the first is compared.
    """
    compiled = open_graph(path)
    against, between = 0.0, 0.0
    for case in cases:
        with torch.inference_mode():
            answer = module(*case.values())
        first: Tensor = answer[0] if isinstance(answer, tuple) else answer
        expected = first.float().numpy()
        got = run_graph(compiled, case)
        size = float(np.abs(expected).max())
        against = max(against, float(np.abs(got - expected).max()) / size)
        for row in range(len(got)):
            alone = run_graph(compiled, {name: value[row : row + 1] for name, value in case.items()})
            between = max(between, float(np.abs(alone[0] - got[row]).max()) / size)
    return Check(against, between)


def unet_cases(shapes: list[tuple[int, int, int]], text_length: int, text_width: int) -> list[dict[str, Tensor]]:
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


def latent_cases(shapes: list[tuple[int, int, int]]) -> list[dict[str, Tensor]]:
    """Random latents: one case for each (batch, height, width)."""
    random = torch.Generator().manual_seed(0)
    return [{"latents": torch.randn(batch, 4, height, width, generator=random)} for batch, height, width in shapes]


def token_cases(batches: list[int], length: int, words: int) -> list[dict[str, Tensor]]:
    """Random token ids, the end of each row padded by zeros."""
    random = torch.Generator().manual_seed(0)
    cases: list[dict[str, Tensor]] = []
    for batch in batches:
        ids = torch.randint(1, words, (batch, length), generator=random, dtype=torch.int32)
        ends = torch.randint(2, length + 1, (batch, 1), generator=random)
        cases.append({"input_ids": torch.where(torch.arange(length) < ends, ids, 0).int()})
    return cases
