"""The Python that the environments are created with: found on this machine, or fetched."""

import dataclasses
import shutil
import sys
from pathlib import Path

import pytest

from local import host, pythons
from local.errors import HostError
from tests.unit.local.test_host import GOOD


@pytest.fixture
def facts(monkeypatch: pytest.MonkeyPatch) -> dict[str, host.Host]:
    """What each Python of the machine says about itself; this one is 3.13, and no other is on PATH."""
    facts = {sys.executable: dataclasses.replace(GOOD, version="3.13")}

    def inspect(python: Path | str) -> host.Host:
        if str(python) not in facts:
            raise HostError(f"{python} does not run")
        return facts[str(python)]

    monkeypatch.setattr(host, "inspect", inspect)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    return facts


def test_a_fitting_python_on_path_is_found(
    facts: dict[str, host.Host], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As with Python 3.13 called, and 3.11 next to it; pyenv's name for 3.12 does not run."""
    facts["/usr/bin/python3.11"] = GOOD
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    assert pythons.find_python(tmp_path) == "/usr/bin/python3.11"


def test_another_machine_is_refused_before_anything_is_fetched(facts: dict[str, host.Host], tmp_path: Path) -> None:
    facts[sys.executable] = dataclasses.replace(GOOD, machine="arm64", system="Darwin", version="3.9")
    with pytest.raises(HostError, match=r"not on Darwin arm64.*run the container images"):
        pythons.find_python(tmp_path)
    assert list(tmp_path.iterdir()) == []


def write_uv(folder: Path, script: str) -> str:
    """A program called uv that does what a line of shell says."""
    uv = folder / "uv"
    uv.write_text(f'#!/bin/sh\nset -e\n[ "$1 $2 $3 $4" = "python install 3.12 --install-dir" ]\n{script}\n')
    uv.chmod(0o755)
    return str(uv)


def test_a_missing_python_is_fetched_once_and_found_again(
    facts: dict[str, host.Host], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    python = tmp_path / ".python/cpython-3.12.9/bin/python3.12"
    facts[str(python)] = dataclasses.replace(GOOD, version="3.12")
    uv = write_uv(tmp_path, 'mkdir -p "$5/cpython-3.12.9/bin" && touch "$5/cpython-3.12.9/bin/python3.12"')
    monkeypatch.setattr(shutil, "which", lambda name: uv if name == "uv" else None)
    assert pythons.find_python(tmp_path) == str(python)
    said = capsys.readouterr().err
    assert "this is 3.13" in said
    assert f"Python 3.12 is fetched into {tmp_path / '.python'}" in said
    assert "python-build-standalone" in said
    assert "MB to download" in said
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert pythons.find_python(tmp_path) == str(python)
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("facts")
def test_what_to_do_is_said_where_it_cannot_be_fetched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    uv = write_uv(tmp_path, "exit 2")
    monkeypatch.setattr(shutil, "which", lambda name: uv if name == "uv" else None)
    with pytest.raises(HostError, match=r"3\.12 could not be fetched.*Install Python 3\.11 or 3\.12.*INSTALL_MIRROR"):
        pythons.find_python(tmp_path)
    assert not (tmp_path / ".uv").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["uv"]
