"""What `pip install imagegen` gives: both programs, from a wheel, outside of a clone."""

import os
import re
import subprocess
import sys
import sysconfig
import tomllib
import venv
from pathlib import Path

import httpx
import pytest
import stamina

from tests.integration.clients.environment import build_wheel
from tests.integration.stack import REPOSITORY


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Programs of an environment with the wheel; the libraries are this environment's."""
    folder = tmp_path_factory.mktemp("server")
    venv.create(folder / "environment", with_pip=False, symlinks=True)
    (packages,) = (folder / "environment/lib").glob("python*/site-packages")
    (packages / "libraries.pth").write_text(sysconfig.get_paths()["purelib"] + "\n", "utf-8")
    wheel = build_wheel(folder, REPOSITORY)
    python = folder / "environment/bin/python"
    command = [sys.executable, "-m", "pip", f"--python={python}", "install", "--quiet", "--no-index", "--no-deps"]
    subprocess.run([*command, wheel], check=True, capture_output=True)  # noqa: S603 - pip, with a wheel of ours
    return python.parent


def test_what_the_wheel_requires_is_what_is_locked() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    assert set(project["dependencies"]) == requirements("gateway")
    assert set(project["dependencies"]) | set(extras["orchestrator"]) == requirements("service")
    assert set(extras["c2pa"]) == requirements("c2pa")


def test_the_orchestrator_has_its_commands(programs: Path, tmp_path: Path) -> None:
    done = subprocess.run(  # noqa: S603 - the program under test
        [programs / "imagegen-orchestrator", "--help"], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert {"migrate", "accounts", "keys", "storages"} <= set(re.findall(r"\w+", done.stdout))


def test_the_gateway_serves_its_pages(programs: Path, tmp_path: Path, free_port: int) -> None:
    """The playground, the reference and the presets are in the wheel; nothing is read from a clone."""
    variables = {"PATH": os.environ["PATH"], "IMAGEGEN_REST_ADDRESS": f"127.0.0.1:{free_port}"}
    with subprocess.Popen(  # noqa: S603 - the program under test
        [programs / "imagegen-gateway"], cwd=tmp_path, env=variables, stderr=subprocess.DEVNULL
    ) as gateway:
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{free_port}") as client:
                for attempt in stamina.retry_context(on=httpx.TransportError, timeout=60, attempts=None):
                    with attempt:
                        assert gateway.poll() is None
                        assert client.get("/healthz").status_code == 200
                assert client.get("/").text.lower().startswith("<!doctype html>")
                assert "process_result" in client.get("/openapi.json").text
        finally:
            gateway.terminate()
    assert gateway.returncode == 0


def requirements(room: str) -> set[str]:
    """What requirements/ROOM.in names."""
    lines = (REPOSITORY / f"requirements/{room}.in").read_text("utf-8").splitlines()
    return {line.split(" #")[0].strip() for line in lines if line and not line.startswith(("#", "-"))}
