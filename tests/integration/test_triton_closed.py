"""What callers of Triton cannot do, with the real server: shared memory, traces, log files, models of their own."""

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
import tritonclient.grpc as tritongrpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tritonclient.utils import InferenceServerException

from local import serve_triton, triton, triton_command
from local.ports import Ports
from local.settings import ROOT, Settings
from tests.integration.stack import TINY


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[triton.Server]:
    """Triton over the tiny models, and one that cannot be loaded."""
    folder = tmp_path_factory.mktemp("triton")
    broken = folder / "models" / "broken"
    (broken / "1").mkdir(parents=True)
    (broken / "1" / "model.py").write_text("raise RuntimeError('broken')", "utf-8")
    (broken / "config.pbtxt").write_text('backend: "python"\nmax_batch_size: 0\n', "utf-8")
    with triton.running([TINY, broken.parent], folder / "state", allow_broken=True) as running:
        yield running


CLOSED: dict[str, Callable[[Any, dict[str, str]], object]] = {
    "shared memory": lambda client, headers: client.register_system_shared_memory("a", "/imagegen", 4, headers=headers),
    "its state": lambda client, headers: client.get_system_shared_memory_status(headers=headers),
    "of a GPU": lambda client, headers: client.get_cuda_shared_memory_status(headers=headers),
    "its end": lambda client, headers: client.unregister_system_shared_memory(headers=headers),
    "traces": lambda client, headers: client.update_trace_settings(settings={"trace_file": "/tmp/a"}, headers=headers),  # noqa: S108
    "log files": lambda client, headers: client.update_log_settings({"log_file": "/tmp/a"}, headers=headers),  # noqa: S108
    "log settings": lambda client, headers: client.get_log_settings(headers=headers),
}


@pytest.mark.promise(
    "shared memory, traces, log files and models of callers in Triton",
    "closed by a key that nobody has, and by its mode",
    "local/triton_command.py",
)
@pytest.mark.parametrize("name", CLOSED)
@pytest.mark.parametrize("key", [None, "", "imagegen", "0" * 64])
def test_what_nobody_calls_is_closed(server: triton.Server, name: str, key: str | None) -> None:
    headers = {} if key is None else {"triton-grpc-protocol-imagegen": key}
    with (
        tritongrpc.InferenceServerClient(server.grpc_url) as client,
        pytest.raises(InferenceServerException, match="restricted"),
    ):
        CLOSED[name](client, headers)


@pytest.mark.parametrize("path", ["systemsharedmemory/status", "cudasharedmemory/status", "logging", "trace/setting"])
def test_it_is_closed_over_http_too(server: triton.Server, path: str) -> None:
    assert httpx.get(f"{server.http_url}/v2/{path}", timeout=10).status_code == 403


def test_callers_load_no_models(server: triton.Server) -> None:
    with tritongrpc.InferenceServerClient(server.grpc_url) as client:
        for call in (client.load_model, client.unload_model):
            with pytest.raises(InferenceServerException, match="not allowed"):
                call("unet")
        with pytest.raises(InferenceServerException, match="not allowed"):
            client.load_model("evil", config="{}", files={"file:1/model.py": b"print()"})


def test_a_server_of_some_models_has_no_others_and_callers_load_none(tmp_path: Path) -> None:
    """The program of the CPU image, with IMAGEGEN_TRITON_MODELS."""
    served, other, *_ = sorted(each.name for each in TINY.iterdir())
    settings = Settings(state_dir=tmp_path, repositories=(TINY,), ports=Ports.free())
    variables = {
        "IMAGEGEN_MODEL_REPOSITORIES": str(TINY),
        "IMAGEGEN_STATE_DIR": str(tmp_path),
        "IMAGEGEN_TRITON_MODELS": served,
        **{f"IMAGEGEN_{name.upper()}_PORT": str(port) for name, port in asdict(settings.ports).items()},
    }
    loopback = ("--grpc-address=127.0.0.1", "--metrics-address=127.0.0.1")
    command = (settings.triton_env / "bin/python3", "-m", "local.serve_triton", *loopback)
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **variables})  # noqa: S603 - ours
    try:
        while not triton.is_live(settings.ports):
            assert process.poll() is None
            time.sleep(0.1)
        with tritongrpc.InferenceServerClient(f"127.0.0.1:{settings.ports.triton_grpc}") as client:
            assert client.is_model_ready(served)
            assert [each.name for each in client.get_model_repository_index().models] == [served]
            for name, call in ((served, client.unload_model), (served, client.load_model), (other, client.load_model)):
                with pytest.raises(InferenceServerException, match="not allowed"):
                    call(name)
    finally:
        process.terminate()
        process.wait(60)


def test_a_model_that_no_repository_has_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGEGEN_TRITON_MODELS", "nobody")
    monkeypatch.setenv("IMAGEGEN_MODEL_REPOSITORIES", str(TINY))
    monkeypatch.setenv("IMAGEGEN_STATE_DIR", str(tmp_path))
    assert serve_triton.main([]) == 2


def test_the_health_that_kubernetes_asks_for_looks_past_a_broken_model(server: triton.Server) -> None:
    assert "broken" in triton.read_broken(server.ports)
    with grpc.insecure_channel(server.grpc_url) as channel:
        answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=10)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_http_stays_inside_the_container_whatever_address_is_served(tmp_path: Path) -> None:
    settings = Settings(state_dir=tmp_path, repositories=(TINY,))
    command, _ = triton_command.prepare(settings, "0.0.0.0")  # noqa: S104 - not bound
    assert "--http-address=127.0.0.1" in command
    assert "--grpc-address=0.0.0.0" in command
    again, _ = triton_command.prepare(settings, "0.0.0.0")  # noqa: S104 - not bound
    keys = [{each for each in line if "restricted" in each} for line in (command, again)]
    assert [len(each) for each in keys] == [2, 2]
    assert not keys[0] & keys[1], "drawn for each start"
