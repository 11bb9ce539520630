"""NVIDIA Triton: what its models are, and one call for each evaluation. The only importer of tritonclient.

A call that has begun is never cancelled (Triton server issues #7368 and #8034: cancel races crash it): callers stop
between calls. Which rows of which requests share a batch is Triton's business.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import structlog
import tritonclient.grpc.aio as triton
from tritonclient.utils import InferenceServerException

from orchestrator import metrics
from orchestrator.errors import EngineFaultError, EngineUnavailableError, FamilyConfigError
from orchestrator.models.contracts import RETRY_AFTER_SECONDS, Floats, Ids
from orchestrator.models.source import ModelDigest
from orchestrator.models.specs import NetworkSpec, TensorSpec

_UNAVAILABLE = {
    "StatusCode.UNAVAILABLE": "down",
    "StatusCode.DEADLINE_EXCEEDED": "timeout",
    "StatusCode.NOT_FOUND": "missing",
}
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

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A Triton model as its server describes it.

    Attributes:
        name: of the model.
        types: Triton datatype of each tensor.
        dims: sizes of each tensor behind the batch, -1 where they are free.
        optional: inputs that a request may leave out.
        max_batch_size: most rows of one request.
        parameters: of the model's configuration.
        digest: which network it is.
    """

    name: str
    types: Mapping[str, str]
    dims: Mapping[str, tuple[int, ...]]
    optional: frozenset[str]
    max_batch_size: int
    parameters: Mapping[str, str]
    digest: ModelDigest


class TritonServer:
    """A connection to one Triton server."""

    def __init__(self, url: str, timeout_seconds: float) -> None:
        self._client = triton.InferenceServerClient(url, channel_args=_CHANNEL_OPTIONS)
        self._timeout = timeout_seconds

    async def close(self) -> None:
        """Close the connection."""
        await self._client.close()

    async def is_ready(self, model: str) -> bool:
        """Whether the model answers; False too while there is no server."""
        try:
            return bool(await self._client.is_model_ready(model, client_timeout=5.0))
        except InferenceServerException:
            return False

    async def describe(self, model: str, spec: NetworkSpec) -> ModelInfo:
        """Read the model's configuration and hold it to `spec`.

        Raises:
            EngineUnavailableError: the server or the model is not there.
            FamilyConfigError: a tensor is missing, or has another rank or type than the contract; a request needs an
                input that the contract does not know; or it has more rows than the model takes.
        """
        try:
            answer = await self._client.get_model_config(model, client_timeout=5.0)
        except InferenceServerException as error:
            raise _translate(error, model) from error
        config = answer.config
        tensors = {t.name: t for t in (*config.input, *config.output)}
        optional = frozenset(t.name for t in config.input if t.optional)
        for wanted in (*spec.inputs, *spec.outputs):
            _check_tensor(model, tensors.get(wanted.name), wanted)
        for spare in (each for each in spec.spare if each.name in tensors):
            _check_tensor(model, tensors[spare.name], spare)
        if unknown := {t.name for t in config.input} - {t.name for t in (*spec.inputs, *spec.spare)} - optional:
            raise FamilyConfigError(f"model {model} needs inputs that are not given: {', '.join(sorted(unknown))}")
        if config.max_batch_size < spec.rows:
            raise FamilyConfigError(f"max_batch_size of {model} is {config.max_batch_size}, less than {spec.rows}")
        parameters = {key: value.string_value for key, value in config.parameters.items()}
        return ModelInfo(
            name=model,
            types={name: _datatype(tensor) for name, tensor in tensors.items()},
            dims={name: tuple(tensor.dims) for name, tensor in tensors.items()},
            optional=optional,
            max_batch_size=int(config.max_batch_size),
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

        Raises:
            EngineUnavailableError: the server or the model is not there, or does not answer in time.
            EngineFaultError: the server refused the tensors or failed.
        """
        tensors = []
        for name, array in inputs.items():
            datatype = model.types[name]
            tensor = triton.InferInput(name, array.shape, datatype)
            tensor.set_data_from_numpy(np.ascontiguousarray(array, _TYPES[datatype]))
            tensors.append(tensor)
        wanted = [triton.InferRequestedOutput(name) for name in outputs]
        try:
            answer = await self._client.infer(model.name, tensors, outputs=wanted, client_timeout=self._timeout)
        except InferenceServerException as error:
            raise _translate(error, model.name) from error
        rows, arrays = len(next(iter(inputs.values()))), [answer.as_numpy(name) for name in outputs]
        for name, array in zip(outputs, arrays, strict=True):
            if array is None or len(array) != rows:
                raise EngineFaultError(f"model {model.name} answered without its rows of {name}")
        return tuple(np.asarray(array, np.float32) for array in arrays)

    async def batch_counts(self, model: str) -> dict[int, int]:
        """Executions of the model since Triton's start, by the number of rows in the batch; empty if unreachable."""
        try:
            answer = await self._client.get_inference_statistics(model, client_timeout=5.0)
        except InferenceServerException:
            return {}
        stats = answer.model_stats
        return {int(b.batch_size): int(b.compute_infer.count) for s in stats for b in s.batch_stats}


def _check_tensor(model: str, tensor: Any, wanted: TensorSpec) -> None:  # noqa: ANN401  # generated code
    if tensor is None:
        raise FamilyConfigError(f"model {model} has no tensor {wanted.name!r}")
    datatype = _datatype(tensor)
    kind_ok = datatype in _TYPES and datatype.startswith("INT") == wanted.integer
    if len(tensor.dims) != wanted.rank or not kind_ok:
        raise FamilyConfigError(f"model {model}, tensor {wanted.name!r}: {datatype} {list(tensor.dims)}")


def _datatype(tensor: object) -> str:
    name = triton.model_config_pb2.DataType.Name(tensor.data_type)  # type: ignore[attr-defined]  # generated code
    return str(name).removeprefix("TYPE_")


def _translate(error: InferenceServerException, model: str) -> EngineUnavailableError | EngineFaultError:
    status, message = str(error.status()), str(error.message())
    kind = _UNAVAILABLE.get(status)
    if kind is None and "is not ready" in message:
        kind = "missing"
    metrics.TRITON_ERRORS.labels(model, kind or "fault").inc()
    if kind is None:
        return EngineFaultError(f"model {model}: {status}: {message}")
    log.warning("triton_unavailable", model=model, status=status, message=message)
    return EngineUnavailableError("the inference server does not answer", retry_after=RETRY_AFTER_SECONDS)
