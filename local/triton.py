"""The embedded Triton: the server of the nvidia-pytriton wheel, with its Python backend.

What the wheel leaves to its user, and where it is done here:

- the backend's folder with the stub for this Python version next to it, run bits on both: triton_command.py;
- the libraries of the wheel and the folder of libpython for the loader: there too;
- the stub's Python: it takes the first `python3` on PATH, and VIRTUAL_ENV before that: there too;
- the stub runs isolated, so PYTHONPATH does nothing; it does search the working folder, which therefore has a link to
  `engines`; and it is started by a line of shell that quotes no path, so all paths begin in that folder: there too;
- completing configurations automatically starts each stub twice, 1 s more, and every config.pbtxt here is complete:
  switched off;
- shared memory that a killed server leaves in /dev/shm: removed by its name, `_clear_shared_memory`.
"""

from __future__ import annotations

import fcntl
import json
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from local import environments, host, processes, proof, repository, triton_command
from local.errors import ModelsError
from local.settings import HOST, Ports, Settings, check_ports_free

NAME = triton_command.NAME
START_SECONDS = triton_command.START_SECONDS
STOP_SECONDS = 40.0  # Triton's own limit is 30
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - where POSIX shared memory is, not a temporary file
PORTS = ("triton_http", "triton_grpc", "triton_metrics")


@dataclass(frozen=True)
class Server:
    """A Triton that runs.

    Attributes:
        ports: where it listens.
        log: its output.
        process: the program.
    """

    ports: Ports
    log: Path
    process: processes.Process

    @property
    def grpc_port(self) -> int:
        """Port of its gRPC endpoint."""
        return self.ports.triton_grpc

    @property
    def grpc_url(self) -> str:
        """Its gRPC endpoint, host:port."""
        return f"{HOST}:{self.ports.triton_grpc}"

    @property
    def http_url(self) -> str:
        """Its HTTP endpoint."""
        return f"http://{HOST}:{self.ports.triton_http}"

    @property
    def metrics_url(self) -> str:
        """Its Prometheus metrics."""
        return f"http://{HOST}:{self.ports.triton_metrics}/metrics"


def start(settings: Settings, *, allow_broken: bool = False, arguments: Sequence[str] = ()) -> Server:
    """Start Triton, and return when it serves.

    Args:
        settings: the stack; its repositories, triton_env, state_dir and Triton's ports are used.
        allow_broken: whether models that cannot be loaded are let pass; the others serve either way.
        arguments: more of tritonserver's command line.

    Raises:
        HostError: this machine, its Python or Triton's environment will not do.
        LocalError: a repository is missing or empty.
        PortInUseError: a port is taken.
        StartError: the server ended, or did not serve in time.
        ModelsError: models are not fit for use; the server is stopped again. With every model's reason.
    """
    python = settings.triton_env / "bin" / "python3"
    triton_host = host.inspect(python)
    host.check_machine(triton_host)
    host.check_packages(triton_host)
    models = repository.list_models(settings.repositories)
    if not allow_broken:
        repository.check_models(models)
    check_ports_free(settings.ports, PORTS)
    _clear_shared_memory(settings)
    command = [*triton_command.build(settings, triton_host, HOST), *arguments]
    log = settings.state_dir / "logs" / f"{NAME}.log"
    environment = triton_command.environment(settings, triton_host)
    process = processes.start(command, environment, triton_command.working_folder(settings), log, _pid_file(settings))
    server = Server(settings.ports, log, process)
    try:
        processes.wait_ready("Triton", process, lambda: is_live(settings.ports), START_SECONDS, log)
        if not allow_broken:
            _check_models(server, tuple(models))
    except BaseException:
        stop(settings, process)
        raise
    return server


def ensure(settings: Settings) -> None:
    """Start Triton unless it runs and answers; whoever comes second finds it started. Raises as `start` does."""
    with _locked(settings):
        process = load(settings)
        if process is not None and is_live(settings.ports):
            return
        if process is not None:
            stop(settings, process, grace=0.0)
        start(settings)


def restart(settings: Settings, failed: processes.Process | None) -> bool:
    """Kill the Triton that has failed and start another, its broken models aside. Raises as `start` does.

    Args:
        settings: the stack.
        failed: what was found to fail; None if none runs.

    Returns:
        False if somebody else has already started another.
    """
    with _locked(settings):
        process = load(settings)
        if process != failed:
            return False
        if process is not None:  # it does nothing any more, so nothing is lost
            stop(settings, process, grace=0.0)
        start(settings, allow_broken=True)
        return True


def stop(settings: Settings, process: processes.Process, grace: float = STOP_SECONDS) -> bool:
    """Stop Triton; returns whether it ended by itself within `grace` seconds."""
    polite = processes.stop(process, _pid_file(settings), grace)
    triton_command.clear(settings)
    _clear_shared_memory(settings)
    return polite


def load(settings: Settings) -> processes.Process | None:
    """Return the Triton of this state folder, if it runs."""
    return processes.load(_pid_file(settings))


@contextmanager
def running(
    repositories: Sequence[Path],
    state_dir: Path,
    *,
    ports: Ports | None = None,
    triton_env: Path | None = None,
    allow_broken: bool = False,
    arguments: Sequence[str] = (),
) -> Iterator[Server]:
    """Run a Triton for the length of a `with` block.

    Args:
        repositories: folders of models.
        state_dir: a folder of its own for logs and pids.
        ports: where it listens; free ones if None.
        triton_env: the environment that models run in; .triton, created if it is missing, if None.
        allow_broken: as for `start`.
        arguments: as for `start`.

    Raises:
        LocalError: as `start` does.
    """
    settings = Settings(state_dir=state_dir, repositories=tuple(repositories), ports=ports or Ports.free())
    if triton_env is None:
        environments.ensure("triton")
    else:
        settings = replace(settings, triton_env=triton_env)
    server = start(settings, allow_broken=allow_broken, arguments=arguments)
    try:
        yield server
    finally:
        stop(settings, server.process)


def is_live(ports: Ports) -> bool:
    """Whether Triton answers. By then it has loaded every model, or given it up."""
    try:
        with urllib.request.urlopen(f"http://{HOST}:{ports.triton_http}/v2/health/live", timeout=5) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def read_broken(ports: Ports) -> dict[str, str]:
    """Return the models that Triton could not load, each with Triton's reason, its traceback left in the log."""
    url = f"http://{HOST}:{ports.triton_http}/v2/repository/index"
    with urllib.request.urlopen(url, data=b"", timeout=30) as answer:  # data makes it a POST
        index = json.load(answer)
    return {
        model["name"]: model.get("reason", "unknown").partition("\n\nAt:")[0]
        for model in index
        if model.get("state") != "READY"
    }


def _check_models(server: Server, models: tuple[str, ...]) -> None:
    if broken := read_broken(server.ports):
        raise ModelsError(broken)
    proof.check(server.grpc_url, models)


@contextmanager
def _locked(settings: Settings) -> Iterator[None]:
    """Hold the start of this state folder's Triton."""
    settings.state_dir.mkdir(parents=True, exist_ok=True)
    with (settings.state_dir / f"{NAME}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _clear_shared_memory(settings: Settings) -> None:
    for leftover in _SHARED_MEMORY.glob(f"{triton_command.shared_prefix(settings)}*"):
        leftover.unlink(missing_ok=True)


def _pid_file(settings: Settings) -> Path:
    return settings.state_dir / "pids" / f"{NAME}.json"
