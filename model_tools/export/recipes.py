"""How a part is written for an engine at a precision: types of weights and of arithmetic, and what may differ."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import torch

from model_tools.export.graphs import ExportError

if TYPE_CHECKING:
    from engines.network import Precision as Computed
    from model_tools.export.parts import Part
    from model_tools.export.quantize import Kind

Engine = Literal["onnx", "openvino", "tensorrt"]
Precision = Literal["fp32", "fp16", "bf16", "fp8", "int8"]
QUANTISED = frozenset({"unet", "inpaint_unet", "controlled_unet"})
"""Networks that int8 and fp8 quantise; the others are small next to them, or run once for a picture."""
KNOWN: dict[Engine, tuple[Precision, ...]] = {
    "openvino": ("fp32", "fp16", "bf16", "int8"),
    "onnx": ("fp32", "fp16", "int8"),  # ONNX Runtime 1.32 has no convolution in bfloat16
    "tensorrt": ("fp32", "fp16", "bf16", "fp8", "int8"),
}


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a part is written.

    Attributes:
        bound: on what the graph differs from torch in float32, relative to the largest value of each output.
        rows: on what a row differs from itself alone.
        halved: its weights are rounded to float16 and stored so; the engine casts them back.
        dtype: the graph's own type where it is not float32 (its inputs and outputs are).
        computed: what OpenVINO computes in.
        quantised: the kind of Q/DQ pairs it gets.
    """

    bound: float
    rows: float = 1e-5
    halved: bool = False
    dtype: torch.dtype | None = None
    computed: Computed = "f32"
    quantised: Kind | None = None


EXACT = Recipe(2e-4)
"""A small Z-Image with random weights missed torch by 1.1e-4, in float32 on both sides: the order of sums."""
STORED_HALF = replace(EXACT, halved=True)
IN_BF16 = Recipe(0.08, 0.08, halved=True, computed="bf16")
TYPED = {
    "fp16": Recipe(0.02, 0.02, dtype=torch.float16),
    "bf16": Recipe(0.12, 0.12, dtype=torch.bfloat16),
}
INT8 = Recipe(0.3, 0.3, quantised="int8")
FP8 = Recipe(0.3, 0.3, quantised="fp8")


def choose(part: Part, engine: Engine, precision: Precision) -> Recipe:
    """The recipe of a part.

    Raises:
        ExportError: the engine does not know the precision.
    """
    if precision not in KNOWN[engine]:
        raise ExportError(f"engine {engine} has no {precision}; it has {', '.join(KNOWN[engine])}")
    if precision == "fp32":
        return EXACT
    if part.exact:
        return STORED_HALF
    if precision in ("int8", "fp8") and part.role in QUANTISED:
        return INT8 if precision == "int8" else FP8
    if engine == "openvino":
        return IN_BF16 if precision == "bf16" else STORED_HALF
    for_cpus = precision == "int8" and engine == "onnx"  # ONNX Runtime computes float16 there as float32
    if for_cpus or (part.wide and precision != "bf16"):
        return STORED_HALF
    return TYPED["bf16" if precision == "bf16" else "fp16"]
