"""The servers that are measured, started as programs of their own and stopped again."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import httpx

from benchmarks.workloads import REPO, Workload
from local import postgres, processes, triton
from local.settings import HOST, Ports
from orchestrator.database.migrate import migrate

STATE = REPO / ".bench" / "run"
"""Logs, pids and results of what is measured."""

START_SECONDS = 300.0  # diffusers reads 2 GB of weights
STOP_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Stack:
    """Our stack, serving.

    Attributes:
        grpc_address: host:port of the orchestrator.
        rest_url: of the gateway.
        triton_url: of Triton's HTTP endpoint.
        orchestrator_pid: its process.
        api_key: of an account.
    """

    grpc_address: str
    rest_url: str
    triton_url: str
    orchestrator_pid: int
    api_key: str


@dataclass(frozen=True, slots=True)
class LoadStack:
    """The orchestrator over a stand-in for Triton, serving everybody.

    Attributes:
        grpc_address: host:port of the orchestrator.
        orchestrator_pid: its process.
        database_url: of its jobs.
    """

    grpc_address: str
    orchestrator_pid: int
    database_url: str


@contextmanager
def load_stack() -> Iterator[LoadStack]:
    """Serve the starter's shapes by a Triton that answers at once, on a fresh database, for the length of a block.

    Raises:
        LocalError: a service does not start; the message holds the end of its log.
    """
    ports = Ports.free()
    grpc_address, state = f"{HOST}:{ports.grpc}", STATE / "load"
    shutil.rmtree(state, ignore_errors=True)
    python = str(REPO / ".venv" / "bin" / "python")
    stand_in = [python, "-m", "benchmarks.instant_triton", str(REPO / "model_repository"), str(ports.triton_grpc)]
    with postgres.running(state, ports=ports) as (database, _), _service("instant_triton", stand_in, {}):
        migrate(database_url := postgres.read_url(database))
        orchestrator = {
            "IMAGEGEN_ANONYMOUS": "true",
            "IMAGEGEN_DATABASE_URL": database_url,
            "IMAGEGEN_GRPC_ADDRESS": grpc_address,
            "IMAGEGEN_METRICS_ADDRESS": f"{HOST}:{ports.metrics}",
            "IMAGEGEN_TRITON_URL": f"{HOST}:{ports.triton_grpc}",
            "IMAGEGEN_FAMILIES": str(REPO / "families" / "families.toml"),
            "IMAGEGEN_RESULTS_URL": str(state / "results"),
            "IMAGEGEN_WORKER_SLOTS": "16",
            "IMAGEGEN_LOG_LEVEL": "warning",
        }
        with _service("orchestrator", [python, "-m", "orchestrator"], orchestrator) as process:
            yield LoadStack(grpc_address, process.pid, database_url)


@contextmanager
def our_stack(work: Workload) -> Iterator[Stack]:
    """Serve a workload's model as it is deployed, Triton, database and services, for the length of a `with` block.

    Raises:
        LocalError: a service does not start; the message holds the end of its log.
    """
    ports = Ports.free()
    grpc_address, rest_url = f"{HOST}:{ports.grpc}", f"http://{HOST}:{ports.rest}"
    with (
        triton.running([work.repository], STATE, ports=ports) as server,
        postgres.running(STATE, ports=ports) as (database, _),
        ExitStack() as services,
    ):
        migrate(database_url := postgres.read_url(database))
        orchestrator = {
            "IMAGEGEN_ANONYMOUS": "true",
            "IMAGEGEN_DATABASE_URL": database_url,
            "IMAGEGEN_GRPC_ADDRESS": grpc_address,
            "IMAGEGEN_METRICS_ADDRESS": f"{HOST}:{ports.metrics}",
            "IMAGEGEN_TRITON_URL": server.grpc_url,
            "IMAGEGEN_FAMILIES": str(work.families),
            "IMAGEGEN_RESULTS_URL": str(STATE / "results"),
            "IMAGEGEN_PUBLIC_URL": rest_url,
        }
        gateway = {
            "IMAGEGEN_REST_ADDRESS": f"{HOST}:{ports.rest}",
            "IMAGEGEN_ORCHESTRATOR": grpc_address,
            "IMAGEGEN_REST_WAIT_SECONDS": "600",  # a client that had to poll would measure its own interval
        }
        python = str(REPO / ".venv" / "bin" / "python")
        process = services.enter_context(_service("orchestrator", [python, "-m", "orchestrator"], orchestrator))
        ready = f"{rest_url}/readyz"  # which asks the orchestrator
        services.enter_context(_service("gateway", [python, "-m", "gateway"], gateway, ready))
        yield Stack(grpc_address, rest_url, server.http_url, process.pid, _api_key(database_url))


def _api_key(database_url: str) -> str:
    """A key of a new account, by the operator's commands."""
    python = str(REPO / ".venv" / "bin" / "python")
    environment = {**os.environ, "IMAGEGEN_DATABASE_URL": database_url}
    for command in (("accounts", "create", "bench", "--exist-ok"), ("keys", "create", "bench", "--json")):
        done = subprocess.run(  # noqa: S603  # our own program
            [python, "-m", "orchestrator", *command], env=environment, check=True, capture_output=True, text=True
        )
    return str(json.loads(done.stdout)["key"])


@contextmanager
def diffusers(work: Workload) -> Iterator[str]:
    """Serve a workload's model by diffusers_fastapi.py for the length of a `with` block; gives its URL.

    Raises:
        LocalError: it does not start; the message holds the end of its log.
    """
    port = Ports.free().rest
    url = f"http://{HOST}:{port}"
    command = [str(REPO / ".tools" / "bin" / "python"), "-m", "benchmarks.diffusers_fastapi", work.name, str(port)]
    with _service("diffusers", command, {}, f"{url}/ready"):
        yield url


@contextmanager
def _service(
    name: str, command: Sequence[str], settings: Mapping[str, str], ready: str | None = None
) -> Iterator[processes.Process]:
    """Run a program, waiting until the URL `ready` answers 200 if there is one.

    Settings of ours in the caller's environment are not handed on: what is measured shall not depend on them.
    """
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("IMAGEGEN_")}
    log, pid_file = STATE / "logs" / f"{name}.log", STATE / f"{name}.pid"
    process = processes.start(command, inherited | dict(settings), REPO, log, pid_file)
    try:
        if ready:
            processes.wait_ready(name, process, lambda: _answers(ready), START_SECONDS, log)
        yield process
    finally:
        processes.stop(process, pid_file, STOP_SECONDS)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).is_success
    except httpx.HTTPError:
        return False
