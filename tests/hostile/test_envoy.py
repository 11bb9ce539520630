"""Envoy with the settings of docs/envoy.yaml in front of both programs (skipped without: make .envoy/.stamp)."""

import asyncio
import contextlib
import shutil
import socket
import struct
from pathlib import Path

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from imagegen.v1 import accounts_pb2, accounts_pb2_grpc
from tests.hostile.cases import BASE
from tests.hostile.floods import CALL, frame
from tests.hostile.stack import running
from tests.integration.stack import REPOSITORY, TINY_FAMILIES

ENVOY = shutil.which("envoy", path=REPOSITORY / ".envoy/bin") or shutil.which("envoy")


MAX_RESETS = 20_000


def _resets(port: int) -> int:
    """Calls that a stranger opens and cancels until the connection is closed; MAX_RESETS at most."""
    cancel = struct.pack(">I", 8)  # RFC 9113, section 7
    sent = 0
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection, contextlib.suppress(OSError):
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0))
        while sent < MAX_RESETS:
            streams = range(2 * sent + 1, 2 * sent + 101, 2)
            connection.sendall(b"".join(frame(1, 4, each, CALL) + frame(3, 0, each, cancel) for each in streams))
            sent += len(streams)
    return sent


def _port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


@pytest.mark.skipif(ENVOY is None, reason="needs Envoy: make .envoy/.stamp")
async def test_envoy_passes_requests_and_refuses_hostile_heads(tiny_triton: int, tmp_path: Path) -> None:
    async with running(tiny_triton, TINY_FAMILIES, tmp_path, limited=False) as stack:
        rest, grpc_port = _port(), _port()
        ports = {10000: rest, 10001: grpc_port, 8080: stack.rest_port, 50051: stack.grpc_port}
        text = (REPOSITORY / "docs/envoy.yaml").read_text("utf-8")
        for written, used in ports.items():
            assert f"port_value: {written}}}" in text
            text = text.replace(f"port_value: {written}}}", f"port_value: {used}}}")
        (tmp_path / "envoy.yaml").write_text(text, "utf-8")
        arguments = ("-c", str(tmp_path / "envoy.yaml"), "-l", "error", "--use-dynamic-base-id", "--concurrency", "1")
        process = await asyncio.create_subprocess_exec(str(ENVOY), *arguments)
        try:
            await _works(rest, grpc_port, stack.neighbour)
            assert await asyncio.to_thread(_resets, grpc_port) < MAX_RESETS
        finally:
            process.terminate()
            await process.wait()


async def _works(rest: int, grpc_port: int, key: str) -> None:
    headers = {"x-api-key": key}
    async with httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{rest}", headers=headers, timeout=60, transport=httpx.AsyncHTTPTransport(retries=8)
    ) as client:
        assert (await client.get("/healthz")).status_code == 200
        answer = await client.post("/rest_api/process_result", json=BASE)
        assert answer.json()["status"] in {"complete", "in_progress"}, answer.text
        assert (await client.get("/rest_api/me")).json()["username"] == "neighbour"
        too_many = {f"x-{number}": "a" for number in range(200)}
        assert (await client.get("/healthz", headers=too_many)).status_code == 431
    async with grpc.aio.insecure_channel(f"127.0.0.1:{grpc_port}") as channel:
        check = health_pb2_grpc.HealthStub(channel).Check
        assert (await check(health_pb2.HealthCheckRequest(), timeout=20, wait_for_ready=True)).status == 1
        found = await accounts_pb2_grpc.AccountServiceStub(channel).GetAccount(
            accounts_pb2.GetAccountRequest(), metadata=(("x-api-key", key),), timeout=20
        )
        assert found.name == "neighbour"
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=20)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await watch.read()
        assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
