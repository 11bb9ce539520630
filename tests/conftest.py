"""Fixtures for every room: a free port, and a real Triton for each test process that asks for one."""

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

# The handlers that gRPC runs around fork() crash the child of a process whose threads call gRPC just then.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

with contextlib.suppress(ImportError):  # the environments of model_tools and of the chart have no hypothesis
    from hypothesis import HealthCheck, settings

    # How long an example takes says how busy the machine is: no test fails for that.
    settings.register_profile("imagegen", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("imagegen")

TESTS = Path(__file__).parent
TINY_REPOSITORY = TESTS / "golden/model_repository"

ORDER = {"schema": 0, "browser": 1, "integration": 2, "unit": 4}
"""Which folders run first, by how long a file of theirs takes; others are 3."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put long files first: a worker that begins one when the others are done keeps them all waiting."""
    items.sort(key=lambda item: ORDER.get(os.path.relpath(item.path, TESTS).partition(os.sep)[0], 3))


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
