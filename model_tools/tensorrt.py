"""`python -m model_tools.tensorrt FOLDER...`: what TensorRT is to build of model folders.

Beside each config.pbtxt it writes engine.json (an optimisation profile: the smallest, usual and largest shape of each
input) and config.tensorrt.pbtxt (how Triton serves the engine). helm/imagegen/files/engines.py builds by them, on a GPU
of the kind that will serve; no machine of this project has one. TensorRT has no optional inputs: a family on it names
two models, or sends full tensors (docs/adr/0009).
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import onnx

from engines.network import find_graph, read_digest
from model_tools.folders import (
    MAX_BATCH_SIZE,
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


class TensorrtError(Exception):
    """What the caller must mend; the message names the folder."""


@dataclass(frozen=True)
class Profile:
    """Sides of pictures and numbers of rows that an engine takes.

    Attributes:
        sides: smallest, usual and largest side of a picture, in pixels, multiples of 8.
        rows: smallest, usual and largest batch; a picture with guidance has two rows.
    """

    sides: tuple[int, int, int] = (512, 512, 1024)
    rows: tuple[int, int, int] = (1, 2, MAX_BATCH_SIZE)

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            TensorrtError: they do not rise, a side is no multiple of 8, or there are more rows than a model takes.
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
        TensorrtError: there is no ONNX graph, or config.pbtxt says something else than it; nothing is written.
    """
    path = graph_path(folder.parent, folder.name)
    if not path.is_file():
        raise TensorrtError(f"{folder}: no 1/graph.onnx")
    inputs, outputs = describe_graph(onnx.load(path, load_external_data=False))
    _compare(folder, inputs, outputs)
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
    (folder / "engine.json").write_text(
        json.dumps({"inputs": bounds, "precision": precision}, indent=1) + "\n", "utf-8"
    )
    (folder / "config.tensorrt.pbtxt").write_text("\n".join(parts) + "\n", "utf-8")
    return shapes


def _shapes(tensor: Tensor, profile: Profile) -> list[list[int]]:
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


def _three(text: str) -> tuple[int, int, int]:
    low, usual, high = (int(word) for word in text.split(":"))
    return low, usual, high


def main(words: list[str]) -> int:
    """Describe the folders; exit code 1, and a line, where one cannot be described."""
    parser = argparse.ArgumentParser(prog="python -m model_tools.tensorrt", description=__doc__.split("\n")[0])
    parser.add_argument("folders", metavar="FOLDER", nargs="+", type=Path)
    parser.add_argument("--sides", type=_three, default=Profile.sides, help="of pictures: 512:512:1024")
    parser.add_argument("--rows", type=_three, default=Profile.rows, help=f"of a batch: 1:2:{MAX_BATCH_SIZE}")
    parser.add_argument("--precision", choices=PRECISIONS, default="strong")
    arguments = parser.parse_args(words)
    try:
        profile = Profile(arguments.sides, arguments.rows)
        for folder in arguments.folders:
            shapes = describe(folder, profile, arguments.precision)
            print(f"{folder.name}: {shapes}")
    except TensorrtError as error:
        print(f"tensorrt: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
