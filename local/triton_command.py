"""Triton's command line and environment, of the server in the nvidia-pytriton wheel. Starts nothing."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from pathlib import Path

from local import host
from local.settings import HOST, Settings

NAME = "triton"
START_SECONDS = 300.0
"""Longest start; a large network compiles for a minute."""
_STUB = "triton_python_backend_stub"


def _prepare_backend(settings: Settings, triton_host: host.Host) -> Path:
    """Return a folder of backends, with the stub of this Python version; copied anew, so never a stale one."""
    wheel = Path(triton_host.pytriton) / "tritonserver"
    backends = settings.state_dir / NAME / "backends"
    shutil.rmtree(backends, ignore_errors=True)
    shutil.copytree(wheel / "backends" / "python", backends / "python")
    stub = backends / "python" / _STUB
    shutil.copyfile(wheel / "python_backend_stubs" / triton_host.version / _STUB, stub)
    stub.chmod(0o755)
    return backends


def prepare(settings: Settings, address: str) -> tuple[list[str], dict[str, str]]:
    """Return the command that serves on an address, and its environment; the state folder is made ready for it.

    Raises:
        HostError: this machine, its Python or Triton's environment will not do.
    """
    triton_host = host.inspect(settings.triton_env / "bin" / "python3")
    host.check_packages(triton_host)
    return build(settings, triton_host, address), environment(settings, triton_host)


def build(settings: Settings, triton_host: host.Host, address: str) -> list[str]:
    """Return the command that serves on an address; backends lie in the state folder then.

    Nobody calls Triton's shared memory, traces and log settings (which name files to write): they want a key that is
    drawn here and that nobody knows, for Triton has no switch for them. Callers cannot load models either: that is its
    default.
    """
    backends = _prepare_backend(settings, triton_host)
    server = Path(triton_host.pytriton) / "tritonserver" / "bin" / "tritonserver"
    if not os.access(server, os.X_OK):  # some installers drop the run bits of a wheel's data
        server.chmod(0o755)
    ports = settings.ports
    closed = f"shared-memory,trace,logging:imagegen={secrets.token_hex(32)}"
    options = {
        "backend-directory": backends,
        "http-address": HOST,  # for the probe on this machine, or in this container, alone
        "http-port": ports.triton_http,
        "grpc-address": address,
        "grpc-port": ports.triton_grpc,
        "grpc-restricted-protocol": closed,
        "http-restricted-api": closed,
        "strict-readiness": "false",  # of gRPC's health: one broken model shall not take the others away
        "metrics-address": address,
        "metrics-port": ports.triton_metrics,
        "allow-gpu-metrics": "false",
        "pinned-memory-pool-byte-size": 0,  # for copies to a GPU
        "exit-on-error": "false",  # one broken model shall not hide the others, nor stop them
    }
    backend_options = {"shm-region-prefix-name": shared_prefix(settings), "stub-timeout-seconds": int(START_SECONDS)}
    return [
        str(server),
        "--disable-auto-complete-config",
        *(f"--model-repository={each}" for each in settings.repositories),
        *(f"--{name}={value}" for name, value in options.items()),
        *(f"--backend-config=python,{name}={value}" for name, value in backend_options.items()),
    ]


def environment(settings: Settings, triton_host: host.Host) -> dict[str, str]:
    """Return the variables that Triton and its models start with."""
    dropped = {"VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME"}
    variables = {name: value for name, value in os.environ.items() if name not in dropped}
    libraries = Path(triton_host.pytriton).parent / "nvidia_pytriton.libs"
    variables["LD_LIBRARY_PATH"] = os.pathsep.join([str(libraries), triton_host.libpython])
    variables["PATH"] = os.pathsep.join([str(settings.triton_env / "bin"), os.environ.get("PATH", os.defpath)])
    return variables


def shared_prefix(settings: Settings) -> str:
    """Return what the names of this stack's shared memory begin with; other stacks have others."""
    return f"imagegen-{hashlib.sha256(str(settings.state_dir.resolve()).encode()).hexdigest()[:12]}-"
