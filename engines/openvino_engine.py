"""The one Python model that every folder of the model repository shares.

A version folder holds `graph.onnx`, or `graph.xml` and `graph.bin` (OpenVINO's own format), and a one-line `model.py`
that imports `TritonPythonModel` from here. The graph may not be called model.onnx: Triton would then choose ONNX
Runtime, which the wheel's server does not carry.

Parameters read from config.pbtxt, all optional:
    precision: auto (the default), f32 or bf16; see `engines.network.choose_precision`.
    graph_sha256: the graph's digest, by `engines.network.read_digest`. The graph is refused where it differs; so the
        orchestrator, which has no disk of Triton's, can trust what the model's configuration says.
    absent_NAME: the shape of an optional input where a request leaves it out; see `engines.absent`. It is then zeros.

Requests with and without an optional input share a run here, but Triton does not hand them over together. Seen with
server 2.51 (tests/integration/test_optional_inputs.py), and so written in its core's RequiredEqualInputs: where a model
has optional inputs, the dynamic batcher merges only requests that bring the same ones, in the same shapes. Who wants
all to share batches sends zeros, or the placeholders of `engines.absent`.

Environment: IMAGEGEN_ENGINE_THREADS, CPU threads of each model; 0 or unset is one on each physical core.

At Triton's metrics port each loaded model shows as `imagegen_engine_info`, with the engine, its version, the precision
that "auto" came to and the graph's digest as labels.
"""

from __future__ import annotations

import json
import os
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

if int(np.__version__.split(".", maxsplit=1)[0]) >= 2:
    # Must come before anything else: the server's older bindings would hand in zeros and send out nothing, silently.
    raise ImportError(
        f"Triton's Python backend needs numpy below 2, and found {np.__version__}: "
        "start Triton in its own environment (.triton, from requirements/triton.txt), with its bin first on PATH"
    )

import triton_python_backend_utils as pb_utils

from engines.absent import Absent
from engines.network import Network, NetworkError, TensorSpec, choose_precision, find_graph, read_cpu_flags, read_digest
from engines.rows import RowsError, Tensors, count_rows, split_rows

_FAILED = "the engine failed to run this request; see the server's log"


class InputError(ValueError):
    """A request's input that is missing or is not what the graph takes; the message is for the client."""


class TritonPythonModel:
    """Runs one graph for Triton; all requests of one `execute` in one run of the engine."""

    def initialize(self, args: Mapping[str, str]) -> None:
        """Open the graph next to model.py and hold it against the model's configuration.

        Args:
            args: Triton's, of which model_name, model_version, model_repository (the model's folder) and
                model_config (JSON) are read.

        Raises:
            NetworkError: the graph is missing, is not the one that the configuration names or does not fit it, or a
                setting is wrong. Triton then shows the model as unavailable, with the message.
        """
        config = json.loads(args["model_config"])
        graph = find_graph(Path(args["model_repository"]) / args["model_version"])
        precision = choose_precision(_parameter(config, "precision", "auto"), read_cpu_flags())
        self._network = Network(graph, precision, _read_threads(os.environ))
        _check_tensors("input", config, self._network.inputs)
        _check_tensors("output", config, self._network.outputs)
        self._absent = Absent(config, self._network.inputs)
        digest = read_digest(graph)
        expected = _parameter(config, "graph_sha256", digest)
        if digest != expected:
            raise NetworkError(f"{graph} has SHA-256 {digest}, but config.pbtxt says {expected}")
        self._publish(args["model_name"], precision, digest)

    def execute(self, requests: Sequence[object]) -> list[object]:
        """Answer requests that Triton's batcher merged, each with its own rows or its own error.

        A request that cannot be read fails alone; a run that fails fails all that shared it. What went wrong goes to
        the server's log; the client gets no internals.
        """
        responses: list[object] = [None] * len(requests)
        batch: dict[int, Tensors] = {}
        for index, request in enumerate(requests):
            try:
                batch[index] = self._read(request)
            except (InputError, RowsError) as error:
                responses[index] = _answer_error(str(error), pb_utils.TritonError.INVALID_ARG)
        for index, answer in zip(batch, self._run(list(batch.values())), strict=True):
            failed = _answer_error(_FAILED, pb_utils.TritonError.INTERNAL)
            responses[index] = failed if answer is None else _answer(requests[index], answer)
        return responses

    def _run(self, batch: Sequence[Tensors]) -> Sequence[Tensors | None]:
        """Return the outputs for each request of the batch, by one run of the engine; None where that failed."""
        if not batch:
            return []
        try:
            outputs = self._network.run(self._absent.join(batch))
            return split_rows(outputs, [count_rows(tensors) for tensors in batch])
        except Exception:  # noqa: BLE001 - OpenVINO raises RuntimeError and others; the model must live on
            pb_utils.Logger.log_error(traceback.format_exc())
            return [None] * len(batch)

    def _read(self, request: object) -> Tensors:
        """Return the inputs that a request brings, checked against the graph.

        Raises:
            InputError: an input that is not optional is missing, or one is of a wrong type.
            RowsError: the inputs have no row, differ in their rows, or an optional one has a shape of its own.
        """
        tensors: Tensors = {}
        for name, spec in self._network.inputs.items():
            tensor = pb_utils.get_input_tensor_by_name(request, name)
            if tensor is None:
                if name in self._absent.names:
                    continue
                raise InputError(f"input {name} is missing")
            array = np.ascontiguousarray(tensor.as_numpy())
            if array.dtype != spec.dtype or array.ndim != spec.rank:
                raise InputError(
                    f"input {name}: {spec.dtype} of {spec.rank} axes wanted, {array.dtype} of {array.ndim} given"
                )
            tensors[name] = array
        count_rows(tensors)
        return self._absent.settle(tensors)

    def _publish(self, model: str, precision: str, digest: str) -> None:
        """Show what runs at the metrics port; the metric lives as long as this object."""
        self._family = pb_utils.MetricFamily(
            name="imagegen_engine_info",
            description="The engine of a loaded model, its precision and its graph, as labels; always 1",
            kind=pb_utils.MetricFamily.GAUGE,
        )
        labels = {"model": model, "engine": self._network.engine, "precision": precision, "graph_sha256": digest}
        self._metric = self._family.Metric(labels=labels)
        self._metric.set(1)
        pb_utils.Logger.log_info(f"{model}: {self._network.engine} in {precision}, graph {digest}")


def _answer(request: Any, outputs: Tensors) -> object:  # noqa: ANN401 - the backend's, which has no types
    """Return the outputs that the client asked for.

    Triton copies a tensor's bytes before the next execute, so the engine's own memory may be handed on.
    """
    asked = request.requested_output_names()
    return pb_utils.InferenceResponse(
        [pb_utils.Tensor(name, array) for name, array in outputs.items() if name in asked]
    )


def _answer_error(message: str, code: int) -> object:
    """Refuse a request: INVALID_ARG for what it brought, INTERNAL for what failed here."""
    return pb_utils.InferenceResponse([], error=pb_utils.TritonError(message, code))


def _parameter(config: Mapping[str, Any], name: str, default: str) -> str:
    """Return a parameter of the model's configuration, or the default where it is not given."""
    return str(config.get("parameters", {}).get(name, {}).get("string_value", default))


def _read_threads(environ: Mapping[str, str]) -> int:
    """Return the wanted number of CPU threads; 0 means one on each physical core.

    Raises:
        NetworkError: the setting is not a whole number from 0 up.
    """
    value = environ.get("IMAGEGEN_ENGINE_THREADS", "").strip() or "0"
    if not value.isdecimal():
        raise NetworkError(f"IMAGEGEN_ENGINE_THREADS is a whole number from 0 up, not {value!r}")
    return int(value)


def _check_tensors(kind: str, config: Mapping[str, Any], specs: Mapping[str, TensorSpec]) -> None:
    """Check that the configuration's tensors are the graph's, in name, type and number of axes.

    Args:
        kind: "input" or "output".
        config: the model's configuration; its dims leave out the batch axis.
        specs: the graph's tensors by name.

    Raises:
        NetworkError: they differ.
    """
    declared = {tensor["name"]: tensor for tensor in config[kind]}
    if declared.keys() != specs.keys():
        raise NetworkError(f"config.pbtxt names the {kind}s {sorted(declared)}, the graph has {sorted(specs)}")
    if config["max_batch_size"] < 1:
        raise NetworkError("config.pbtxt needs a max_batch_size from 1 up: every model here has a batch axis")
    for name, tensor in declared.items():
        wanted = TensorSpec(np.dtype(pb_utils.triton_string_to_numpy(tensor["data_type"])), len(tensor["dims"]) + 1)
        if specs[name] != wanted:
            raise NetworkError(f"{kind} {name}: config.pbtxt says {wanted} (with the batch), the graph {specs[name]}")
