"""What a client of each system sends: one picture asked for, its bytes received."""

from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Protocol

import grpc.aio
import httpx

from benchmarks.load import Request
from benchmarks.workloads import PROMPT, Workload
from imagegen.v1 import generation_pb2 as pb
from imagegen.v1 import generation_pb2_grpc as pb_grpc
from orchestrator.models.families import Family

TIMEOUT = 600.0
"""Longest wait for a picture, seconds: eight pictures of the large model on two slow cores."""


class StepsRequest(Protocol):
    """A Request whose steps can be overridden."""

    def __call__(self, seed: int, steps: int | None = None) -> Awaitable[None]:
        """Ask for the picture of a seed."""
        ...


class GrpcClient:
    """Asks the orchestrator.

    Attributes:
        step_seconds: for each picture, the orchestrator's own time of a denoising step.
    """

    def __init__(self, channel: grpc.aio.Channel, work: Workload) -> None:
        self._stub, self._work = pb_grpc.GenerationServiceStub(channel), work
        self.step_seconds: list[float] = []

    async def request(self, seed: int, steps: int | None = None) -> None:
        """Generate the picture of a seed, in the family's number of steps or in another.

        Raises:
            grpc.aio.AioRpcError: the server refused or failed.
            RuntimeError: no PNG came.
        """
        work, file = self._work, bytearray()
        message = pb.GenerateRequest(
            text_to_image=pb.TextToImage(),
            prompt=PROMPT,
            family=work.family,
            size=pb.Size(width=work.width, height=work.height),
            seed=seed,
            steps=steps,
        )
        async for event in self._stub.Generate(message, timeout=TIMEOUT):
            if event.WhichOneof("event") == "artifact":
                file += event.artifact.data
                if event.artifact.timings:  # the first part carries the description
                    self._note(event.artifact)
        check_png(file)

    def _note(self, artifact: pb.Artifact) -> None:
        (denoise,) = (timing for timing in artifact.timings if timing.stage == pb.STAGE_DENOISE)
        self.step_seconds.append(denoise.seconds / denoise.calls)


@asynccontextmanager
async def grpc_client(address: str, work: Workload) -> AsyncIterator[GrpcClient]:
    """A client of the orchestrator at host:port."""
    async with grpc.aio.insecure_channel(address) as channel:
        yield GrpcClient(channel, work)


@asynccontextmanager
async def rest_client(url: str, api_key: str, work: Workload) -> AsyncIterator[Request]:
    """A client of our gateway: asks for a picture, waits for the answer, fetches the file."""
    headers = {"X-API-KEY": api_key}
    async with httpx.AsyncClient(base_url=url, timeout=TIMEOUT, headers=headers) as client:

        async def request(seed: int) -> None:
            body = {
                "width": work.width,
                "height": work.height,
                "output_format": "png",
                "background": {
                    "generate": {"description": PROMPT, "model_type": work.family, "sample_num": seed},
                },
            }
            answer = (await client.post("/rest_api/process_result", json=body)).raise_for_status().json()
            if answer["status"] != "complete":
                raise RuntimeError(f"the gateway did not wait: {answer}")
            check_png((await client.get(answer["result_url"])).raise_for_status().content)

        yield request


@asynccontextmanager
async def diffusers_client(url: str, work: Workload, family: Family) -> AsyncIterator[StepsRequest]:
    """A client of diffusers_fastapi.py; its request takes a number of steps too."""
    async with httpx.AsyncClient(base_url=url, timeout=TIMEOUT) as client:

        async def request(seed: int, steps: int | None = None) -> None:
            body = {
                "prompt": family.full_prompt(PROMPT),
                "width": work.width,
                "height": work.height,
                "steps": steps or family.default_steps,
                "guidance_scale": family.default_guidance_scale,
                "seed": seed,
            }
            check_png((await client.post("/generate", json=body)).raise_for_status().content)

        yield request


def check_png(file: bytes | bytearray) -> None:
    """Raise RuntimeError unless these are all bytes of a PNG."""
    if not (file.startswith(b"\x89PNG") and file.endswith(b"IEND\xaeB`\x82")):
        raise RuntimeError(f"{len(file)} bytes came that are not a whole PNG")
