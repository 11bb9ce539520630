"""What TensorRT is to build of model folders; the command is engines_command.py's.

Next to each config.pbtxt are then engine.json (an optimisation profile: the smallest, usual and largest shape of each
input, in which all sizes of the family lie) and config.tensorrt.pbtxt (how Triton serves the engine).
helm/imagegen/files/engines.py builds by them, on a GPU of the kind that will serve; no machine of this project has one.
TensorRT has no optional inputs: a family on it names two models, or sends full tensors (docs/adr/0009).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

import onnx
from onnx import TensorProto

from engines.network import find_graph, read_digest
from model_tools.export.folders import (
    MAX_BATCH_SIZE,
    PROMPT_TOKENS,
    TEXT_CHUNKS,
    Tensor,
    describe_graph,
    graph_path,
    parameter_text,
    tensor_text,
    tensors_text,
    warmup_text,
)

PIXELS_OF_LATENTS = 8
LATENTS = frozenset({"sample", "latents"})
"""Inputs whose sides are those of the picture divided by PIXELS_OF_LATENTS."""
PRECISIONS = ("strong", "fp16", "bf16", "fp8")
"""How TensorRT is to choose types: as the graph has them (strong; fp8, too, for which the graph must have pairs of
QuantizeLinear and DequantizeLinear); or, of a float32 graph, as it likes, among them fp16 or bf16."""
LEAST_CAPABILITY = {TensorProto.FLOAT8E4M3FN: "8.9", TensorProto.BFLOAT16: "8.0"}
"""Compute capability from which on a GPU multiplies numbers of a type; of the others, all that TensorRT 10 knows do."""
GIVEN_TYPES = frozenset({*LEAST_CAPABILITY, TensorProto.INT8})
"""A graph that has them says of every tensor what it is."""


class TensorrtError(Exception):
    """What the caller must mend; the message names the folder."""


@dataclass(frozen=True)
class Profile:
    """Sides of pictures and numbers of rows that an engine takes.

    Attributes:
        sides: smallest, usual and largest side of a picture, in pixels, multiples of 8.
            Height and width vary alike, so that upright and wide pictures lie within.
        rows: smallest, usual and largest batch; a picture with guidance has two rows.
    """

    sides: tuple[int, int, int] = (512, 512, 1024)
    rows: tuple[int, int, int] = (1, 2, MAX_BATCH_SIZE)

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            TensorrtError: they do not rise, a side is not a multiple of 8, or there are more rows than a model takes.
        """
        for name, values in (("sides", self.sides), ("rows", self.rows)):
            if list(values) != sorted(values) or values[0] < 1:
                raise TensorrtError(f"{name} are to rise from 1 on: {values}")
        if any(side % PIXELS_OF_LATENTS for side in self.sides):
            raise TensorrtError(f"sides are to be multiples of {PIXELS_OF_LATENTS}: {self.sides}")
        if self.rows[2] > MAX_BATCH_SIZE:
            raise TensorrtError(f"a model takes {MAX_BATCH_SIZE} rows, not {self.rows[2]}")


def describe(folder: Path, profile: Profile, precision: str = "strong") -> dict[str, list[list[int]]]:
    """Write engine.json and config.tensorrt.pbtxt into a model folder.

    Args:
        folder: with config.pbtxt and 1/graph.onnx.
        profile: what the engine is to take.
        precision: strong (as the graph says), fp16, bf16 or fp8.

    Returns:
        Of each input, the smallest, usual and largest shape.

    Raises:
        TensorrtError: there is no ONNX graph; config.pbtxt says something else than it; it takes no such sides, or
            cannot be built in this precision. Nothing is written.
    """
    path = graph_path(folder.parent, folder.name)
    if not path.is_file():
        raise TensorrtError(f"{folder}: no 1/graph.onnx")
    model = onnx.load(path, load_external_data=False)
    inputs, outputs = describe_graph(model)
    _compare(folder, inputs, outputs)
    types = {tensor.data_type for tensor in model.graph.initializer}
    _check_precision(folder, precision, types)
    _check_sides(folder, model.graph, profile)
    shapes = {each.name: _shapes(each, profile) for each in inputs}
    bounds = {name: dict(zip(("min", "opt", "max"), three, strict=True)) for name, three in shapes.items()}
    usual = profile.sides[1] // (PIXELS_OF_LATENTS if shapes.keys() & LATENTS else 1)
    parts = [
        f'name: "{folder.name}"\nbackend: "tensorrt"\ndefault_model_filename: "model.plan"',
        f"max_batch_size: {profile.rows[2]}",
        tensors_text("input", inputs),
        tensors_text("output", outputs),
        "dynamic_batching { }\ninstance_group [ { kind: KIND_GPU count: 1 } ]",
        parameter_text("graph_sha256", read_digest(find_graph(folder / "1"))),
        warmup_text(inputs, (usual, usual)),
    ]
    described: dict[str, object] = {"inputs": bounds, "precision": precision}
    if needed := [least for data_type, least in LEAST_CAPABILITY.items() if data_type in types]:
        described["compute_capability"] = max(needed)
    (folder / "engine.json").write_text(json.dumps(described, indent=1) + "\n", "utf-8")
    (folder / "config.tensorrt.pbtxt").write_text("\n".join(parts) + "\n", "utf-8")
    return shapes


def _shapes(tensor: Tensor, profile: Profile) -> list[list[int]]:
    if tensor.name == "encoder_hidden_states":
        chunks = (1, 1, TEXT_CHUNKS)
        lengths = [PROMPT_TOKENS * count if tensor.sizes[0] < 0 else tensor.sizes[0] for count in chunks]
        return [[rows, tokens, *tensor.sizes[1:]] for rows, tokens in zip(profile.rows, lengths, strict=True)]
    divisor = PIXELS_OF_LATENTS if tensor.name in LATENTS else 1
    return [
        [rows, *(size if size > 0 else side // divisor for size in tensor.sizes)]
        for rows, side in zip(profile.rows, profile.sides, strict=True)
    ]


def _compare(folder: Path, inputs: list[Tensor], outputs: list[Tensor]) -> None:
    """See that config.pbtxt, which names the same tensors, was made of this graph."""
    config = (folder / "config.pbtxt").read_text("utf-8")
    for each in (*inputs, *outputs):
        if f"{{ {tensor_text(each)}" not in config:
            sizes = ", ".join(map(str, each.sizes))
            raise TensorrtError(f"{folder}: config.pbtxt does not say {each.data_type} [ {sizes} ] of {each.name}")


def _check_precision(folder: Path, precision: str, types: set[int]) -> None:
    if precision == "fp8" and TensorProto.FLOAT8E4M3FN not in types:
        raise TensorrtError(f"{folder}: the graph has no fp8; generate it by model_tools add --precision fp8")
    if precision in ("fp16", "bf16") and types & GIVEN_TYPES:
        raise TensorrtError(f"{folder}: the graph says what type each tensor has: its precision is strong")


def _check_sides(folder: Path, graph: onnx.GraphProto, profile: Profile) -> None:
    """See that the sides are multiples of what the graph says of a free axis ("8*rows")."""
    for value in graph.input:
        pixels = PIXELS_OF_LATENTS if value.name in LATENTS else 1
        for axis in list(value.type.tensor_type.shape.dim)[1:]:
            factor = re.match(r"(\d+)\*", axis.dim_param)
            multiple = pixels * int(factor[1]) if factor else 1
            if wrong := [side for side in profile.sides if side % multiple]:
                raise TensorrtError(f"{folder}: {value.name} takes sides that are multiples of {multiple}, not {wrong}")
