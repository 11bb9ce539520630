"""Triton in the chart: what callers reach of it, and how Kubernetes asks it."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.test_chart import each_profile, pods, resources


def tritons(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The containers of Triton."""
    return [spec["containers"][0] for name, _, spec in pods(found) if name.startswith("trial-triton-")]


@pytest.mark.promise(
    "holes in Triton's HTTP",
    "it listens on loopback alone",
    "helm/imagegen/templates/triton.yaml",
)
@each_profile
def test_http_is_reached_from_inside_the_container_alone(name: str) -> None:
    found = resources(name)
    assert tritons(found)
    for container in tritons(found):
        assert {each["containerPort"] for each in container["ports"]} == {8001, 8002}
        assert container["startupProbe"]["grpc"] == {"port": 8001}
        assert container["readinessProbe"]["grpc"] == {"port": 8001}
        words = " ".join(map(str, container.get("command", [])))
        if words:  # the CPU image says so itself: tests/integration/test_triton_closed.py
            assert "--http-address=127.0.0.1" in words
            assert "--strict-readiness=false" in words
    for service in found:
        if service["kind"] == "Service" and "triton" in service["metadata"]["name"]:
            assert 8000 not in {port["port"] for port in service["spec"]["ports"]}


def test_what_nobody_calls_wants_a_key_that_is_drawn_at_each_start(tmp_path: Path) -> None:
    """The command of NVIDIA's image, with a stand-in for its server. engines.py does the same: test_engines.py."""
    (container,) = tritons(resources("gpu-single"))
    fake = tmp_path / "tritonserver"
    fake.write_text('#!/bin/sh\nfor each in "$@"; do echo "$each"; done\n', "utf-8")
    fake.chmod(0o755)
    keys = set()
    for _ in range(2):
        done = subprocess.run(  # noqa: S603 - the chart's
            container["command"],
            env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=True,
        )
        arguments = dict(line.partition("=")[::2] for line in done.stdout.splitlines())
        assert arguments["--model-repository"] == "/models"
        closed = arguments["--grpc-restricted-protocol"]
        assert arguments["--http-restricted-api"] == closed
        assert re.fullmatch(r"shared-memory,trace,logging:imagegen=[0-9a-f]{64}", closed)
        keys.add(closed)
    assert len(keys) == 2
