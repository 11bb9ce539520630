"""Fixtures for every room: a free port, and a real Triton for each test process that asks for one."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

# The handlers that gRPC runs around fork() crash the child of a process whose threads call gRPC just then.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

TINY_REPOSITORY = Path(__file__).parent / "golden/model_repository"


@pytest.fixture
def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def tiny_triton(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """GRPC port of a Triton that serves the tiny random networks in float32."""
    from local import triton  # noqa: PLC0415  # the tests of model_tools run where there is no tritonclient

    with triton.running([TINY_REPOSITORY], tmp_path_factory.mktemp("triton")) as server:
        yield server.grpc_port
