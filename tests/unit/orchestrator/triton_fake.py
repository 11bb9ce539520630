"""A Triton of configurations: answers zeros of the sizes that its models' configurations give."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
from tritonclient.grpc import model_config_pb2
from tritonclient.utils import InferenceServerException

from orchestrator.models.endpoint import Endpoint, Probing
from orchestrator.models.pool import TritonPool
from orchestrator.models.triton import TritonServer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.models.specs import NetworkSpec

DIMS = {
    "input_ids": [8],
    "hidden_states": [8, 6],
    "sample": [4, -1, -1],
    "out_sample": [4, -1, -1],
    "timestep": [1],
    "encoder_hidden_states": [8, 6],
    "text_embeds": [5],
    "time_ids": [6],
    "control_image": [3, -1, -1],
    "control_scale": [1],
    "image_embeds": [2, 6],
    "negative_image_embeds": [2, 6],
    "image_scale": [1],
    "guidance": [1],
    "latents": [4, -1, -1],
    "image": [3, -1, -1],
    "alpha": [1, 64, 64],
    "boxes": [896, 16],
    "scores": [896, 1],
    "landmarks": [468, 3],
    "score": [1],
    "upscaled": [3, -1, -1],
    "bits": [32],
    "marked": [3, -1, -1],
}


def config(spec: NetworkSpec, *, rows: int = 8, optional: Sequence[str] = (), side: int = -1) -> Any:
    """A configuration that meets `spec`; the picture's sides are `side`."""
    made = model_config_pb2.ModelConfig(max_batch_size=rows)
    for tensors, wanted in ((made.input, spec.inputs), (made.output, spec.outputs)):
        for each in wanted:
            dims = [3, side, side] if each.name == "image" else DIMS[each.name]
            kind = model_config_pb2.TYPE_INT32 if each.integer else model_config_pb2.TYPE_FP32
            tensor = tensors.add(name=each.name, data_type=kind, dims=dims)
            if each.name in optional:
                tensor.optional = True
    return made


@dataclass
class Client:
    """What tritonclient answers: configurations by model, and to each request zeros of the outputs' sizes."""

    configs: dict[str, Any]
    down: set[str] = field(default_factory=set)
    sent: list[tuple[str, dict[str, tuple[int, ...]]]] = field(default_factory=list)

    async def get_model_repository_index(self, client_timeout: float) -> Any:
        assert client_timeout > 0
        states = {model: "UNAVAILABLE" if model in self.down else "READY" for model in self.configs}
        return SimpleNamespace(models=[SimpleNamespace(name=name, state=state) for name, state in states.items()])

    async def get_model_config(self, model: str, client_timeout: float) -> Any:
        assert client_timeout > 0
        if model in self.down:
            raise InferenceServerException("not there", "StatusCode.UNAVAILABLE")
        return SimpleNamespace(config=self.configs[model])

    async def get_inference_statistics(self, _model: str, client_timeout: float) -> Any:
        raise InferenceServerException(f"none within {client_timeout}")

    async def infer(self, model: str, tensors: Sequence[Any], outputs: Sequence[Any], client_timeout: float) -> Any:
        assert client_timeout > 0
        shapes = {tensor.name(): tuple(tensor.shape()) for tensor in tensors}
        self.sent.append((model, shapes))
        rows = next(iter(shapes.values()))[0]
        dims = {tensor.name: tensor.dims for tensor in self.configs[model].output}
        sizes = {each.name(): [8 if size < 0 else size for size in dims[each.name()]] for each in outputs}
        return SimpleNamespace(as_numpy=lambda name: np.zeros((rows, *sizes[name]), np.float32))


def pool_of(client: Client) -> TritonPool:
    """All Tritons: this one."""
    pool = TritonPool("127.0.0.1:1", timeout_seconds=1)
    pool._endpoints = {"127.0.0.1:1": Endpoint("127.0.0.1:1", server_of(client), Probing())}
    return pool


def server_of(client: Client) -> TritonServer:
    server = TritonServer("127.0.0.1:1", timeout_seconds=1)
    server._client = client
    return server
