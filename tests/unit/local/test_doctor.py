"""What `make doctor` finds."""

import dataclasses
import socket
import sys
from pathlib import Path

import pytest

from local import doctor, environments, host, pythons
from local.settings import HOST, Ports, port_variable
from tests.unit.local.test_host import GOOD


@pytest.fixture(autouse=True)
def _machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine on which nothing is wrong; with a stack's folder of its own, and no stack."""
    monkeypatch.setenv("IMAGEGEN_STATE_DIR", str(tmp_path))
    monkeypatch.setattr(host, "inspect", lambda _: GOOD)
    for name, port in dataclasses.asdict(Ports.free()).items():
        monkeypatch.setenv(port_variable(name), str(port))


def read(capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    status = doctor.run()
    return status, capsys.readouterr().out


def test_a_good_machine(capsys: pytest.CaptureFixture[str]) -> None:
    status, text = read(capsys)
    assert status == 0
    assert "problem" not in text
    assert "ok       all ports are free" in text
    assert text.endswith("Everything is ready: `make demo`.\n")


def test_another_kind_of_machine(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(host, "inspect", lambda _: dataclasses.replace(GOOD, machine="aarch64"))
    status, text = read(capsys)
    assert status == 1
    assert "problem  the embedded Triton runs on x86-64 Linux, not on Linux aarch64" in text
    assert "1 to solve before `make demo`" in text


def test_a_python_that_will_be_fetched(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(host, "inspect", lambda _: dataclasses.replace(GOOD, version="3.13"))
    status, text = read(capsys)
    assert status == 0
    assert f"Python {pythons.FETCHED} will be fetched" in text


def test_without_venv_nothing_can_be_fetched(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(host, "inspect", lambda _: dataclasses.replace(GOOD, ensurepip=False))
    status, text = read(capsys)
    assert status == 1
    assert "apt install python3.11-venv" in text


def test_ports_in_use(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        monkeypatch.setenv(port_variable("rest"), str(port))
        status, text = read(capsys)
    assert status == 1
    assert f"problem  port {port} (rest) is in use by" in text
    assert Path(sys.executable).name in text


def test_too_little_memory_and_disk(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(doctor, "_read_limits", lambda: iter([2 * 10**9]))
    monkeypatch.setattr(environments, "is_current", lambda _: False)
    monkeypatch.setattr(environments, "_SPARE_MB", 10**9)
    status, text = read(capsys)
    assert status == 1
    assert "problem  2.0 GB of memory" in text
    assert "MB of free disk space" in text
    assert "2 to solve" in text
