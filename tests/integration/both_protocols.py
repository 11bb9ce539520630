"""The same question over gRPC and over REST: to one orchestrator, and a gateway before it."""

import asyncio
import base64
import contextlib
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import httpx
from google.protobuf.message import Message
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc

from gateway.__main__ import listen, make_server
from gateway.config import Address
from gateway.config import Settings as GatewaySettings
from imagegen.v1 import generation_pb2 as pb
from local.settings import Ports
from orchestrator.config import ANY_PORT
from tests.accounts import new_key
from tests.database import new_url
from tests.integration.stack import REPOSITORY, Client, details, serving, settings, text_to_image

TASK = pb.GenerateRequest.DESCRIPTOR.oneofs_by_name["task"]


@dataclass(frozen=True, slots=True)
class Said:
    """What came back.

    Attributes:
        code: name of the gRPC status, or the HTTP status.
        text: the message of an error, "" for a picture.
        fields: that the error names.
        picture: the file's bytes.
    """

    code: str
    text: str = ""
    fields: tuple[str, ...] = ()
    picture: bytes = b""


@dataclass(frozen=True, slots=True)
class BothProtocols:
    """Two ways to one orchestrator; pid is that of its process."""

    client: Client
    http: httpx.AsyncClient
    pid: int

    async def grpc(self, task: Message, **fields: Any) -> Said:
        """Over gRPC."""
        try:
            seen = await self.client.generate(request(task, **fields))
        except grpc.aio.AioRpcError as error:
            bad = details(error).get("BadRequest", error_details_pb2.BadRequest())
            assert isinstance(bad, error_details_pb2.BadRequest)
            return Said(error.code().name, error.details() or "", tuple(v.field for v in bad.field_violations))
        return Said("OK", picture=seen.data)

    async def rest(self, **body: Any) -> Said:
        """Over REST."""
        answer = await self.http.post("/rest_api/process_result", json=body)
        found = answer.json()
        if answer.status_code != 200:
            assert "detail" not in found
            return Said(str(answer.status_code), found["message"])
        assert found["status"] == "complete", found
        return Said("200", picture=(await self.http.get(found["result_url"])).content)

    def memory(self, name: str = "VmRSS") -> float:
        """Memory of the orchestrator's process, MB: VmRSS now, VmHWM at most so far."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) / 1000
        raise AssertionError(f"no {name}")


def request(task: Message, **fields: Any) -> pb.GenerateRequest:
    """A request with that task, a prompt and a seed."""
    (name,) = [field.name for field in TASK.fields if field.message_type is task.DESCRIPTOR]
    return pb.GenerateRequest(**{name: task, "prompt": "a red apple", "seed": 7, **fields})


def inline(data: bytes) -> str:
    """Bytes as REST takes them."""
    return "base64," + base64.b64encode(data).decode()


@contextlib.asynccontextmanager
async def both(triton_port: int, families: Path, folder: Path, **changes: str) -> AsyncIterator[BothProtocols]:
    """An orchestrator in a process of its own; `changes` are settings, by name without IMAGEGEN_."""
    ports, listener, database_url = Ports.free(), listen(Address("127.0.0.1", 0)), new_url()
    key = await new_key(database_url, "test")
    environment = {
        "GRPC_ADDRESS": f"127.0.0.1:{ports.grpc}",
        "METRICS_ADDRESS": f"127.0.0.1:{ports.metrics}",
        "TRITON_URL": f"127.0.0.1:{triton_port}",
        "FAMILIES": str(families),
        "DATABASE_URL": database_url,
        "RESULTS_URL": str(folder / "results"),
        "PUBLIC_URL": url_of(listener),
        "ANONYMOUS": "true",
        **changes,
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "orchestrator",
        cwd=REPOSITORY,
        env={**os.environ, **{f"IMAGEGEN_{name}": value for name, value in environment.items()}},
    )
    try:
        async with (
            grpc.aio.insecure_channel(f"127.0.0.1:{ports.grpc}") as channel,
            gateway(listener, ports.grpc, key) as http,
        ):
            await until_serving(channel)
            client = Client(channel)
            await client.generate(text_to_image(steps=1))
            yield BothProtocols(client, http, process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        await process.wait()


@contextlib.asynccontextmanager
async def both_here(triton_port: int, families: Path, folder: Path) -> AsyncIterator[BothProtocols]:
    """An orchestrator in this process, into which a test can reach."""
    listener = listen(Address("127.0.0.1", 0))
    config = settings(triton_port, folder, families=families, public_url=url_of(listener), fetch_ports=ANY_PORT)
    key = await new_key(config.database_url, "test")
    async with (
        serving(config) as (orchestrator, client),
        gateway(listener, orchestrator.grpc_port, key) as http,
    ):
        yield BothProtocols(client, http, os.getpid())


@contextlib.asynccontextmanager
async def gateway(listener: socket.socket, grpc_port: int, key: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a gateway before that gRPC server."""
    server = make_server(GatewaySettings(orchestrator=Address("127.0.0.1", grpc_port)))
    running = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        async with httpx.AsyncClient(base_url=url_of(listener), headers={"X-API-KEY": key}, timeout=60) as http:
            yield http
    finally:
        server.should_exit = True
        await running


def url_of(listener: socket.socket) -> str:
    """Where a gateway listens."""
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


async def until_serving(channel: grpc.aio.Channel) -> None:
    """Wait until a server answers that it serves."""
    stub = health_pb2_grpc.HealthStub(channel)
    async with asyncio.timeout(60):
        watch = stub.Watch(health_pb2.HealthCheckRequest(), wait_for_ready=True)
        async for answer in watch:
            if answer.status == health_pb2.HealthCheckResponse.SERVING:
                return
