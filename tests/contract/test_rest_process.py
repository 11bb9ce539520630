"""`python -m gateway` as a process: settings, log, signals, exit codes."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest


def start(**variables: str) -> subprocess.Popen[str]:
    """Start a gateway with these variables set and no other of ours."""
    others = {name: value for name, value in os.environ.items() if not name.startswith("IMAGEGEN_")}
    return subprocess.Popen(
        [sys.executable, "-m", "gateway"], env={**others, **variables}, stderr=subprocess.PIPE, text=True
    )


@contextmanager
def running(**variables: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A gateway on a free port, and its URL, as its log reports."""
    with start(IMAGEGEN_REST_ADDRESS="127.0.0.1:0", **variables) as process:
        try:
            assert process.stderr is not None
            first = json.loads(process.stderr.readline())
            assert (first["event"], first["level"]) == ("listening", "info")
            yield process, f"http://{first['address']}"
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_logs_json_and_stops(number: signal.Signals, free_port: int) -> None:
    with running(IMAGEGEN_ORCHESTRATOR=f"127.0.0.1:{free_port}") as (process, url):
        answer = httpx.get(f"{url}/results/a-secret-name", headers={"X-Request-ID": "seen"}, timeout=10)
        assert answer.status_code == 503  # nothing listens where the orchestrator should be
        process.send_signal(number)
        _, log = process.communicate(timeout=20)
    assert process.returncode == 0
    lines = [json.loads(line) for line in log.splitlines()]
    (line,) = [line for line in lines if line["event"] == "request"]
    assert (line["request_id"], line["route"], line["status"]) == ("seen", "/results/{name}", 503)
    assert "a-secret-name" not in log


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("IMAGEGEN_REST_ADDRESS", "8080"),
        ("IMAGEGEN_ORCHESTRATOR", "localhost"),
        ("IMAGEGEN_REST_WAIT_SECONDS", "nan"),
    ],
)
def test_a_wrong_setting_is_one_line_and_exit_code_2(name: str, value: str) -> None:
    with start(**{name: value}) as process:
        _, said = process.communicate(timeout=20)
    assert process.returncode == 2
    assert said.startswith(f"gateway: {name}='{value}': give ")
    assert said.count("\n") == 1


def test_a_taken_port_is_one_line_and_exit_code_1() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with start(IMAGEGEN_REST_ADDRESS=address) as process:
            _, said = process.communicate(timeout=20)
    assert process.returncode == 1
    assert said.startswith(f"gateway: IMAGEGEN_REST_ADDRESS={address}: cannot listen: ")
    assert said.count("\n") == 1
