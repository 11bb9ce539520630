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
from orchestrator.models.families import Families, Family

RETRY_AFTER_SECONDS = 2.0

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


class TritonTextEncoder:
    """TextEncoder over Triton."""

    def __init__(self, server: TritonServer, model: ModelInfo) -> None:
        self._server, self._model = server, model

    async def __call__(self, input_ids: Ids) -> Floats:
        """See contracts.TextEncoder."""
        return await self._server.infer(self._model, {"input_ids": input_ids}, "hidden_states")


class TritonUnet:
    """Unet over Triton; pads to `fixed_batch` rows if that is not 0 (families.NetworkTable says when)."""

    def __init__(self, server: TritonServer, model: ModelInfo, fixed_batch: int) -> None:
        if fixed_batch and fixed_batch != model.max_batch_size:
            raise FamilyConfigError(
                f"fixed_batch is {fixed_batch}, max_batch_size of {model.name} is {model.max_batch_size}: "
                "they must be the same, or Triton merges other rows into the batch"
            )
        self._server, self._model, self._fixed_batch = server, model, fixed_batch

    async def __call__(self, sample: Floats, timestep: Floats, encoder_hidden_states: Floats) -> Floats:
        """See contracts.Unet."""
        rows = len(sample)
        inputs = {"sample": sample, "timestep": timestep, "encoder_hidden_states": encoder_hidden_states}
        if missing := max(0, self._fixed_batch - rows):
            inputs = {name: np.concatenate([a, np.repeat(a[-1:], missing, axis=0)]) for name, a in inputs.items()}
        output = await self._server.infer(self._model, inputs, "out_sample")
        return output[:rows]


class TritonVaeDecoder:
    """VaeDecoder over Triton."""

    def __init__(self, server: TritonServer, model: ModelInfo) -> None:
        self._server, self._model = server, model

    async def __call__(self, latents: Floats) -> Floats:
        """See contracts.VaeDecoder."""
        return await self._server.infer(self._model, {"latents": latents}, "image")


class TritonNetworks:
    """Which families are ready, and their networks. `refresh` looks; `networks` answers from the last look."""

    def __init__(self, server: TritonServer, families: Families) -> None:
        self._server, self._families = server, families
        self._networks: dict[str, Networks] = {}
        self._digests: dict[str, tuple[ModelDigest, ...]] = {}
        self._missing: dict[str, list[str]] = {}

    def networks(self, family: str) -> Networks:
        """See contracts.NetworkSource."""
        if family not in self._networks:
            raise EngineUnavailableError(
                f"the networks of family {family!r} are not ready", retry_after=RETRY_AFTER_SECONDS
            )
        return self._networks[family]

    def is_ready(self, family: str) -> bool:
        """Whether all networks of the family were ready at the last look."""
        return family in self._networks

    def digests(self, family: str) -> tuple[ModelDigest, ...]:
        """See contracts.NetworkSource."""
        return self._digests.get(family, ())

    async def refresh(self) -> None:
        """Look at every model once. Models that came back are described anew: they may be others."""
        names = {name for family in self._families for name in family.networks.model_names}
        ready = {name for name in sorted(names) if await self._server.is_ready(name)}
        for family in self._families:
            missing = [name for name in family.networks.model_names if name not in ready]
            if missing:
                self._networks.pop(family.name, None)
                if missing != self._missing.get(family.name):  # said once, not at every look
                    log.error("family_not_ready", family=family.name, missing_models=missing)
            elif family.name not in self._networks:
                await self._connect(family)
            self._missing[family.name] = missing
            metrics.FAMILY_READY.labels(family.name).set(self.is_ready(family.name))
        for name in sorted(ready):
            for rows, count in (await self._server.batch_counts(name)).items():
                metrics.TRITON_BATCHES.labels(name, rows).set(count)

    async def _connect(self, family: Family) -> None:
        table = family.networks
        specs = (contracts.TEXT_ENCODER, contracts.UNET, contracts.VAE_DECODER)
        try:
            pairs = zip(table.model_names, specs, strict=True)
            text, unet, vae = [await self._server.describe(name, spec) for name, spec in pairs]
            self._networks[family.name] = Networks(
                TritonTextEncoder(self._server, text),
                TritonUnet(self._server, unet, table.fixed_batch),
                TritonVaeDecoder(self._server, vae),
            )
        except (EngineUnavailableError, EngineFaultError, FamilyConfigError) as error:
            log.error("family_not_usable", family=family.name, error=str(error))  # noqa: TRY400  # expected, no trace
            return
        self._digests[family.name] = (text.digest, unet.digest, vae.digest)
        log.info("family_ready", family=family.name, models=[info.name for info in (text, unet, vae)])
