"""`python -m benchmarks.instant_triton REPOSITORY PORT`: no Triton, a stand-in that answers at once, with zeros.

It speaks the part of Triton's protocol that the orchestrator uses, over gRPC on 127.0.0.1, for the models of a
repository. Nothing is computed: what is measured in front of it is the orchestrator alone.
"""

import argparse
import asyncio
import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import grpc.aio
from tritonclient.grpc import model_config_pb2, service_pb2, service_pb2_grpc

from benchmarks.measure import read_config
from local.settings import HOST

SIDES: Mapping[str, tuple[str, Fraction]] = {
    "out_sample": ("sample", Fraction(1)),
    "image": ("latents", Fraction(8)),
    "latents": ("image", Fraction(1, 8)),
    "upscaled": ("image", Fraction(2)),
}
"""Outputs whose free sides follow an input: that input, and how many times its sides they are long. Others' are 1."""

_BYTES = 4
"""Of a number: all outputs are float32."""

Context = grpc.aio.ServicerContext[Any, Any]


class InstantTriton(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]  # no types are published
    """Serves the models of some configurations; all are ready."""

    def __init__(self, configs: Mapping[str, model_config_pb2.ModelConfig]) -> None:
        self._configs = configs

    async def RepositoryIndex(self, _request: Any, _context: Context) -> Any:  # noqa: ANN401, N802  # generated code's
        """All models, each ready."""
        answer = service_pb2.RepositoryIndexResponse()
        for name in self._configs:
            answer.models.add(name=name, state="READY")
        return answer

    async def ModelConfig(self, request: Any, context: Context) -> Any:  # noqa: ANN401, N802  # generated code's
        """The model's config.pbtxt."""
        return service_pb2.ModelConfigResponse(config=await self._find(request.name, context))

    async def ModelStatistics(self, _request: Any, _context: Context) -> Any:  # noqa: ANN401, N802  # generated code's
        """None: nothing is executed."""
        return service_pb2.ModelStatisticsResponse()

    async def ModelInfer(self, request: Any, context: Context) -> Any:  # noqa: ANN401, N802  # generated code's
        """Zeros for each output that is asked for."""
        config = await self._find(request.model_name, context)
        shapes = {tensor.name: tensor.shape for tensor in request.inputs}
        dims = {output.name: output.dims for output in config.output}
        answer = service_pb2.ModelInferResponse(model_name=request.model_name)
        for output in request.outputs:
            shape = find_shape(output.name, dims[output.name], shapes)
            answer.outputs.add(name=output.name, datatype="FP32", shape=shape)
            answer.raw_output_contents.append(bytes(_BYTES * math.prod(shape)))
        return answer

    async def _find(self, name: str, context: Context) -> model_config_pb2.ModelConfig:
        if name not in self._configs:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"there is no model {name}")
        return self._configs[name]


def find_shape(name: str, dims: Sequence[int], inputs: Mapping[str, Sequence[int]]) -> list[int]:
    """Shape of an output.

    Args:
        name: of the output.
        dims: behind the batch, by the model's configuration; -1 where free.
        inputs: shapes of the request's inputs, the batch first.
    """
    rows = next(iter(inputs.values()))[0]
    if min(dims) > 0 or name not in SIDES:
        return [rows, *(max(1, size) for size in dims)]
    source, factor = SIDES[name]
    return [rows, dims[0], *(int(side * factor) for side in inputs[source][2:])]


async def start(repository: Path, port: int) -> tuple[grpc.aio.Server, int]:
    """Serve the models of a repository; gives the server and its port, which is a free one for 0."""
    folders = await asyncio.to_thread(lambda: list(repository.glob("*/config.pbtxt")))
    configs = {path.parent.name: read_config(path.parent) for path in folders}
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", -1), ("grpc.so_reuseport", 0)])
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(InstantTriton(configs), server)
    port = server.add_insecure_port(f"{HOST}:{port}")
    await server.start()
    return server, port


async def serve(repository: Path, port: int) -> None:
    """Serve until the process is ended."""
    server, _ = await start(repository, port)
    await server.wait_for_termination()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.instant_triton", description=__doc__)
    parser.add_argument("repository", type=Path)
    parser.add_argument("port", type=int)
    arguments = parser.parse_args()
    asyncio.run(serve(arguments.repository, arguments.port))
