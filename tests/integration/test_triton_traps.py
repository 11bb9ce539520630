"""The traps of the wheel's Triton, each ending in a clear message; against the real server where it takes part.

Those that a machine here cannot have (other systems, no libpython) are in tests/unit/local/test_host.py.
"""

import os
import shutil
import signal
import socket
import sys
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
import tritonclient.grpc as client

from local import host, proof, triton, triton_command
from local.environments import ensure
from local.errors import HostError, ModelsError, PortInUseError, StartError
from local.settings import HOST, Ports, Settings
from tests.conftest import TINY_REPOSITORY

ECHO_CONFIG = """
max_batch_size: 8
input [{ name: "x" data_type: TYPE_FP32 dims: [ 4 ] }]
output [{ name: "y" data_type: TYPE_FP32 dims: [ 4 ] }]
dynamic_batching {}
"""
ECHO_MODEL = """
import triton_python_backend_utils as pb_utils
class TritonPythonModel:
    def execute(self, requests):
        arrays = [pb_utils.get_input_tensor_by_name(request, "x").as_numpy() for request in requests]
        return [pb_utils.InferenceResponse([pb_utils.Tensor("y", array + 0)]) for array in arrays]
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A copy of the tiny models to break."""
    return Path(shutil.copytree(TINY_REPOSITORY, tmp_path / "models"))


@pytest.fixture
def echo(tmp_path: Path) -> Path:
    """A repository of one model that does not use the shared engine, nor its check of numpy: it gives what it gets."""
    version = tmp_path / "echo_models/echo/1"
    version.mkdir(parents=True)
    (version.parent / "config.pbtxt").write_text(ECHO_CONFIG)
    (version / "model.py").write_text(ECHO_MODEL)
    return version.parents[1]


@pytest.fixture
def numpy_2(tmp_path: Path) -> Path:
    """An environment like .triton that has this environment's numpy, which is 2."""
    folder = tmp_path / "env"
    python = ensure("triton").python
    (folder / "bin").mkdir(parents=True)
    base = Path(os.path.realpath(python))
    (folder / "bin/python3").symlink_to(base)
    (folder / "pyvenv.cfg").write_text(f"home = {base.parent}\ninclude-system-site-packages = false\n")
    packages = folder / "lib" / f"python{host.inspect(python).version}" / "site-packages"
    packages.mkdir(parents=True)
    ours, tritons = sysconfig.get_path("purelib"), host.inspect(python).packages
    (packages / "both.pth").write_text(f"{ours}\n{tritons}\n")
    return folder


def test_numpy_2_in_tritons_environment(repository: Path, numpy_2: Path, tmp_path: Path) -> None:
    with (
        pytest.raises(HostError, match=r"has numpy 2\..*below 2.*delete the folder \.triton"),
        triton.running([repository], tmp_path / "state", triton_env=numpy_2),
    ):
        pass
    assert not (tmp_path / "state/logs").exists(), "said before the server was started"


def test_numpy_2_is_refused_by_the_engine_itself(
    repository: Path, numpy_2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where somebody else starts the server with another Python first on PATH."""
    monkeypatch.setattr(host, "check_packages", lambda _: None)
    with (
        pytest.raises(ModelsError, match=r"numpy below 2, and found 2\..*with its bin first on PATH") as caught,
        triton.running([repository], tmp_path / "state", triton_env=numpy_2),
    ):
        pass
    assert len(caught.value.reasons) == 3


def test_numpy_2_behind_any_model_is_found_by_known_tensors(
    echo: Path, numpy_2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fault itself: the server says that all is well, and nothing goes in or comes out."""
    monkeypatch.setattr(host, "check_packages", lambda _: None)
    with (
        pytest.raises(ModelsError, match=r"echo: a known tensor came back wrong in y: it is empty \(is numpy 2"),
        triton.running([echo], tmp_path / "state", triton_env=numpy_2),
    ):
        pass


def test_a_model_whose_rows_depend_on_their_company_does_not_start(echo: Path, tmp_path: Path) -> None:
    (echo / "echo/1/model.py").write_text(ECHO_MODEL.replace("array + 0", "array + len(array)"))
    with (
        pytest.raises(ModelsError, match=r"echo: .* depends on who shares its batch"),
        triton.running([echo], tmp_path / "state"),
    ):
        pass


def test_path_and_virtual_env_of_the_caller_do_not_matter(
    repository: Path, numpy_2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIRTUAL_ENV", str(numpy_2))
    monkeypatch.setenv("PATH", f"{numpy_2 / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", "/nowhere")
    monkeypatch.setenv("PYTHONHOME", "/nowhere")
    monkeypatch.chdir(tmp_path)
    with triton.running([repository], tmp_path / "state") as server:
        assert triton.read_broken(server.ports) == {}


def test_a_graph_called_model_onnx(repository: Path, tmp_path: Path) -> None:
    version = repository / "tiny_unet/1"
    (version / "graph.onnx").rename(version / "model.onnx")
    with (
        pytest.raises(ModelsError, match=r"tiny_unet: .*model\.onnx makes Triton choose ONNX Runtime.*graph\.onnx"),
        triton.running([repository], tmp_path / "state"),
    ):
        pass


def test_broken_models_are_all_named_and_hide_no_other(repository: Path, tmp_path: Path) -> None:
    (repository / "tiny_unet/1/graph.onnx").unlink()
    (repository / "tiny_text_encoder/1/graph.onnx").write_bytes(b"not a graph")
    with (
        pytest.raises(ModelsError) as caught,
        triton.running([repository], tmp_path / "state"),
    ):
        pass
    assert "no graph at" in caught.value.reasons["tiny_unet"]
    assert "graph.onnx" in caught.value.reasons["tiny_text_encoder"]
    assert "Traceback" not in str(caught.value)
    assert len(caught.value.reasons) == 2

    with triton.running([repository], tmp_path / "state", allow_broken=True) as server:
        assert set(triton.read_broken(server.ports)) == set(caught.value.reasons)
        proof.check(server.grpc_url, ["tiny_vae_decoder"])


def test_a_graph_that_is_not_the_one_its_configuration_names(repository: Path, tmp_path: Path) -> None:
    config = repository / "tiny_vae_decoder/config.pbtxt"
    text = config.read_text()
    start = text.index('"', text.index("graph_sha256") + 13) + 1
    config.write_text(text[:start] + "0" * 64 + text[start + 64 :])
    with (
        pytest.raises(ModelsError, match=r"tiny_vae_decoder: .* has SHA-256 .* but config\.pbtxt says 0000"),
        triton.running([repository], tmp_path / "state"),
    ):
        pass


def test_a_port_in_use(tmp_path: Path) -> None:
    ports = Ports.free()
    with socket.socket() as taken:
        taken.bind((HOST, ports.triton_grpc))
        taken.listen()
        with (
            pytest.raises(PortInUseError, match=f"port {ports.triton_grpc} is in use.*IMAGEGEN_TRITON_GRPC_PORT"),
            triton.running([TINY_REPOSITORY], tmp_path / "state", ports=ports),
        ):
            pass


def test_python_3_13(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "PYTHONS", ("3.99",))
    with (
        pytest.raises(HostError, match=rf"needs Python 3\.99 .* this is 3\.{sys.version_info.minor}"),
        triton.running([TINY_REPOSITORY], tmp_path / "state"),
    ):
        pass


def test_a_server_that_dies_while_it_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a backend option that it refuses; the end of its log is in the message."""
    monkeypatch.setattr(triton_command, "START_SECONDS", float("1e30"))
    with (
        pytest.raises(StartError, match=r"(?s)Triton ended while it started\. The end of .*triton\.log:\n."),
        triton.running([TINY_REPOSITORY], tmp_path / "state"),
    ):
        pass


def test_a_killed_server_leaves_nothing_that_harms_the_next(tmp_path: Path) -> None:
    with triton.running([TINY_REPOSITORY], tmp_path) as server:
        os.kill(server.process.pid, signal.SIGKILL)
        deadline = time.monotonic() + 10
        while server.process.is_alive() and time.monotonic() < deadline:
            time.sleep(0.02)
        with triton.running([TINY_REPOSITORY], tmp_path, ports=server.ports) as again:
            assert triton.read_broken(again.ports) == {}
    with pytest.raises(ProcessLookupError):
        os.killpg(server.process.pid, 0)  # its stubs are gone, too
    prefix = triton_command.shared_prefix(Settings(state_dir=tmp_path))
    assert not list(Path("/dev/shm").glob(f"{prefix}*"))  # noqa: S108 - where POSIX shared memory is


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[triton.Server]:
    """A sound server."""
    with triton.running([TINY_REPOSITORY], tmp_path_factory.mktemp("state")) as server:
        yield server


def test_it_listens_on_loopback_alone(server: triton.Server) -> None:
    ports = {server.ports.triton_http, server.ports.triton_grpc, server.ports.triton_metrics}
    loopback = {"0100007F", "0000000000000000FFFF00000100007F"}  # 127.0.0.1 as the kernel writes it, 4 and 6
    listening = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            address, port = line.split()[1].split(":")
            if line.split()[3] == "0A" and int(port, 16) in ports:
                assert address in loopback
                listening.add(int(port, 16))
    assert listening == ports


def test_the_engine_is_reported_at_the_metrics_port(server: triton.Server) -> None:
    lines = [line for line in httpx.get(server.metrics_url).text.splitlines() if line.startswith("imagegen_engine")]
    assert len(lines) == 3
    assert all('engine="openvino ' in line and 'precision="f32"' in line for line in lines)


def test_the_error_of_a_request_that_does_not_fit_has_no_internals(server: triton.Server) -> None:
    with client.InferenceServerClient(server.grpc_url) as connection:
        tensor = client.InferInput("latents", [1, 3, 8, 8], "FP32")
        tensor.set_data_from_numpy(np.ones((1, 3, 8, 8), np.float32))
        with pytest.raises(client.InferenceServerException, match="unexpected shape for input 'latents'"):
            connection.infer("tiny_vae_decoder", [tensor])


@pytest.mark.parametrize("name", ["with blanks", "größe ☃ 'quoted' $HOME"])
def test_any_path_will_do(repository: Path, tmp_path: Path, name: str) -> None:
    """Triton's line of shell quotes no path, and its stub ends at a working folder beyond ASCII."""
    models = tmp_path / name / "models"
    models.parent.mkdir()
    repository.rename(models)
    with triton.running([models], tmp_path / name / "state") as server:
        assert client.InferenceServerClient(server.grpc_url).is_model_ready("tiny_unet")
        folder = (tmp_path / name / "state/triton/run").resolve()
        assert str(folder).isascii()
    assert not folder.exists()
