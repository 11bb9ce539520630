"""Helpers of the integration tests: an orchestrator over a real Triton, and what a client sees of it."""

import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import httpx
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from imagegen.v1 import generation_pb2 as pb
from imagegen.v1 import generation_pb2_grpc, jobs_pb2_grpc
from orchestrator.config import Settings
from orchestrator.server import Orchestrator
from tests.database import new_url

REPOSITORY = Path(__file__).parents[2]
TINY = REPOSITORY / "tests/golden/model_repository"
ADAPTERS = REPOSITORY / "tests/golden/adapters/model_repository"
FORMULAS = REPOSITORY / "tests/integration/model_repository"
ADAPTERS_FAMILIES = REPOSITORY / "tests/integration/adapters.toml"
TINY_FAMILIES = REPOSITORY / "tests/integration/families.toml"


@dataclass
class Seen:
    """Everything that one Generate stream brought."""

    events: list[pb.GenerateEvent] = field(default_factory=list)
    data: bytes = b""
    artifact: pb.Artifact = field(default_factory=pb.Artifact)

    def kinds(self) -> list[str]:
        """Kinds of the events, in order."""
        return [event.WhichOneof("event") or "" for event in self.events]


class Client:
    """A gRPC client of one orchestrator."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.channel = channel
        self.generation = generation_pb2_grpc.GenerationServiceStub(channel)
        self.jobs = jobs_pb2_grpc.JobServiceStub(channel)

    async def generate(self, request: pb.GenerateRequest, metadata: Mapping[str, str] | None = None) -> Seen:
        """Run a request to its end."""
        seen = Seen()
        async for event in self.generation.Generate(request, metadata=tuple((metadata or {}).items())):
            seen.events.append(event)
            if event.HasField("artifact"):
                seen.data += event.artifact.data
                seen.artifact.MergeFrom(event.artifact)
        return seen


def text_to_image(prompt: str = "a red apple", **fields: object) -> pb.GenerateRequest:
    """A request with a prompt and whatever else."""
    return pb.GenerateRequest(text_to_image=pb.TextToImage(), prompt=prompt, **fields)  # type: ignore[arg-type]


def settings(triton_port: int, folder: Path, **changes: object) -> Settings:
    """Settings of a test's orchestrator: free ports, its own folder."""
    values = {
        "grpc_address": "127.0.0.1:0",
        "metrics_address": "127.0.0.1:0",
        "triton_url": f"127.0.0.1:{triton_port}",
        "families": TINY_FAMILIES,
        "results_url": str(folder / "results"),
        "database_url": new_url(),
        "anonymous": True,
        "health_interval_seconds": 0.1,
        "measure_seconds": 0,
    }
    return Settings(**{**values, **changes})  # type: ignore[arg-type]


@contextlib.asynccontextmanager
async def serving(config: Settings) -> AsyncIterator[tuple[Orchestrator, Client]]:
    """An orchestrator in this process, on real sockets, and a client of it."""
    orchestrator = Orchestrator(config)
    await orchestrator.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{orchestrator.grpc_port}") as channel:
            yield orchestrator, Client(channel)
    finally:
        await orchestrator.stop()


def details(error: grpc.aio.AioRpcError) -> dict[str, object]:
    """google.rpc details of an error, by the last part of their type's name."""
    status = rpc_status.from_call(error)  # type: ignore[arg-type]  # an AioRpcError has what it needs of a Call
    assert isinstance(status, status_pb2.Status)
    found: dict[str, object] = {}
    for kind in (
        error_details_pb2.BadRequest,
        error_details_pb2.ErrorInfo,
        error_details_pb2.RetryInfo,
        error_details_pb2.RequestInfo,
    ):
        for detail in status.details:
            message = kind()
            if detail.Unpack(message):
                found[kind.DESCRIPTOR.name] = message
    return found


async def metrics(orchestrator: Orchestrator) -> str:
    """The text of /metrics."""
    async with httpx.AsyncClient() as client:
        answer = await client.get(f"http://127.0.0.1:{orchestrator.metrics_port}/metrics")
    return answer.text
