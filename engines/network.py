"""One network, opened by OpenVINO: tensors in, tensors out, and nothing of Triton.

The graph is compiled once, with its dynamic shapes, not once for each shape. Measured on an SD-shaped UNet
of 51 million parameters, every batch from 1 to 8 at three sizes, in f32 and bf16: the one dynamic graph answers each
row bit for bit the same whatever shares its batch, whatever ran before and on 1 or 2 threads. Compiled for each shape
bf16 rows differ by up to 0.02 between batches, and sixteen shapes take 3.1 GB instead of 0.6 GB.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import openvino as ov

from engines.additions import FILES, AdditionsError, read_model
from engines.rows import Array, Tensors
from engines.silu import keep_apart
from engines.waves import split_off

Precision = Literal["f32", "bf16"]
GRAPH_NAMES = ("graph.onnx", "graph.xml")  # ONNX, or OpenVINO's own format (IR)
PRECISION_SETTINGS = ("auto", *get_args(Precision))
_BF16_FLAGS = frozenset({"avx512_bf16", "amx_bf16"})  # CPU flags of instructions that multiply bf16
_READ_SIZE = 1 << 20  # bytes


class NetworkError(ValueError):
    """A graph or a setting that cannot be used; the message is for the operator."""


@dataclass(frozen=True)
class TensorSpec:
    """What the graph says of one tensor: its element type, and its number of axes with the batch."""

    dtype: np.dtype[np.generic]
    rank: int


def choose_precision(setting: str, cpu_flags: frozenset[str]) -> Precision:
    """Return the precision to compute in.

    Args:
        setting: "auto", "f32" or "bf16"; auto is bf16 where the CPU multiplies it in hardware, else f32 (elsewhere
            bf16 is emulated, and slower than f32).
        cpu_flags: the CPU's feature flags, by /proc/cpuinfo.

    Raises:
        NetworkError: another setting.
    """
    if setting == "auto":
        return "bf16" if cpu_flags & _BF16_FLAGS else "f32"
    if setting == "f32":
        return "f32"
    if setting == "bf16":
        return "bf16"
    raise NetworkError(f"parameter precision is one of {', '.join(PRECISION_SETTINGS)}, not {setting!r}")


def read_cpu_flags(cpuinfo: Path = Path("/proc/cpuinfo")) -> frozenset[str]:
    """Return the first CPU's feature flags; none where the file does not list them."""
    for line in cpuinfo.read_text(encoding="utf-8").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "flags":
            return frozenset(value.split())
    return frozenset()


def find_graph(folder: Path) -> Path:
    """Return the graph of a version folder: graph.onnx, or graph.xml with its weights, graph.bin, next to it.

    Raises:
        NetworkError: there is none, there are both, or the weights are missing.
    """
    found = [folder / name for name in GRAPH_NAMES if (folder / name).is_file()]
    if not found:
        raise NetworkError(f"no graph at {' or '.join(str(folder / name) for name in GRAPH_NAMES)}")
    if len(found) > 1:
        raise NetworkError(f"two graphs in {folder}: {' and '.join(GRAPH_NAMES)}")
    for path in list_files(found[0]):
        if not path.is_file():
            raise NetworkError(f"no weights at {path}")
    return found[0]


def list_files(graph: Path) -> tuple[Path, ...]:
    """Return the files that a graph consists of: itself, its weights where they are in a file of their own, additions.

    Those of graph.xml always are, in graph.bin; those of an ONNX file may be, in NAME.onnx.data.
    """
    added = tuple(path for name in FILES if (path := graph.with_name(name)).is_file())
    if graph.suffix == ".xml":
        return graph, graph.with_suffix(".bin"), *added
    weights = graph.with_name(f"{graph.name}.data")
    return (graph, weights, *added) if weights.is_file() else (graph, *added)


def read_digest(graph: Path) -> str:
    """Return the SHA-256 of a graph, in lower-case hex.

    With further files it is that of all of them in a row: `cat graph.xml graph.bin loras.npz | sha256sum`.
    """
    digest = hashlib.sha256()
    for path in list_files(graph):
        with path.open("rb") as file:
            while block := file.read(_READ_SIZE):
                digest.update(block)
    return digest.hexdigest()


class Network:
    """A compiled graph with one inference request: one run at a time, on all its threads."""

    def __init__(self, graph: Path, precision: Precision, threads: int = 0) -> None:
        """Open and compile a graph.

        Args:
            graph: by `find_graph`.
            precision: what to compute in; set explicitly, so that OpenVINO never chooses by itself.
            threads: CPU threads, 0 for one on each physical core.

        Raises:
            NetworkError: OpenVINO cannot read or compile it.
        """
        hints: dict[str, str | int | bool] = {
            "INFERENCE_PRECISION_HINT": precision,
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
            # Every model of the repository has a process and threads of its own, and the service runs on the same
            # machine: pinned to cores that others use, a step of the starter took 47 ms, unpinned 28 ms (two busy
            # cores).
            "ENABLE_CPU_PINNING": False,
        }
        if threads:
            hints["INFERENCE_NUM_THREADS"] = threads
        core = ov.Core()
        try:
            model = read_model(core, graph)
            # Before compiling: that removes casts by folding, and a port then has their names in addition to its own.
            self.inputs = {port.any_name: _describe(port) for port in model.inputs}
            self.outputs = {port.any_name: _describe(port) for port in model.outputs}
            waves = None
            if precision == "f32":
                keep_apart(model)
            else:
                waves = split_off(model)
            compiled = core.compile_model(model, "CPU", hints)
            self._waves = waves and _Waves(core, waves, hints, len(self.inputs))
        except AdditionsError as error:
            raise NetworkError(f"{graph}: {error}") from error
        except RuntimeError as error:
            raise NetworkError(f"OpenVINO cannot open {graph}: {error}") from error
        self._request = compiled.create_infer_request()
        self.engine = f"openvino {ov.__version__.split('-')[0]}"

    def run(self, tensors: Mapping[str, Array]) -> Tensors:
        """Run the graph once.

        Args:
            tensors: each input by its name, [rows, ...], C-contiguous, of the graph's element type.

        Returns:
            Each output by its name: views of the engine's own memory, valid until the next run.
        """
        shared = {name: ov.Tensor(array, shared_memory=True) for name, array in tensors.items()}
        if self._waves:
            self._waves.run(shared, self._request)
        self._request.infer(shared)
        return {name: self._request.get_tensor(name).data for name in self.outputs}


class _Waves:
    """What engines/waves.py takes out of a graph, in float32: gives the graph's further inputs."""

    def __init__(self, core: ov.Core, model: ov.Model, hints: Mapping[str, str | int | bool], first: int) -> None:
        """`first`: place of the first of those inputs among the graph's."""
        self._names = [port.any_name for port in model.inputs]
        compiled = core.compile_model(model, "CPU", {**hints, "INFERENCE_PRECISION_HINT": "f32"})
        self._request, self._count, self._first = compiled.create_infer_request(), len(model.outputs), first

    def run(self, tensors: Mapping[str, ov.Tensor], request: ov.InferRequest) -> None:
        """Set the further inputs of `request`."""
        self._request.infer({name: tensors[name] for name in self._names})
        for index in range(self._count):
            request.set_input_tensor(self._first + index, self._request.get_output_tensor(index))


def _describe(port: ov.Output) -> TensorSpec:
    dtype: npt.DTypeLike = port.element_type.to_dtype()
    return TensorSpec(np.dtype(dtype), port.partial_shape.rank.get_length())
