"""The networks over NVIDIA Triton: one call for each evaluation. The only importer of tritonclient.

A call that has begun is never cancelled (Triton server issues #7368 and #8034: cancel races crash it): callers stop
between calls. Which rows of which requests share a batch is Triton's business.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import structlog
import tritonclient.grpc.aio as triton
from tritonclient.utils import InferenceServerException

from orchestrator import metrics
from orchestrator.errors import EngineFaultError, EngineUnavailableError, FamilyConfigError
from orchestrator.models import contracts
from orchestrator.models.contracts import Floats, Ids, ModelDigest, Networks, NetworkSpec

RETRY_AFTER_SECONDS = 2.0
GUIDANCE_ROWS = 2
"""Rows of one request with classifier-free guidance."""

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
        max_batch_size: most rows of one request.
        digest: which network it is.
    """

    name: str
    types: Mapping[str, str]
    max_batch_size: int
    digest: ModelDigest


@dataclass(frozen=True, slots=True)
class TritonFamily:
    """Networks that can be called, and which they are."""

    networks: Networks
    digests: tuple[ModelDigest, ...]


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
            FamilyConfigError: a tensor is missing, or has another rank or type than the contract.
        """
        try:
            answer = await self._client.get_model_config(model, client_timeout=5.0)
        except InferenceServerException as error:
            raise _translate(error, model) from error
        config = answer.config
        tensors = {t.name: t for t in (*config.input, *config.output)}
        for wanted in (*spec.inputs, *spec.outputs):
            tensor = tensors.get(wanted.name)
            if tensor is None:
                raise FamilyConfigError(f"model {model} has no tensor {wanted.name!r}")
            datatype = _datatype(tensor)
            kind_ok = datatype in _TYPES and datatype.startswith("INT") == wanted.integer
            if len(tensor.dims) != wanted.rank or not kind_ok:
                raise FamilyConfigError(f"model {model}, tensor {wanted.name!r}: {datatype} {list(tensor.dims)}")
        parameters = {key: value.string_value for key, value in config.parameters.items()}
        return ModelInfo(
            name=model,
            types={name: _datatype(tensor) for name, tensor in tensors.items()},
            max_batch_size=int(config.max_batch_size),
            digest=ModelDigest(
                model=model,
                sha256=parameters.get("graph_sha256", ""),
                engine=" ".join(filter(None, (config.backend or config.platform, parameters.get("precision")))),
            ),
        )

    async def infer(self, model: ModelInfo, inputs: Mapping[str, Floats | Ids], output: str) -> Floats:
        """Run one batch.

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
        wanted = [triton.InferRequestedOutput(output)]
        try:
            answer = await self._client.infer(model.name, tensors, outputs=wanted, client_timeout=self._timeout)
        except InferenceServerException as error:
            raise _translate(error, model.name) from error
        array = answer.as_numpy(output)
        if array is None or len(array) != len(next(iter(inputs.values()))):
            raise EngineFaultError(f"model {model.name} answered without its rows of {output}")
        return np.asarray(array, np.float32)

    async def batch_counts(self, model: str) -> dict[int, int]:
        """Executions of the model since Triton's start, by the number of rows in the batch; empty if unreachable."""
        try:
            answer = await self._client.get_inference_statistics(model, client_timeout=5.0)
        except InferenceServerException:
            return {}
        stats = answer.model_stats
        return {int(b.batch_size): int(b.compute_infer.count) for s in stats for b in s.batch_stats}


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


@dataclass(frozen=True, slots=True)
class _Model:
    """A model of a server, as a family uses it: one request is at most max_batch_size rows.

    With a `fixed_batch` every request is padded to so many rows, which is all that the model takes: Triton merges
    nothing into it, and its result depends on nobody else (families.NetworkTable says when that is needed).
    """

    server: TritonServer
    info: ModelInfo
    fixed_batch: int

    def __post_init__(self) -> None:
        """Raise FamilyConfigError if the model's batch does not fit."""
        if self.fixed_batch and self.fixed_batch != self.info.max_batch_size:
            raise FamilyConfigError(
                f"fixed_batch is {self.fixed_batch}, max_batch_size of {self.info.name} is {self.info.max_batch_size}: "
                "they must be the same, or Triton merges other rows into the batch"
            )
        if self.info.max_batch_size < GUIDANCE_ROWS:
            raise FamilyConfigError(f"max_batch_size of {self.info.name} is less than {GUIDANCE_ROWS}")

    async def infer(self, inputs: Mapping[str, Floats | Ids], output: str) -> Floats:
        """Run one request, padded with copies of its last row."""
        rows = len(next(iter(inputs.values())))
        if missing := max(0, self.fixed_batch - rows):
            inputs = {name: np.concatenate([a, np.repeat(a[-1:], missing, axis=0)]) for name, a in inputs.items()}
        answer = await self.server.infer(self.info, inputs, output)
        return answer[:rows]


class TritonTextEncoder(_Model):
    """TextEncoder over Triton."""

    async def __call__(self, input_ids: Ids) -> Floats:
        """See contracts.TextEncoder."""
        return await self.infer({"input_ids": input_ids}, "hidden_states")


class TritonUnet(_Model):
    """Unet over Triton."""

    async def __call__(self, sample: Floats, timestep: Floats, encoder_hidden_states: Floats) -> Floats:
        """See contracts.Unet."""
        inputs = {"sample": sample, "timestep": timestep, "encoder_hidden_states": encoder_hidden_states}
        return await self.infer(inputs, "out_sample")


class TritonVaeDecoder(_Model):
    """VaeDecoder over Triton."""

    async def __call__(self, latents: Floats) -> Floats:
        """See contracts.VaeDecoder."""
        return await self.infer({"latents": latents}, "image")


async def connect(server: TritonServer, names: tuple[str, str, str], fixed_batch: int) -> TritonFamily:
    """Describe a text encoder, a UNet and a VAE decoder, and make them callable.

    Raises:
        EngineUnavailableError, EngineFaultError: the server or a model does not answer.
        FamilyConfigError: a model breaks its contract.
    """
    specs = (contracts.TEXT_ENCODER, contracts.UNET, contracts.VAE_DECODER)
    infos = [await server.describe(name, spec) for name, spec in zip(names, specs, strict=True)]
    text, unet, vae = infos
    networks = Networks(
        TritonTextEncoder(server, text, fixed_batch),
        TritonUnet(server, unet, fixed_batch),
        TritonVaeDecoder(server, vae, fixed_batch),
    )
    return TritonFamily(networks, tuple(info.digest for info in infos))
