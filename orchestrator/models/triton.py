"""One NVIDIA Triton: what its models are, and one call for each evaluation. The only importer of tritonclient.

Which rows of which requests share a batch is Triton's business.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tritonclient.grpc.aio as triton
from tritonclient.utils import InferenceServerException

from common import tracing
from orchestrator import metrics
from orchestrator.arrays import Floats
from orchestrator.errors import EngineFaultError, EngineRefusedError, EngineUnavailableError, FamilyConfigError
from orchestrator.models.contracts import RETRY_AFTER_SECONDS, Ids
from orchestrator.models.source import ModelDigest
from orchestrator.models.specs import NetworkSpec, TensorSpec

_UNAVAILABLE = {
    "StatusCode.UNAVAILABLE": "down",
    "StatusCode.DEADLINE_EXCEEDED": "timeout",
    "StatusCode.NOT_FOUND": "missing",
    "StatusCode.CANCELLED": "down",
}
_STUB = "Stub process"
"""In the message of a Python model whose process has ended or is frozen. Triton does not start it again."""
CHECK_SECONDS = 5.0
"""Longest time for a question that no model has to work for."""
# grpc waits up to two minutes before it connects again; a Triton that is back shall be found within a second.
_CHANNEL_OPTIONS = [
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
]
_TYPES: dict[str, np.dtype[Any]] = {
    "FP32": np.dtype(np.float32),
    "FP16": np.dtype(np.float16),
    "INT32": np.dtype(np.int32),
    "INT64": np.dtype(np.int64),
}


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A Triton model as its server describes it.

    Attributes:
        name: of the model.
        types: Triton datatype of each tensor.
        dims: sizes of each tensor behind the batch, -1 where they are free.
        inputs: names.
        outputs: names.
        optional: inputs that a request may leave out.
        max_batch_size: most rows of one request.
        warmup: rows and sizes behind the batch that the model is warmed up with, by input; empty if it is not.
        parameters: of the model's configuration.
        digest: which network it is.
    """

    name: str
    types: Mapping[str, str]
    dims: Mapping[str, tuple[int, ...]]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    optional: frozenset[str]
    max_batch_size: int
    warmup: Mapping[str, tuple[int, ...]]
    parameters: Mapping[str, str]
    digest: ModelDigest


@dataclass(frozen=True, slots=True)
class ModelStatistics:
    """What a Triton counted of a model since its start.

    Attributes:
        batches: executions by the number of rows in the batch.
        answered: requests that were answered, without error.
        busy_seconds: what those requests took together, waiting included.
        slowest: mean seconds of an execution, of the number of rows that is slowest.
    """

    batches: Mapping[int, int]
    answered: int
    busy_seconds: float
    slowest: float


class TritonServer:
    """A connection to one Triton server."""

    def __init__(self, url: str, timeout_seconds: float) -> None:
        self._client = triton.InferenceServerClient(url, channel_args=_CHANNEL_OPTIONS)
        self._url, self._timeout = url, timeout_seconds

    async def close(self) -> None:
        """Close the connection."""
        await self._client.close()

    async def list_ready(self) -> frozenset[str]:
        """Names of the models that Triton says it has loaded. Whether they infer is for a probe to find out.

        Raises:
            EngineUnavailableError: the server cannot be reached.
            TimeoutError: it has not answered within CHECK_SECONDS.
        """
        try:
            index = await self._client.get_model_repository_index(client_timeout=CHECK_SECONDS)
        except InferenceServerException as error:
            if str(error.status()) == "StatusCode.DEADLINE_EXCEEDED":
                raise TimeoutError from error
            raise EngineUnavailableError(str(error.message()), retry_after=RETRY_AFTER_SECONDS) from error
        return frozenset(model.name for model in index.models if model.state == "READY")

    async def describe(self, model: str) -> ModelInfo:
        """Read the model's configuration.

        Raises:
            EngineUnavailableError: the server or the model is not there.
        """
        try:
            answer = await self._client.get_model_config(model, client_timeout=CHECK_SECONDS)
        except InferenceServerException as error:
            raise _translate(error, model) from error
        config = answer.config
        tensors = (*config.input, *config.output)
        parameters = {key: value.string_value for key, value in config.parameters.items()}
        warmup = next(iter(config.model_warmup), None)
        return ModelInfo(
            name=model,
            types={tensor.name: _datatype(tensor) for tensor in tensors},
            dims={tensor.name: tuple(tensor.dims) for tensor in tensors},
            inputs=tuple(tensor.name for tensor in config.input),
            outputs=tuple(tensor.name for tensor in config.output),
            optional=frozenset(tensor.name for tensor in config.input if tensor.optional),
            max_batch_size=int(config.max_batch_size),
            warmup={name: (max(1, warmup.batch_size), *each.dims) for name, each in warmup.inputs.items()}
            if warmup
            else {},
            parameters=parameters,
            digest=ModelDigest(
                model=model,
                sha256=parameters.get("graph_sha256", ""),
                engine=" ".join(filter(None, (config.backend or config.platform, parameters.get("precision")))),
            ),
        )

    async def infer(
        self, model: ModelInfo, inputs: Mapping[str, Floats | Ids], outputs: Sequence[str]
    ) -> tuple[Floats, ...]:
        """Run one batch; the answer has the outputs that were asked for, in that order.

        A caller that is cancelled while it waits cancels the call, and Triton's cancelling has crashed it (server
        issues #7368 and #8034). endpoint.py therefore lets calls run on that nobody waits for.

        Raises:
            EngineUnavailableError: the server or the model is not there, or does not answer in time; also where the
                process that runs the model has ended or is frozen.
            EngineRefusedError: the model does not take these tensors.
            EngineFaultError: the model failed, or answered without its rows.
        """
        tensors = []
        for name, array in inputs.items():
            datatype = model.types[name]
            tensor = triton.InferInput(name, array.shape, datatype)
            tensor.set_data_from_numpy(np.ascontiguousarray(array, _TYPES[datatype]))
            tensors.append(tensor)
        wanted = [triton.InferRequestedOutput(name) for name in outputs]
        rows = len(next(iter(inputs.values())))
        facts: dict[str, str | int] = {
            "rpc.system": "grpc",
            "server.address": self._url,
            "imagegen.model": model.name,
            "imagegen.rows": rows,
        }
        with tracing.child(f"infer {model.name}", "client", attributes=facts) as recorded:
            # Triton records every call that comes with a trace's context, whatever its flags say.
            context = {} if recorded is None else {"headers": tracing.headers()}
            try:
                answer = await self._client.infer(
                    model.name, tensors, outputs=wanted, client_timeout=self._timeout, **context
                )
            except InferenceServerException as error:
                raise _translate(error, model.name) from error
        arrays = [answer.as_numpy(name) for name in outputs]
        for name, array in zip(outputs, arrays, strict=True):
            if array is None or len(array) != rows:
                raise EngineFaultError(f"model {model.name} answered without its rows of {name}")
        return tuple(np.asarray(array, np.float32) for array in arrays)

    async def statistics(self) -> dict[str, ModelStatistics]:
        """What was counted of each model; empty where the server does not answer."""
        try:
            answer = await self._client.get_inference_statistics("", client_timeout=CHECK_SECONDS)
        except InferenceServerException:
            return {}
        return {model.name: _read_statistics(model) for model in answer.model_stats}


def check_model(info: ModelInfo, spec: NetworkSpec) -> None:
    """Compare a model with the contract of its role.

    Raises:
        FamilyConfigError: a tensor is missing, or has another rank or type than the contract; a request needs an
            input that the contract does not know; or it has more rows than the model takes.
    """
    for wanted in (*spec.inputs, *spec.outputs):
        _check_tensor(info, wanted)
    for spare in (each for each in spec.spare if each.name in info.dims):
        _check_tensor(info, spare)
    known = {tensor.name for tensor in (*spec.inputs, *spec.spare)}
    if unknown := set(info.inputs) - known - info.optional:
        raise FamilyConfigError(f"model {info.name} needs inputs that are not given: {', '.join(sorted(unknown))}")
    if info.max_batch_size < spec.rows:
        raise FamilyConfigError(f"max_batch_size of {info.name} is {info.max_batch_size}, less than {spec.rows}")


def _check_tensor(info: ModelInfo, wanted: TensorSpec) -> None:
    if wanted.name not in info.dims:
        raise FamilyConfigError(f"model {info.name} has no tensor {wanted.name!r}")
    datatype, dims = info.types[wanted.name], info.dims[wanted.name]
    kind_ok = datatype in _TYPES and datatype.startswith("INT") == wanted.integer
    if len(dims) != wanted.rank or not kind_ok:
        raise FamilyConfigError(f"model {info.name}, tensor {wanted.name!r}: {datatype} {list(dims)}")


def _read_statistics(model: Any) -> ModelStatistics:  # noqa: ANN401  # generated code
    done = model.inference_stats.success
    runs = {int(batch.batch_size): batch.compute_infer for batch in model.batch_stats}
    means = [run.ns / run.count for run in runs.values() if run.count]
    return ModelStatistics(
        batches={rows: int(run.count) for rows, run in runs.items()},
        answered=int(done.count),
        busy_seconds=done.ns / 1e9,
        slowest=max(means, default=0.0) / 1e9,
    )


def _datatype(tensor: object) -> str:
    name = triton.model_config_pb2.DataType.Name(tensor.data_type)  # type: ignore[attr-defined]  # generated code
    return str(name).removeprefix("TYPE_")


def _translate(error: InferenceServerException, model: str) -> EngineUnavailableError | EngineFaultError:
    """What a failed call means: who has to do something about it decides."""
    status, message = str(error.status()), str(error.message())
    kind = _UNAVAILABLE.get(status)
    if kind is None and _STUB in message:
        kind = "stub"
    elif kind is None and "is not ready" in message:
        kind = "missing"
    elif kind is None and status == "StatusCode.INVALID_ARGUMENT":
        kind = "refused"
    metrics.TRITON_ERRORS.labels(model, kind or "fault").inc()
    if kind == "refused":
        return EngineRefusedError(f"model {model}: {message}")
    if kind is None:
        return EngineFaultError(f"model {model}: {status}: {message}")
    return EngineUnavailableError("the inference server does not answer", retry_after=RETRY_AFTER_SECONDS)
