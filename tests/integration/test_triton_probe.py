"""The probe of the chart and the supervisor, against a real Triton: which models it asks."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from local import triton
from local.supervisor import PROBE
from tests.integration.stack import TINY


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """HTTP endpoint of a Triton with the tiny networks."""
    with triton.running([TINY], tmp_path_factory.mktemp("triton")) as server:
        yield server.http_url


def test_models_that_have_answered_since_are_not_asked(url: str, tmp_path: Path) -> None:
    state = tmp_path / "answers.json"
    before = answers(url)
    probe(url, state)
    first = answers(url)
    asked = {name for name in first if first[name] == before[name] + 1}
    assert asked
    probe(url)  # another client, without the file
    second = answers(url)
    assert {name for name in second if second[name] > first[name]} == asked
    probe(url, state)
    assert answers(url) == second, "all have answered since"
    probe(url, state)
    third = answers(url)
    assert {name for name in third if third[name] > second[name]} == asked, "none has answered since"


def test_a_broken_file_is_as_good_as_none(url: str, tmp_path: Path) -> None:
    state = tmp_path / "answers.json"
    state.write_text("{", "utf-8")
    before = answers(url)
    probe(url, state)
    assert answers(url) != before


def probe(url: str, state: Path | None = None) -> None:
    """Run the program; it finds no fault."""
    command = [sys.executable, "-I", "-S", str(PROBE), "--url", url]
    done = subprocess.run(  # noqa: S603 - the program under test
        [*command, *(["--state", str(state)] if state else [])], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def answers(url: str) -> dict[str, int]:
    """Requests that each model has answered."""
    found = httpx.get(f"{url}/v2/models/stats", timeout=10).json()["model_stats"]
    return {each["name"]: int(each["inference_stats"]["success"]["count"]) for each in found}
