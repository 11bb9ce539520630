"""No key in any log: whole programs at debug level, with keys where they belong and in every wrong place."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import grpc
import httpx
import psycopg
import pytest

from imagegen.v1 import accounts_pb2, accounts_pb2_grpc, generation_pb2_grpc, jobs_pb2, jobs_pb2_grpc
from imagegen.v1 import generation_pb2 as pb
from orchestrator.accounts import keys
from tests.accounts import new_key
from tests.database import new_url
from tests.integration.stack import TINY_FAMILIES

ROOT = Path(__file__).parents[3]

Stack = tuple[str, grpc.aio.Channel, str, str]


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def program(name: str, log: Path, **variables: str) -> Iterator[None]:
    """A package of ours as a process that logs everything; ended by SIGTERM."""
    others = {key: value for key, value in os.environ.items() if not key.startswith("IMAGEGEN_")}
    environment = {**others, "IMAGEGEN_LOG_LEVEL": "debug", **variables}
    with log.open("wb") as file:
        process = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-m", name], env=environment, cwd=ROOT, stdout=file, stderr=file
        )
        try:
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[Stack]:
    """A gateway before an orchestrator without Triton: its URL, a channel, a right key, the database's URL."""
    port, rest, url = free_port(), free_port(), new_url()
    key = await new_key(url, "anna", credits=1)
    orchestrator = {
        "IMAGEGEN_GRPC_ADDRESS": f"127.0.0.1:{port}",
        "IMAGEGEN_METRICS_ADDRESS": "127.0.0.1:0",
        "IMAGEGEN_TRITON_URL": f"127.0.0.1:{free_port()}",
        "IMAGEGEN_FAMILIES": str(TINY_FAMILIES),
        "IMAGEGEN_RESULTS_URL": str(tmp_path / "results"),
        "IMAGEGEN_DATABASE_URL": url,
    }
    gateway = {"IMAGEGEN_REST_ADDRESS": f"127.0.0.1:{rest}", "IMAGEGEN_ORCHESTRATOR": f"127.0.0.1:{port}"}
    with program("orchestrator", tmp_path / "orchestrator.log", **orchestrator):
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            await channel.channel_ready()
            with program("gateway", tmp_path / "gateway.log", **gateway):
                yield f"http://127.0.0.1:{rest}", channel, key, url


async def over_grpc(channel: grpc.aio.Channel, key: str, wrong: str) -> list[str]:
    """Calls with keys in all places; what was answered."""
    accounts = accounts_pb2_grpc.AccountServiceStub(channel)
    jobs, generation = jobs_pb2_grpc.JobServiceStub(channel), generation_pb2_grpc.GenerationServiceStub(channel)
    answers = []
    places: list[list[tuple[str, str | bytes]]] = [
        [("x-api-key", key)],
        [("x-api-key", wrong)],
        [("x-api-key", key), ("x-api-key", wrong)],
        [("x-api-key-bin", key.encode())],
        [("authorization", f"Bearer {key}")],
        [("x-api-key", key), ("x-request-id", key)],
        [("x-request-id", wrong)],
    ]
    for metadata in places:
        with contextlib.suppress(grpc.aio.AioRpcError):
            account: accounts_pb2.Account = await accounts.GetAccount(
                accounts_pb2.GetAccountRequest(), metadata=metadata
            )
            answers.append(account.webhook_secret)
    right = [("x-api-key", key)]

    def raw(method: str, message: bytes) -> Awaitable[object]:
        call: Any = channel.unary_unary(method)
        answer: Awaitable[object] = call(message, metadata=right)
        return answer

    request = pb.GenerateRequest(text_to_image=pb.TextToImage(), prompt=key, request_id=key, family=key)
    for call in (
        jobs.GetJob(jobs_pb2.GetJobRequest(job_id=key), metadata=right),
        jobs.CreateJob(jobs_pb2.CreateJobRequest(request=request), metadata=right),
        jobs.CreateJob(jobs_pb2.CreateJobRequest(request=request), metadata=[("x-api-key", wrong)]),
        generation.Generate(request, metadata=right).read(),
        raw("/imagegen.v1.JobService/GetJob", b"\xff" + key.encode()),
        raw(f"/imagegen.v1.JobService/{key}", b""),
    ):
        with contextlib.suppress(grpc.aio.AioRpcError):
            await call
    return answers


async def over_rest(base: str, key: str, wrong: str) -> list[int]:
    """The same over REST."""
    process = f"{base}/rest_api/process"
    statuses = []
    async with httpx.AsyncClient(timeout=30) as client:
        for headers in (
            {"X-API-KEY": key},
            {"X-API-KEY": wrong},
            {"X-API-KEY": f"{key}, {wrong}"},
            {"Authorization": f"Bearer {key}"},
            {"Cookie": f"key={key}"},
            {"X-API-KEY": key, "X-Request-ID": key},
            {"X-API-KEY": key, "User-Agent": key},
        ):
            for url in (process, f"{process}?x-api-key={key}", f"{base}/{key}", f"{base}/results/{key}"):
                answer = await client.post(url, headers=headers, content=f'{{"prompt": "{key}", broken')
                statuses.append(answer.status_code)
            statuses.append((await client.get(f"{base}/rest_api/me", headers=headers)).status_code)
    return statuses


def by_hand(base: str, key: str) -> bytes:
    """Bytes that no client would send."""
    address = urlsplit(base)
    assert address.hostname is not None
    assert address.port is not None
    answered = b""
    for header in (b"X-API-KEY: \xff\xfe%b", b"X-API-KEY : %b", b"X-API-KEY: %b\x00", b"%b"):
        with socket.create_connection((address.hostname, address.port), 10) as connection:
            lines = b"GET /rest_api/me HTTP/1.1", b"Host: x", b"Connection: close", header % key.encode()
            connection.sendall(b"\r\n".join(lines) + b"\r\n\r\n")
            while chunk := connection.recv(65536):
                answered += chunk
    return answered


@pytest.mark.promise(
    "keys and secrets in logs",
    "what is written is cut",
    "common/logs.py",
)
async def test_no_key_is_logged(stack: Stack, tmp_path: Path) -> None:
    base, channel, key, url = stack
    wrong = keys.make()
    async with httpx.AsyncClient(
        transport=httpx.AsyncHTTPTransport(retries=8), headers={"X-API-KEY": key}, timeout=30
    ) as client:
        await client.get(f"{base}/rest_api/me")  # waits for the gateway
    secrets = {*await over_grpc(channel, key, wrong)}
    async with await psycopg.AsyncConnection.connect(url) as connection:
        await connection.execute("DROP TABLE imagegen.leases")
    assert await over_grpc(channel, key, wrong) == [], "every call crashes, and is logged with its request id"
    statuses = await over_rest(base, key, wrong)
    answered = by_hand(base, key)
    assert len(secrets) == 1
    assert len(set(statuses)) > 2, "they were answered in several ways"
    assert b"HTTP/1.1" in answered
    logs = [path.read_text("utf-8") for path in (tmp_path / "orchestrator.log", tmp_path / "gateway.log")]
    for log in logs:
        for secret in (key[11:], wrong[11:], *(secret.removeprefix("whsec_") for secret in secrets)):
            assert secret not in log
        assert "ig_..." in log, "some were cut"
    assert "rpc_crashed" in logs[0]
