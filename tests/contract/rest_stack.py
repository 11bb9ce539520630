"""The gateway on a real port, over a real gRPC server whose jobs are scripted by the test; and what is sent to it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import httpx
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from gateway.__main__ import listen, make_server
from gateway.config import Address, Settings
from imagegen.v1 import accounts_pb2_grpc, generation_pb2_grpc, jobs_pb2_grpc, webhooks_pb2_grpc
from tests.contract.rest_fake import KEY, FakeJobs, Script

PROMPT = (
    "woman in a futuristic suit holding a gun in her hand, looking at the camera, cyberpunk art, neo-figurative, anime"
)
TEXT_ONLY = {"width": 2048, "height": 1024, "background": {"generate": {"description": PROMPT}}}
FANTASY = {
    "width": 2048,
    "height": 1024,
    "background": {"generate": {"description": PROMPT, "model_type": "fantasy"}},
}
RESULT, NOW = "/rest_api/process_result", "/rest_api/process"
JSON = {"content-type": "application/json"}
MAX_BODY_BYTES = 200_000


@dataclass
class Stack:
    """A running gateway.

    Attributes:
        client: speaks to it, with a known key.
        anonymous: speaks to it, without a key.
        jobs: behind it.
        health: behind it.
        address: of it.
        orchestrator_port: of the fake.
    """

    client: httpx.AsyncClient
    anonymous: httpx.AsyncClient
    jobs: FakeJobs
    health: health.aio.HealthServicer
    address: Address
    orchestrator_port: int

    @property
    def script(self) -> Script:
        """What the fake does next."""
        return self.jobs.script


@asynccontextmanager
async def grpc_server(jobs: FakeJobs, port: int = 0) -> AsyncIterator[tuple[int, health.aio.HealthServicer]]:
    """A gRPC server with the fake; gives its port."""
    server = grpc.aio.server()
    jobs_pb2_grpc.add_JobServiceServicer_to_server(jobs, server)
    webhooks_pb2_grpc.add_WebhookServiceServicer_to_server(jobs, server)
    accounts_pb2_grpc.add_AccountServiceServicer_to_server(jobs, server)
    generation_pb2_grpc.add_GenerationServiceServicer_to_server(jobs, server)
    healthy = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(healthy, server)
    for name in ("", "live"):
        await healthy.set(name, health_pb2.HealthCheckResponse.SERVING)
    bound = server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    try:
        yield bound, healthy
    finally:
        await server.stop(None)


@asynccontextmanager
async def http_server(orchestrator_port: int, **settings: Any) -> AsyncIterator[Address]:
    """A gateway on a free port; gives its address."""
    wanted = Settings(
        rest_address=Address("127.0.0.1", 0), orchestrator=Address("127.0.0.1", orchestrator_port), **settings
    )
    listener = listen(
        wanted.rest_address
    )  # connections wait in its backlog until the server runs: no polling for readiness
    address = Address(*listener.getsockname())
    server = make_server(wanted)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield address
    finally:
        server.should_exit = True
        await serving


@asynccontextmanager
async def stack(**settings: Any) -> AsyncIterator[Stack]:
    """A gateway over a fake."""
    jobs = FakeJobs()
    async with (
        grpc_server(jobs) as (port, healthy),
        http_server(port, **settings) as address,
        client(address) as known,
        httpx.AsyncClient(base_url=f"http://{address}") as anonymous,
    ):
        yield Stack(known, anonymous, jobs, healthy, address, port)


def client(address: Address) -> httpx.AsyncClient:
    """A client with a known key."""
    return httpx.AsyncClient(base_url=f"http://{address}", headers={"X-API-KEY": KEY}, timeout=20)


async def post(stack: Stack, path: str = RESULT, **change: Any) -> httpx.Response:
    """Send the text-only request, changed at its top."""
    return await stack.client.post(path, json={**TEXT_ONLY, **change})


async def generate(stack: Stack, **change: Any) -> httpx.Response:
    """Send the text-only request, changed in background.generate."""
    return await post(stack, background={"generate": {"description": PROMPT, **change}})
