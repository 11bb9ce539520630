"""Triton's command line and environment, of the server in the nvidia-pytriton wheel. Starts nothing."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from local import host
from local.settings import HOST, ROOT, Settings

NAME = "triton"
START_SECONDS = 300.0
"""Longest start; a large network compiles for a minute."""
_BACKENDS = "backends"
_ENV = "env"
_STUB = "triton_python_backend_stub"


def working_folder(settings: Settings) -> Path:
    """Return the folder that Triton works in, filled by `build`.

    Triton starts a model's stub by a line of shell in which paths are not quoted. So it gets relative paths, which
    have no blanks whatever the folders above are called; and here are `engines`, which models import, and a link to the
    environment. The stub ends if the path of this folder, or the environment's, has letters beyond ASCII: it is then a
    link into the system's temporary folder.
    """
    return (settings.state_dir / NAME / "run").resolve()


def clear(settings: Settings) -> None:
    """Remove the working folder."""
    shutil.rmtree(working_folder(settings), ignore_errors=True)
    with suppress(FileNotFoundError):
        (settings.state_dir / NAME / "run").unlink()


def _make_folder(settings: Settings) -> Path:
    """Make the working folder, empty."""
    clear(settings)
    folder = settings.state_dir / NAME / "run"
    folder.parent.mkdir(parents=True, exist_ok=True)
    if str(folder.resolve()).isascii():
        folder.mkdir()
    else:
        folder.symlink_to(tempfile.mkdtemp(prefix="imagegen-"))
    return folder.resolve()


def _fill(folder: Path, settings: Settings, triton_host: host.Host, models: Collection[str]) -> list[str]:
    """Fill the working folder; returns the repositories in it.

    If models are named, there are links to these alone. Triton itself can load named models, but only in a mode in
    which everybody who reaches it can load and unload models.
    """
    wheel = Path(triton_host.pytriton) / "tritonserver"
    backend = folder / _BACKENDS / "python"
    shutil.copytree(wheel / "backends" / "python", backend)
    shutil.copyfile(wheel / "python_backend_stubs" / triton_host.version / _STUB, backend / _STUB)
    (backend / _STUB).chmod(0o755)
    links = [f"repository{number}" for number in range(len(settings.repositories))]
    for link, repository in zip(links, settings.repositories, strict=True):
        if not models:
            (folder / link).symlink_to(repository.resolve())
            continue
        (folder / link).mkdir()
        for name in models:
            if (repository / name).is_dir():
                (folder / link / name).symlink_to((repository / name).resolve())
    (folder / "engines").symlink_to(ROOT / "engines")
    (folder / _ENV).symlink_to(settings.triton_env.resolve())
    return links


def prepare(settings: Settings, address: str, models: Collection[str] = ()) -> tuple[list[str], dict[str, str]]:
    """Return the command that serves on an address, and its environment; the state folder is prepared for it.

    Args:
        settings: of the stack.
        address: of gRPC and of the metrics.
        models: names of those that are served; empty for all in the repositories.

    Raises:
        HostError: this machine, its Python or Triton's environment will not do.
    """
    triton_host = host.inspect(settings.triton_env / "bin" / "python3")
    host.check_packages(triton_host)
    return build(settings, triton_host, address, models), environment(settings, triton_host)


def build(settings: Settings, triton_host: host.Host, address: str, models: Collection[str] = ()) -> list[str]:
    """Return the command that serves on an address, to be run in `working_folder`, which is filled here.

    Nobody calls Triton's shared memory, traces and log settings (which name files to write): they want a key that is
    drawn here and that nobody knows, for Triton has no switch for them. Nobody loads or unloads models either.
    """
    repositories = _fill(_make_folder(settings), settings, triton_host, models)
    server = Path(triton_host.pytriton) / "tritonserver" / "bin" / "tritonserver"
    if not os.access(server, os.X_OK):  # some installers drop the run bits of a wheel's data
        server.chmod(0o755)
    ports = settings.ports
    closed = f"shared-memory,trace,logging:imagegen={secrets.token_hex(32)}"
    options = {
        "backend-directory": _BACKENDS,
        "http-address": HOST,  # for the probe on this machine, or in this container, alone
        "http-port": ports.triton_http,
        "grpc-address": address,
        "grpc-port": ports.triton_grpc,
        "grpc-restricted-protocol": closed,
        "http-restricted-api": closed,
        "model-control-mode": "none",
        "strict-readiness": "false",  # of gRPC's health: one broken model does not disable the others
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
        *(f"--model-repository={each}" for each in repositories),
        *(f"--{name}={value}" for name, value in options.items()),
        *(f"--backend-config=python,{name}={value}" for name, value in backend_options.items()),
    ]


def environment(settings: Settings, triton_host: host.Host) -> dict[str, str]:
    """Return the variables that Triton and its models start with."""
    dropped = {"VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME"}
    variables = {name: value for name, value in os.environ.items() if name not in dropped}
    libraries = Path(triton_host.pytriton).parent / "nvidia_pytriton.libs"
    variables["LD_LIBRARY_PATH"] = os.pathsep.join([str(libraries), triton_host.libpython])
    variables["PATH"] = os.pathsep.join(
        [str(working_folder(settings) / _ENV / "bin"), os.environ.get("PATH", os.defpath)]
    )
    return variables


def shared_prefix(settings: Settings) -> str:
    """Return what the names of this stack's shared memory begin with; other stacks have others."""
    return f"imagegen-{hashlib.sha256(str(settings.state_dir.resolve()).encode()).hexdigest()[:12]}-"
