"""The command line, and what is written."""

import json
from pathlib import Path

import pytest

from benchmarks import __main__ as command
from benchmarks import machine
from benchmarks.figures import ENGINE, Row
from benchmarks.workloads import WORKLOADS


def test_by_default_all_is_measured_with_one_and_with_eight_clients() -> None:
    arguments = command.parse([])
    assert (arguments.model, list(arguments.systems), arguments.clients) == (
        "all",
        ["engine", "stack", "diffusers", "adapters", "load"],
        [1, 8],
    )


def test_an_unknown_model_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.parse(["--model", "sdxl"])
    assert "sdxl" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("clients", "images", "expected"),
    [([1, 8], None, {1: 24, 8: 64}), ([4], None, {4: 64}), ([1, 8], 1, {1: 1, 8: 8}), ([1, 8], 100, {1: 100, 8: 100})],
)
def test_every_client_has_a_picture(clients: list[int], images: int | None, expected: dict[int, int]) -> None:
    assert WORKLOADS["starter"].limited(clients, images).images == expected


def test_figures_are_written_with_the_machine(tmp_path: Path) -> None:
    rows = [Row(model="sd15", system=ENGINE, clients=1, images=4, rate=0.1, p50=10.0, p95=11.0)]
    command.write(tmp_path, machine.describe(), rows)
    written = json.loads((tmp_path / "latest.json").read_text())
    assert written["rows"][0]["rate"] == 0.1
    assert set(written["about"]) >= {"cpu", "memory", "versions", "load before"}
    text = (tmp_path / "latest.md").read_text()
    assert written["about"]["cpu"] in text
    assert "| engine alone |" in text
