"""The catalogue: every entry can be used, and a wrong one is refused by name."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from model_tools.adding import options
from model_tools.catalogue import catalogue, entries
from model_tools.checkpoints.errors import CheckpointError
from model_tools.checkpoints.licences import is_commercial
from orchestrator.models.families import NEEDS
from tests.unit.model_tools.catalogue.hub_server import entry as hub_entry

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.tools

GOOD = hub_entry("small")


@pytest.mark.parametrize("entry", entries.load().values(), ids=lambda entry: entry.name)
def test_an_entry_can_be_used(entry: entries.Entry) -> None:
    chosen = options.parse([entry.name, "--checkpoint", entry.hub, *entry.options])
    assert chosen.precision != "fp32"
    assert set(entry.serves) <= set(NEEDS)
    assert entry.hub.count("/") == 1
    assert entry.commercial <= is_commercial(entry.license)
    assert entry.memory == pytest.approx(entry.parameters * 2 * 1.1, rel=0.02)
    assert entry.download >= 1.9 * entry.parameters, "published in 16 bits or more"


def test_the_table_names_every_entry(capsys: pytest.CaptureFixture[str]) -> None:
    assert catalogue.main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    names = [line.split()[0] for line in lines[1:] if line]
    assert names[: len(entries.load())] == list(entries.load())


def test_one_entry_and_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert catalogue.main(["z-image-turbo"]) == 0
    assert "Tongyi-MAI/Z-Image-Turbo" in capsys.readouterr().out
    assert catalogue.main(["--json"]) == 0
    assert [entry["name"] for entry in json.loads(capsys.readouterr().out)] == list(entries.load())
    assert catalogue.main(["dragon"]) == 1
    assert capsys.readouterr().err.startswith("catalogue: the catalogue has no dragon; it has sd15, ")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hello", "not a catalogue"),
        ("models = 3", "not a catalogue"),
        (GOOD.replace('hub = "somebody/small"\n', ""), "models.small lacks hub"),
        (GOOD + "colour = 1\n", "models.small has unknown keys colour"),
        (GOOD.replace("small]", "Small]"), "cannot be the name of a family"),
        (GOOD + "add = { allow-pickle = true }\n", "models.small.add has allow-pickle"),
        (GOOD + 'files = { "a" = "12" }\n', "the digest of a is not a SHA-256"),
    ],
)
def test_a_wrong_catalogue_is_refused(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "models.toml"
    path.write_text(text, "utf-8")
    with pytest.raises(CheckpointError, match=message):
        entries.load(path)
