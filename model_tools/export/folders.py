"""Model folders for Triton: config.pbtxt, and the line of Python that opens the graph in the embedded default."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import onnx
from onnx import TensorProto

from engines.network import find_graph, read_digest

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from pathlib import Path

MAX_BATCH_SIZE = 8
DATA_TYPES = {TensorProto.FLOAT: "TYPE_FP32", TensorProto.INT32: "TYPE_INT32"}

PIXELS_OF_A_LATENT = {"control_image": 8}
"""Inputs that come with latents: how many pixels they have for each, along a side."""
PROMPT_TOKENS = 77
"""Of one chunk of a prompt, which CLIP takes: where the length is free, what models are warmed up with."""
TEXT_CHUNKS = 8
"""Chunks of the longest prompt."""
NOTHING_OPTIONAL: Mapping[str, str] = {}

MODEL_PY = '''"""Opens the graph next to it, in Triton's Python backend."""

from engines.openvino_engine import TritonPythonModel

__all__ = ["TritonPythonModel"]
'''


@dataclass(frozen=True, slots=True)
class Tensor:
    """An input or output: its name, Triton's data type ("TYPE_FP32"), and its sizes behind the batch, -1 where free."""

    name: str
    data_type: str
    sizes: tuple[int, ...]


def graph_path(repository: Path, name: str) -> Path:
    """Where the ONNX file of model `name` belongs. Not model.onnx: Triton would then look for ONNX Runtime."""
    return repository / name / "1" / "graph.onnx"


def finish_folder(
    repository: Path,
    name: str,
    *,
    precision: str,
    sides: tuple[int, int] = (0, 0),
    optional: Mapping[str, str] = NOTHING_OPTIONAL,
) -> None:
    """Make a model folder of the ONNX file that was exported to graph_path.

    Args:
        repository: the folder of model folders.
        name: of the model.
        precision: what the engine computes in: auto, f32 or bf16 (engines/network.py).
        sides: height and width of the tensors to warm up with, where the graph leaves them free; a control picture's
            are 8 times those.
        optional: inputs that a request may leave out; to each, the shape of the zeros that stand for it, as
            engines/absent.py reads it ("3, 8*sample[2], 8*sample[3]"; empty where the graph leaves no side free).
    """
    path = graph_path(repository, name)
    model = onnx.load(path)
    drop_notes(model)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
    inputs, outputs = describe_graph(model)
    write_folder(repository, name, inputs, outputs, precision=precision, sides=sides, optional=optional)


def write_folder(
    repository: Path,
    name: str,
    inputs: Sequence[Tensor],
    outputs: Sequence[Tensor],
    *,
    precision: str,
    sides: tuple[int, int] = (0, 0),
    optional: Mapping[str, str] = NOTHING_OPTIONAL,
    graph: Path | None = None,
    max_batch_size: int = MAX_BATCH_SIZE,
    parameters: Mapping[str, str] = NOTHING_OPTIONAL,
) -> None:
    """Write config.pbtxt and, for OpenVINO, model.py around a graph that lies in its version folder.

    Arguments as of finish_folder, and `graph` where another engine reads it: Triton then finds it by its name, and
    `precision` only informs readers; `max_batch_size`: rows that Triton merges at most; `parameters`: further ones of
    config.pbtxt.
    """
    version = repository / name / "1"
    if graph is None:
        (version / "model.py").write_text(MODEL_PY)
    parts = [
        f'name: "{name}"\nmax_batch_size: {max_batch_size}',
        tensors_text("input", inputs, optional),
        tensors_text("output", outputs),
        "dynamic_batching { }",
        parameter_text("precision", precision),
        parameter_text("graph_sha256", read_digest(graph or find_graph(version))),
        *(parameter_text(f"absent_{name}", shape) for name, shape in optional.items() if shape),
        *(parameter_text(key, value) for key, value in parameters.items()),
        warmup_text(inputs, sides, rows=min(2, max_batch_size)),
    ]
    (repository / name / "config.pbtxt").write_text("\n".join(parts) + "\n")


def describe_graph(model: onnx.ModelProto) -> tuple[list[Tensor], list[Tensor]]:
    """Return the inputs and the outputs of a graph."""
    return [_describe(value) for value in model.graph.input], [_describe(value) for value in model.graph.output]


def drop_notes(model: onnx.ModelProto) -> None:
    """Drop what torch's exporter notes down: stack traces, with paths of this machine, and shapes in between."""
    graph = model.graph
    for noted in (model, graph, *graph.node, *graph.input, *graph.output, *graph.initializer):
        noted.ClearField("metadata_props")
        noted.ClearField("doc_string")
    graph.ClearField("value_info")


def tensor_text(tensor: Tensor) -> str:
    """What the configuration says of an input or output."""
    sizes = ", ".join(str(size) for size in tensor.sizes)
    return f'name: "{tensor.name}" data_type: {tensor.data_type} dims: [ {sizes} ]'


def tensors_text(kind: str, tensors: Iterable[Tensor], optional: Collection[str] = ()) -> str:
    """The tensors' part of the configuration.

    An optional input of free sides is ragged: Triton then merges requests that bring it with those whose placeholder
    of 1 x 1 replaces it (engines/absent.py), and so requests of all tasks.
    """
    entries = []
    for each in tensors:
        mark = " optional: true" if each.name in optional else ""
        if mark and -1 in each.sizes:
            mark += " allow_ragged_batch: true"
        entries.append(f"  {{ {tensor_text(each)}{mark} }}")
    return f"{kind} [\n" + ",\n".join(entries) + "\n]"


def parameter_text(key: str, value: str) -> str:
    """A parameter of the configuration."""
    return f'parameters {{ key: "{key}" value {{ string_value: "{value}" }} }}'


def warmup_text(tensors: Iterable[Tensor], sides: tuple[int, int], rows: int = 2) -> str:
    """Run once before the model counts as ready, with one picture's two guidance rows."""
    lines = [f'model_warmup {{\n  name: "guided"\n  batch_size: {rows}']
    for each in tensors:
        factor = PIXELS_OF_A_LATENT.get(each.name, 1)
        free = iter([PROMPT_TOKENS] if each.name == "encoder_hidden_states" else [factor * side for side in sides])
        sizes = ", ".join(str(size if size > 0 else next(free)) for size in each.sizes)
        tensor = f"data_type: {each.data_type} dims: [ {sizes} ] zero_data: true"
        lines.append(f'  inputs {{ key: "{each.name}" value {{ {tensor} }} }}')
    return "\n".join([*lines, "}"])


def _describe(value: onnx.ValueInfoProto) -> Tensor:
    _, *dims = value.type.tensor_type.shape.dim
    sizes = tuple(dim.dim_value if dim.HasField("dim_value") else -1 for dim in dims)
    return Tensor(value.name, DATA_TYPES[value.type.tensor_type.elem_type], sizes)
